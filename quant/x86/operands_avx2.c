/* Operands of the AVX2 set: weights that are rounded to bf16, as most are, in
 * whole blocks. */
#include <immintrin.h>

#include "quant/kernel_parts.h"
#include "quant/x86/parts_avx2.h"

enum {
    BLOCK = 64,
    PANEL = 16, /* columns */
    SOME = 16   /* blocks whose tables are made first */
};

static __m256i product(__m256 code, float scale)
{
    return _mm256_castps_si256(_mm256_mul_ps(code, _mm256_set1_ps(scale)));
}

/* Codes times the scale, rounded to bf16 in the upper halves; the lower ones
 * may be anything. */
static __m256i upper_halves(__m256 code, float scale)
{
    const __m256i u = product(code, scale);
    const __m256i odd =
        _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));

    return _mm256_add_epi32(u,
                            _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
}

/* The same in less time, but ties go up: their lower halves are zero, and no
 * others. */
static __m256i upper_halves_up(__m256 code, float scale)
{
    return _mm256_add_epi32(product(code, scale), _mm256_set1_epi32(0x8000));
}

static bool any_lower_is_zero(__m256i halves)
{
    const __m256i lower = _mm256_slli_epi32(halves, 16);
    const __m256i zero = _mm256_cmpeq_epi32(lower, _mm256_setzero_si256());

    return _mm256_movemask_epi8(zero) != 0;
}

/* Entries 0 to 3 and 8 to 11 of the codes, and those beside them. */
typedef struct half_codes {
    __m256 even, odd;
} half_codes;

static half_codes codes_of(const float *code)
{
    return (half_codes){_mm256_loadu2_m128(code + 8, code),
                        _mm256_loadu2_m128(code + 12, code + 4)};
}

/* The bytes of upper halves in that order. */
static __m256i bytes_apart(__m256i even, __m256i odd)
{
    const __m256i apart = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15));
    const __m256i words =
        _mm256_blend_epi16(_mm256_srli_epi32(even, 16), odd, 0xaa);

    return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(words, apart), 0xd8);
}

static __m256i byte_table(half_codes code, float scale)
{
    return bytes_apart(upper_halves(code.even, scale),
                       upper_halves(code.odd, scale));
}

static void store_table(ql_byte_table *to, __m256i table)
{
    _mm256_storeu_si256((__m256i *)(void *)to, table);
}

/* False where there are ties. */
static bool tables_without_ties(ql_byte_table *to, half_codes code,
                                const float *scale, size_t n)
{
    __m256i least = _mm256_set1_epi32(-1);

    for (size_t i = 0; i < n; i++) {
        const __m256i even = upper_halves_up(code.even, scale[i]);
        const __m256i odd = upper_halves_up(code.odd, scale[i]);

        least = _mm256_min_epu16(least, _mm256_min_epu16(even, odd));
        store_table(&to[i], bytes_apart(even, odd));
    }
    return !any_lower_is_zero(least);
}

/* A tie is in one of thousands of blocks: it costs less to begin again. */
void ql_byte_tables_avx2(ql_byte_table *to, const float *code,
                         const float *scale, size_t n)
{
    const half_codes c = codes_of(code);

    if (tables_without_ties(to, c, scale, n)) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        store_table(&to[i], byte_table(c, scale[i]));
    }
}

/* Words of bf16 as floats: first those at even places. */
static inline void store_words(float *out, __m256i words)
{
    _mm256_storeu_ps(out, ql_even_words_avx2(words));
    _mm256_storeu_ps(out + 8, ql_odd_words_avx2(words));
}

/* Thirty-two values by their codes: values i and i + 8 of each sixteen side by
 * side, the first sixteen in the first halves of both lanes. */
static inline void store_codes(float *out, size_t step, __m256i codes,
                               __m256i first, __m256i second)
{
    const __m256i a = _mm256_shuffle_epi8(first, codes);
    const __m256i b = _mm256_shuffle_epi8(second, codes);

    store_words(out, _mm256_unpacklo_epi8(a, b));
    store_words(out + step, _mm256_unpackhi_epi8(a, b));
}

