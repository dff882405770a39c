/* Few tokens by 4-bit weights, with AVX2: the tables of some blocks are made
 * first, in bytes, and then looked up without storing what comes of it. And dot
 * products with weights in f32 and in bf16. */
#include <immintrin.h>

#include "quant/kernel_parts.h"
#include "quant/x86/parts_avx2.h"

enum {
    PIECE = 64, /* blocks of x that stay in the first cache */
    WAYS = 4    /* partial sums at the most: additions take their time */
};

/* The table of a block in f32: each byte of its sixteen entries. */
typedef struct f32_table {
    uint8_t byte[4][16];
} f32_table;

/* Those of a piece of a row. */
typedef union piece_tables {
    ql_byte_table bf16[PIECE]; /* where weights are so rounded */
    f32_table f32[PIECE];
} piece_tables;

/* The partial sums of some tokens, as many as there are registers for. */
typedef struct sums {
    __m256 lane[QL_DOT4_TOKENS][WAYS];
} sums;

static inline size_t ways(size_t T)
{
    return T == 1 ? WAYS : 2;
}

static inline __attribute__((always_inline)) void
copy_sums(sums *to, const sums *from, size_t T)
{
    for (size_t t = 0; t < T; t++) {
#pragma GCC unroll 4
        for (size_t i = 0; i < ways(T); i++) {
            to->lane[t][i] = from->lane[t][i];
        }
    }
}

/* Vector i of a block's weights times that of all tokens. */
static inline __attribute__((always_inline)) void
add_products(sums *s, size_t i, __m256 w, const float *x, size_t ldx, size_t T)
{
    for (size_t t = 0; t < T; t++) {
        __m256 *lane = &s->lane[t][i / 2 % ways(T)];

        *lane = _mm256_fmadd_ps(w, _mm256_loadu_ps(x + t * ldx + 8 * i), *lane);
    }
}

/* Nibble i of each two bytes. */
static inline __m256i nibbles(__m256i bytes, int i)
{
    return _mm256_and_si256(_mm256_srli_epi16(bytes, 4 * i),
                            _mm256_set1_epi8(15));
}

/* The codes of a block of 64 as eight vectors: nibble i of each two bytes, from
 * the first eight bytes of each sixteen, and then from the others. */
static inline __attribute__((always_inline)) void
block_bf16(sums *s, __m256i bytes, const ql_byte_table *table, const float *x,
           size_t ldx, size_t T)
{
    const __m256i first = ql_twice_avx2(table->first);
    const __m256i second = ql_twice_avx2(table->second);

#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const __m256i code = nibbles(bytes, i);
        const __m256i a = _mm256_shuffle_epi8(first, code);
        const __m256i b = _mm256_shuffle_epi8(second, code);
        const __m256i low = _mm256_unpacklo_epi8(a, b);
        const __m256i high = _mm256_unpackhi_epi8(a, b);

        add_products(s, (size_t)i, ql_even_words_avx2(low), x, ldx, T);
        add_products(s, (size_t)i + 2, ql_odd_words_avx2(low), x, ldx, T);
        add_products(s, (size_t)i + 4, ql_even_words_avx2(high), x, ldx, T);
        add_products(s, (size_t)i + 6, ql_odd_words_avx2(high), x, ldx, T);
    }
}

/* Products of vectors i and i + 2: floats of which a has the lower words, and b
 * the upper ones. */
static inline __attribute__((always_inline)) void
add_words(sums *s, size_t i, __m256i a, __m256i b, const float *x, size_t ldx,
          size_t T)
{
    add_products(s, i, _mm256_castsi256_ps(_mm256_unpacklo_epi16(a, b)), x, ldx,
                 T);
    add_products(s, i + 2, _mm256_castsi256_ps(_mm256_unpackhi_epi16(a, b)), x,
                 ldx, T);
}

/* The same vectors from all bytes: those at even places come first of each
 * eight. */
static inline __attribute__((always_inline)) void
block_f32(sums *s, __m256i bytes, const f32_table *table, const float *x,
          size_t ldx, size_t T)
{
    const __m256i even_first = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15));
    const __m256i apart = _mm256_shuffle_epi8(bytes, even_first);

#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const __m256i code = nibbles(apart, i);
        __m256i byte[4];

#pragma GCC unroll 4
        for (size_t k = 0; k < 4; k++) {
            byte[k] = _mm256_shuffle_epi8(ql_twice_avx2(table->byte[k]), code);
        }
        add_words(s, (size_t)i, _mm256_unpacklo_epi8(byte[0], byte[1]),
                  _mm256_unpacklo_epi8(byte[2], byte[3]), x, ldx, T);
        add_words(s, (size_t)i + 4, _mm256_unpackhi_epi8(byte[0], byte[1]),
                  _mm256_unpackhi_epi8(byte[2], byte[3]), x, ldx, T);
    }
}

/* Eight entries, each four of which have byte after byte. */
static inline __m256i half_table(const float *code, float scale, ql_round round)
{
    const __m256i apart = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));

    return _mm256_shuffle_epi8(
        _mm256_castps_si256(ql_scaled_avx2(code, scale, round)), apart);
}

static inline void make_f32(f32_table *to, const float *code, float scale,
                            ql_round round)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i a = half_table(code, scale, round);
    const __m256i b = half_table(code + 8, scale, round);

    _mm256_storeu_si256(
        (void *)to->byte[0],
        _mm256_permutevar8x32_epi32(_mm256_unpacklo_epi32(a, b), order));
    _mm256_storeu_si256(
        (void *)to->byte[2],
        _mm256_permutevar8x32_epi32(_mm256_unpackhi_epi32(a, b), order));
}

