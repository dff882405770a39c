/* What the files of the AVX2 set share. */
#ifndef QL_QUANT_PARTS_AVX2_H
#define QL_QUANT_PARTS_AVX2_H

#include <immintrin.h>

#include "quant/kernels.h"

/* The table of a block in bf16, in bytes, for these can be looked up 32 at a
 * time: the first bytes of its sixteen entries, and the second ones. */
typedef struct ql_byte_table {
    uint8_t first[16], second[16];
} ql_byte_table;

/* Tables of n scales. There is no NaN. */
void ql_byte_tables_avx2(ql_byte_table *to, const float *code,
                         const float *scale, size_t n);

/* The decoder, and operands. */
ql_decode_fn ql_decode_avx2;
ql_fetch_fn ql_fetch_avx2;

/* ql_fill_nn_fn for whole blocks of 64 that are rounded to bf16, in panels of
 * sixteen columns; false if these are none. */
bool ql_fill_blocks_avx2(uint32_t *panel, const ql_slab *s);

/* Few tokens. */
ql_arrange_fn ql_arrange_avx2;
ql_dot4_fn ql_dot4_avx2;
ql_dot_fn ql_dot_avx2, ql_dot_bf16_avx2;

static inline __m256 ql_round_bf16_avx2(__m256 x)
{
    const __m256i u = _mm256_castps_si256(x);
    const __m256i odd =
        _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    const __m256i near =
        _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
    const __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    const __m256 top = _mm256_blendv_ps(_mm256_castsi256_ps(near),
                                        _mm256_castsi256_ps(quiet), nan);

    return _mm256_and_ps(
        top, _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000)));
}

/* Words of bf16 as floats: those at even places, and those at odd ones. */
static inline __m256 ql_even_words_avx2(__m256i words)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
}

static inline __m256 ql_odd_words_avx2(__m256i words)
{
    return _mm256_castsi256_ps(
        _mm256_and_si256(words, _mm256_set1_epi32((int)0xffff0000)));
}

/* Sixteen bytes, twice. */
static inline __m256i ql_twice_avx2(const uint8_t *bytes)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)bytes));
}

/* Eight entries of the table of codes times the scale, rounded. */
static inline __m256 ql_scaled_avx2(const float *code, float scale,
                                    ql_round round)
{
    const __m256 x =
        _mm256_mul_ps(_mm256_loadu_ps(code), _mm256_set1_ps(scale));

    switch (round) {
    case QL_ROUND_BF16:
        return ql_round_bf16_avx2(x);
    case QL_ROUND_F16:
        return _mm256_cvtph_ps(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
    case QL_ROUND_NONE:
        break;
    }
    return x;
}

static inline float ql_sum_avx2(__m256 x)
{
    const __m128 four =
        _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));

    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* sum[r] += the sum of all lanes of row r. */
static inline void ql_add_sums_avx2(float sum[QL_DOT4_ROWS],
                                    const __m256 row[QL_DOT4_ROWS])
{
    const __m256 a = _mm256_hadd_ps(row[0], row[1]);
    const __m256 b = _mm256_hadd_ps(row[2], row[3]);
    const __m256 two = _mm256_hadd_ps(a, b);
    const __m128 one =
        _mm_add_ps(_mm256_castps256_ps128(two), _mm256_extractf128_ps(two, 1));

    _mm_storeu_ps(sum, _mm_add_ps(_mm_loadu_ps(sum), one));
}

#endif