/* A block of 64: sixteen values at a time, step apart. Its bytes are turned so
 * that their nibbles come out in the order of store_codes. */
static inline void store_block(float *out, size_t step, const uint8_t *bytes,
                               const ql_byte_table *table)
{
    const __m256i low = _mm256_set1_epi8(15);
    const __m256i from_first = _mm256_setr_epi8(
        0, 4, 1, 5, 8, 12, 9, 13, -1, -1, -1, -1, -1, -1, -1, -1, 2, 6, 3, 7,
        10, 14, 11, 15, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m256i from_second = _mm256_permute4x64_epi64(from_first, 0xb1);
    const __m256i v = _mm256_or_si256(
        _mm256_shuffle_epi8(ql_twice_avx2(bytes), from_first),
        _mm256_shuffle_epi8(ql_twice_avx2(bytes + 16), from_second));
    const __m256i one = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
    const __m256i two = _mm256_and_si256(v, low);
    const __m256i first = ql_twice_avx2(table->first);
    const __m256i second = ql_twice_avx2(table->second);

    store_codes(out, step, _mm256_unpacklo_epi16(one, two), first, second);
    store_codes(out + 2 * step, step, _mm256_unpackhi_epi16(one, two), first,
                second);
}

/* Tables come first, some at a time, or there would be more that waits for them
 * than the processor keeps in sight. */
static inline void blocks(void *out, const uint8_t *bytes, size_t n,
                          const ql_qtensor *w, const ql_scales *scales)
{
    const ql_scales s = *scales;
    ql_byte_table table[SOME];
    float scale[SOME];
    float *to = out;

    for (size_t b = 0; b < n; b += SOME) {
        const size_t some = n - b < SOME ? n - b : SOME;

        for (size_t i = 0; i < some; i++) {
            scale[i] = ql_scales_at(&s, b + i);
        }
        ql_byte_tables_avx2(table, w->code, scale, some);
        for (size_t i = 0; i < some; i++, to += BLOCK, bytes += BLOCK / 2) {
            store_block(to, PANEL, bytes, &table[i]);
        }
    }
}

static void others(void *out, const ql_qtensor *w, size_t start, size_t n)
{
    ql_decode_avx2(out, w, start, n);
}

void ql_fetch_avx2(void *out, const ql_qtensor *w, size_t start, size_t n)
{
    if (w->storage == QL_STORAGE_4BIT && w->round == QL_ROUND_BF16) {
        ql_fetch_blocks(out, w, start, n, sizeof(float), blocks, others);
    } else {
        others(out, w, start, n);
    }
}

/* Sixty-four columns of all rows. */
static inline void fill_block(float *panel, const ql_slab *s, size_t column)
{
    const size_t cols = s->w->cols;
    const size_t e = s->w->first + s->start + column;
    const uint8_t *bytes = (const uint8_t *)s->w->data + e / 2;
    ql_byte_table table[QL_SLAB_ROWS];
    float scale[QL_SLAB_ROWS];

    for (size_t r = 0; r < s->rows; r++) {
        const ql_scales scales = ql_scales_from(s->w, (e + r * cols) / BLOCK);

        scale[r] = ql_scales_at(&scales, 0);
    }
    ql_byte_tables_avx2(table, s->w->code, scale, s->rows);
    for (size_t r = 0; r < s->rows; r++) {
        store_block(panel + r * PANEL, s->step, bytes + r * cols / 2,
                    &table[r]);
    }
}

bool ql_fill_blocks_avx2(uint32_t *panel, const ql_slab *s)
{
    const ql_qtensor *w = s->w;
    float *to = (float *)(void *)panel;

    if (w->storage != QL_STORAGE_4BIT || w->round != QL_ROUND_BF16 ||
        w->block != BLOCK || s->width != PANEL ||
        (w->cols | s->n | (w->first + s->start)) % BLOCK != 0) {
        return false;
    }
    for (size_t i = 0; i < s->n; i += BLOCK, to += BLOCK / PANEL * s->step) {
        fill_block(to, s, i);
    }
    return true;
}