static inline __attribute__((always_inline)) void
make_tables(piece_tables *to, const ql_qtensor *w, const float *scale, size_t n,
            bool bf16)
{
    if (bf16) {
        ql_byte_tables_avx2(to->bf16, w->code, scale, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        make_f32(&to->f32[i], w->code, scale[i], w->round);
    }
}

/* Blocks [from, to) of a row, a piece at the most. */
static inline __attribute__((always_inline)) void
row_products(sums *s, const ql_dots *d, const ql_dot_rows *rows, size_t r,
             size_t from, size_t to, size_t T, bool bf16)
{
    const float *x = (const float *)(const void *)d->x;
    const uint8_t *bytes = rows->bytes[r];
    piece_tables tables;
    sums here;

    make_tables(&tables, d->w, rows->scale[r] + from, to - from, bf16);
    copy_sums(&here, s, T);
    for (size_t b = from; b < to; b++) {
        const uint8_t *at = bytes + b * QL_DOT4_BLOCK / 2;
        const float *y = x + b * QL_DOT4_BLOCK;
        const __m256i v = _mm256_loadu_si256((const void *)at);

        _mm_prefetch((const char *)at + rows->next, _MM_HINT_T0);
        if (bf16) {
            block_bf16(&here, v, &tables.bf16[b - from], y, d->ldx, T);
        } else {
            block_f32(&here, v, &tables.f32[b - from], y, d->ldx, T);
        }
    }
    copy_sums(s, &here, T);
}

static inline __attribute__((always_inline)) void
all_rows(float sum[][QL_DOT4_ROWS], const ql_dots *d, const ql_dot_rows *rows,
         size_t T, bool bf16)
{
    const size_t blocks = d->n / QL_DOT4_BLOCK;
    sums s[QL_DOT4_ROWS];

    for (size_t r = 0; r < QL_DOT4_ROWS; r++) {
        for (size_t t = 0; t < T; t++) {
            for (size_t i = 0; i < ways(T); i++) {
                s[r].lane[t][i] = _mm256_setzero_ps();
            }
        }
    }
    for (size_t b = 0; b < blocks; b += PIECE / T) {
        const size_t to = b + PIECE / T < blocks ? b + PIECE / T : blocks;

        for (size_t r = 0; r < QL_DOT4_ROWS; r++) {
            row_products(&s[r], d, rows, r, b, to, T, bf16);
        }
    }
    for (size_t t = 0; t < T; t++) {
        __m256 all[QL_DOT4_ROWS];

        for (size_t r = 0; r < QL_DOT4_ROWS; r++) {
            all[r] = s[r].lane[t][0];
            for (size_t i = 1; i < ways(T); i++) {
                all[r] = _mm256_add_ps(all[r], s[r].lane[t][i]);
            }
        }
        ql_add_sums_avx2(sum[t], all);
    }
}

static inline __attribute__((always_inline)) void
in_bf16(float sum[][QL_DOT4_ROWS], const ql_dots *d, const void *rows, size_t T)
{
    all_rows(sum, d, rows, T, true);
}

static inline __attribute__((always_inline)) void
in_f32(float sum[][QL_DOT4_ROWS], const ql_dots *d, const void *rows, size_t T)
{
    all_rows(sum, d, rows, T, false);
}

void ql_dot4_avx2(float sum[][QL_DOT4_ROWS], const ql_dots *d)
{
    ql_dot_rows rows;

    ql_dot_rows_open(&rows, d);
    if (d->w->round == QL_ROUND_BF16) {
        ql_dot4_unrolled(sum, d, &rows, in_bf16);
    } else {
        ql_dot4_unrolled(sum, d, &rows, in_f32);
    }
}

/* High nibbles come first in memory, and second in a word. */
void ql_arrange_avx2(void *out, const float *x, size_t n)
{
    float *to = out;

    for (size_t i = 0; i < n; i += 16, x += 16) {
        float *at = to + i / QL_DOT4_BLOCK * QL_DOT4_BLOCK + i / 16 % 2 * 32 +
                    i / 32 % 2 * 4;

        for (size_t j = 0; j < 4; j++) {
            for (size_t k = 0; k < 4; k++) {
                at[8 * k + j] = x[4 * j + (k ^ 1)];
            }
        }
    }
}

/* Eight values, from value i on. */
static inline __m256 eight(const void *x, size_t i, bool bf16)
{
    if (!bf16) {
        return _mm256_loadu_ps((const float *)x + i);
    }
    const __m128i words =
        _mm_loadu_si128((const void *)((const uint16_t *)x + i));

    return ql_even_words_avx2(_mm256_cvtepu16_epi32(words));
}

static inline __attribute__((always_inline)) float
dot(const void *a, const float *b, size_t n, bool bf16)
{
    __m256 sum[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(),
                     _mm256_setzero_ps(), _mm256_setzero_ps()};
    float tail = 0;
    size_t p = 0;

    for (; p + 32 <= n; p += 32) {
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) {
            sum[i] = _mm256_fmadd_ps(eight(a, p + 8 * i, bf16),
                                     _mm256_loadu_ps(b + p + 8 * i), sum[i]);
        }
    }
    for (; p + 8 <= n; p += 8) {
        sum[0] =
            _mm256_fmadd_ps(eight(a, p, bf16), _mm256_loadu_ps(b + p), sum[0]);
    }
    for (; p < n; p++) {
        tail += ql_value(a, p, bf16) * b[p];
    }
    return ql_sum_avx2(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]),
                                     _mm256_add_ps(sum[2], sum[3]))) +
           tail;
}

float ql_dot_avx2(const void *a, const void *b, size_t n)
{
    return dot(a, b, n, false);
}

float ql_dot_bf16_avx2(const void *a, const void *b, size_t n)
{
    return dot(a, b, n, true);
}
