/* Few tokens by 4-bit weights, with AVX2: the tables of all blocks are made
 * first, and then looked up without storing what comes of it. And dot products
 * with weights in f32 and in bf16. */
#include <immintrin.h>

#include "quant/kernel_parts.h"
#include "quant/x86/parts_avx2.h"

enum {
    BLOCKS = QL_DOT4_DEPTH / QL_DOT4_BLOCK,
    PIECE = 64, /* blocks of x that stay in the first cache */
    WAYS = 4    /* partial sums at the most: additions take their time */
};

typedef struct row_tables {
    ql_dot_rows rows;
    ql_byte_table bf16[QL_DOT4_ROWS][BLOCKS]; /* where weights are so rounded */
} row_tables;

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

/* Words of bf16 as floats: those at even places, and those at odd ones. */
static inline __m256 even_words(__m256i words)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
}

static inline __m256 odd_words(__m256i words)
{
    return _mm256_castsi256_ps(
        _mm256_and_si256(words, _mm256_set1_epi32((int)0xffff0000)));
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
        const __m256i code = _mm256_and_si256(_mm256_srli_epi16(bytes, 4 * i),
                                              _mm256_set1_epi8(15));
        const __m256i a = _mm256_shuffle_epi8(first, code);
        const __m256i b = _mm256_shuffle_epi8(second, code);
        const __m256i low = _mm256_unpacklo_epi8(a, b);
        const __m256i high = _mm256_unpackhi_epi8(a, b);

        add_products(s, (size_t)i, even_words(low), x, ldx, T);
        add_products(s, (size_t)i + 2, odd_words(low), x, ldx, T);
        add_products(s, (size_t)i + 4, even_words(high), x, ldx, T);
        add_products(s, (size_t)i + 6, odd_words(high), x, ldx, T);
    }
}

/* The same by tables of floats: eight entries each, of which the fourth bit of
 * a code picks one. */
static inline __attribute__((always_inline)) void
block_f32(sums *s, __m256i bytes, __m256 low, __m256 high, const float *x,
          size_t ldx, size_t T)
{
    const __m256i zero = _mm256_setzero_si256();
    const __m256i words[2] = {_mm256_unpacklo_epi16(bytes, zero),
                              _mm256_unpackhi_epi16(bytes, zero)};

#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        const __m256i code = _mm256_srli_epi32(words[i / 4], i % 4 * 4);
        const __m256 half = _mm256_castsi256_ps(
            _mm256_slli_epi32(words[i / 4], 28 - i % 4 * 4));

        add_products(s, (size_t)i,
                     _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, code),
                                      _mm256_permutevar8x32_ps(high, code),
                                      half),
                     x, ldx, T);
    }
}

/* Blocks [from, to) of a row. */
static inline __attribute__((always_inline)) void
row_products(sums *s, const ql_dots *d, const row_tables *tables, size_t r,
             size_t from, size_t to, size_t T, bool bf16)
{
    const float *x = (const float *)(const void *)d->x;
    const uint8_t *bytes = tables->rows.bytes[r];
    const float *code = d->w->code;
    sums here;

    copy_sums(&here, s, T);
    for (size_t b = from; b < to; b++) {
        const uint8_t *at = bytes + b * QL_DOT4_BLOCK / 2;
        const float *y = x + b * QL_DOT4_BLOCK;
        const __m256i v = _mm256_loadu_si256((const void *)at);

        _mm_prefetch((const char *)at + tables->rows.next, _MM_HINT_T0);
        if (bf16) {
            block_bf16(&here, v, &tables->bf16[r][b], y, d->ldx, T);
        } else {
            const float scale = tables->rows.scale[r][b];

            block_f32(&here, v, ql_scaled_avx2(code, scale, d->w->round),
                      ql_scaled_avx2(code + 8, scale, d->w->round), y, d->ldx,
                      T);
        }
    }
    copy_sums(s, &here, T);
}

static inline __attribute__((always_inline)) void
all_rows(float sum[][QL_DOT4_ROWS], const ql_dots *d, const row_tables *tables,
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
            row_products(&s[r], d, tables, r, b, to, T, bf16);
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
in_bf16(float sum[][QL_DOT4_ROWS], const ql_dots *d, const void *tables,
        size_t T)
{
    all_rows(sum, d, tables, T, true);
}

static inline __attribute__((always_inline)) void
in_f32(float sum[][QL_DOT4_ROWS], const ql_dots *d, const void *tables,
       size_t T)
{
    all_rows(sum, d, tables, T, false);
}

void ql_dot4_avx2(float sum[][QL_DOT4_ROWS], const ql_dots *d)
{
    row_tables tables;

    ql_dot_rows_open(&tables.rows, d);
    if (d->w->round != QL_ROUND_BF16) {
        ql_dot4_unrolled(sum, d, &tables, in_f32);
        return;
    }
    for (size_t r = 0; r < QL_DOT4_ROWS; r++) {
        ql_byte_tables_avx2(tables.bf16[r], d->w->code, tables.rows.scale[r],
                            d->n / QL_DOT4_BLOCK);
    }
    ql_dot4_unrolled(sum, d, &tables, in_bf16);
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

    return even_words(_mm256_cvtepu16_epi32(words));
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
