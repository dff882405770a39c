/* What the AVX-512 sets share. */
#ifndef QL_QUANT_PARTS_AVX512_H
#define QL_QUANT_PARTS_AVX512_H

#include <immintrin.h>

#include "quant/kernels.h"

/* The decoder of the fp32 set. */
ql_decode_fn ql_decode_avx512;

/* Operands in bf16. */
ql_fetch_fn ql_fetch_avx512bf16;
ql_narrow_fn ql_narrow_avx512bf16;

/* Few tokens, in f32 and in bf16. */
ql_arrange_fn ql_arrange_avx512, ql_arrange_avx512bf16;
ql_dot4_fn ql_dot4_avx512, ql_dot4_avx512bf16;

static inline __m512 ql_round_bf16_avx512(__m512 x)
{
    const __m512i u = _mm512_castps_si512(x);
    const __m512i odd =
        _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    const __m512i near =
        _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i top =
        _mm512_mask_or_epi32(near, nan, u, _mm512_set1_epi32(0x400000));

    return _mm512_castsi512_ps(
        _mm512_and_si512(top, _mm512_set1_epi32((int)0xffff0000)));
}

static inline __m512 ql_rounded_avx512(__m512 x, ql_round round)
{
    switch (round) {
    case QL_ROUND_BF16:
        return ql_round_bf16_avx512(x);
    case QL_ROUND_F16:
        return _mm512_cvtph_ps(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
    case QL_ROUND_NONE:
        break;
    }
    return x;
}

/* The table of codes times the scale, rounded. There is no NaN, so rounding to
 * bf16 takes less than in decoding. */
static inline __m512 ql_table_avx512(__m512 code, float scale, ql_round round)
{
    const __m512 x = _mm512_mul_ps(code, _mm512_set1_ps(scale));

    if (round == QL_ROUND_BF16) {
        const __m512i u = _mm512_castps_si512(x);
        const __mmask16 odd =
            _mm512_test_epi32_mask(u, _mm512_set1_epi32(0x10000));
        const __m512i low = _mm512_add_epi32(u, _mm512_set1_epi32(0x7fff));
        const __m512i near =
            _mm512_mask_add_epi32(low, odd, low, _mm512_set1_epi32(1));

        return _mm512_castsi512_ps(
            _mm512_and_si512(near, _mm512_set1_epi32((int)0xffff0000)));
    }
    return ql_rounded_avx512(x, round);
}

/* sum[r] += the sum of all lanes of row r. */
static inline void ql_add_sums_avx512(float sum[QL_DOT4_ROWS],
                                      const __m512 row[QL_DOT4_ROWS])
{
    const __m512 a = _mm512_add_ps(_mm512_unpacklo_ps(row[0], row[1]),
                                   _mm512_unpackhi_ps(row[0], row[1]));
    const __m512 b = _mm512_add_ps(_mm512_unpacklo_ps(row[2], row[3]),
                                   _mm512_unpackhi_ps(row[2], row[3]));
    const __m512 all = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44),
                                     _mm512_shuffle_ps(a, b, 0xee));
    const __m256 two = _mm256_add_ps(_mm512_castps512_ps256(all),
                                     _mm512_extractf32x8_ps(all, 1));
    const __m128 one =
        _mm_add_ps(_mm256_castps256_ps128(two), _mm256_extractf128_ps(two, 1));

    _mm_storeu_ps(sum, _mm_add_ps(_mm_loadu_ps(sum), one));
}

/* Four cells of rows 0, 4, 8 and 12, one row a lane. */
static inline __m512i ql_four_rows_avx512(const char *at, size_t step)
{
    __m512i z = _mm512_castsi128_si512(_mm_loadu_si128((const void *)at));

    z = _mm512_mask_broadcast_i32x4(z, 0x00f0,
                                    _mm_loadu_si128((const void *)(at + step)));
    z = _mm512_mask_broadcast_i32x4(
        z, 0x0f00, _mm_loadu_si128((const void *)(at + 2 * step)));
    return _mm512_mask_broadcast_i32x4(
        z, 0xf000, _mm_loadu_si128((const void *)(at + 3 * step)));
}

/* Four cells of sixteen rows become four vectors of the panel. */
static inline void ql_transpose_avx512(uint32_t *panel, size_t width,
                                       const char *at, size_t row)
{
    const __m512i r0 = ql_four_rows_avx512(at, 4 * row);
    const __m512i r1 = ql_four_rows_avx512(at + row, 4 * row);
    const __m512i r2 = ql_four_rows_avx512(at + 2 * row, 4 * row);
    const __m512i r3 = ql_four_rows_avx512(at + 3 * row, 4 * row);
    const __m512i a = _mm512_unpacklo_epi32(r0, r1);
    const __m512i b = _mm512_unpackhi_epi32(r0, r1);
    const __m512i c = _mm512_unpacklo_epi32(r2, r3);
    const __m512i d = _mm512_unpackhi_epi32(r2, r3);

    _mm512_storeu_si512(panel, _mm512_unpacklo_epi64(a, c));
    _mm512_storeu_si512(panel + width, _mm512_unpackhi_epi64(a, c));
    _mm512_storeu_si512(panel + 2 * width, _mm512_unpacklo_epi64(b, d));
    _mm512_storeu_si512(panel + 3 * width, _mm512_unpackhi_epi64(b, d));
}

/* ql_pack_nt_fn for sixteen columns. */
static inline void ql_pack_nt_avx512(uint32_t *panel, size_t width,
                                     const void *rows, size_t ld, size_t cells)
{
    const size_t row = ld * sizeof(*panel);
    const char *at = rows;

    for (size_t p = 0; p < cells; p += 4) {
        ql_transpose_avx512(panel + p * width, width, at + p * sizeof(*panel),
                            row);
    }
}

/* One vector of C (+)= sum, by a mask that is empty where nothing is added. */
static inline void ql_put_avx512(float *c, __mmask16 add, __m512 sum)
{
    _mm512_storeu_ps(c, _mm512_add_ps(_mm512_maskz_loadu_ps(add, c), sum));
}

#endif
