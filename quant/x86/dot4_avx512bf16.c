/* Few tokens by 4-bit weights, with bf16 dot products: codes are looked up as
 * they are, and the sum of each block is scaled, so that a block costs little
 * more than its look-ups. */
#include <immintrin.h>

#include "quant/kernel_parts.h"
#include "quant/x86/parts_avx512.h"

enum {
    TWO = 2 * QL_DOT4_BLOCK,
    AHEAD = 2048 /* bytes fetched before their use */
};

/* Two blocks as four vectors: nibble i of each two bytes; the look-up among 32
 * words takes one bit more, so the table is there twice. The sums of the blocks
 * are in the halves of a vector. */
static inline __attribute__((always_inline)) void
two_blocks(__m512 sum[QL_DOT4_TOKENS], __m512i codes, __m512i table,
           __m512 scale, const uint16_t *x, size_t ldx, size_t T)
{
    __m512bh w[4];

#pragma GCC unroll 4
    for (unsigned i = 0; i < 4; i++) {
        w[i] = (__m512bh)_mm512_permutexvar_epi16(
            _mm512_srli_epi16(codes, 4 * i), table);
    }
    for (size_t t = 0; t < T; t++) {
        __m512 here = _mm512_setzero_ps();

#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) {
            here = _mm512_dpbf16_ps(
                here, w[i], (__m512bh)_mm512_loadu_si512(x + t * ldx + 32 * i));
        }
        sum[t] = _mm512_fmadd_ps(here, scale, sum[t]);
    }
}

static inline __attribute__((always_inline)) void
tokens(float *sum, const ql_qtensor *w, size_t start, size_t n,
       const uint32_t *cells, size_t ldx, size_t T)
{
    const uint16_t *x = (const uint16_t *)(const void *)cells;
    const __m512 code = _mm512_loadu_ps(w->code);
    const __m512i table = (__m512i)_mm512_cvtne2ps_pbh(code, code);
    const uint8_t *bytes = (const uint8_t *)w->data + start / 2;
    ql_scales scales = ql_scales_from(w, start / QL_DOT4_BLOCK);
    __m512 lanes[QL_DOT4_TOKENS] = {_mm512_setzero_ps(), _mm512_setzero_ps(),
                                    _mm512_setzero_ps(), _mm512_setzero_ps()};
    size_t i = 0;

    for (; i + TWO <= n; i += TWO, bytes += TWO / 2) {
        const __m512 first = _mm512_set1_ps(ql_scales_next(&scales));
        const __m512 both = _mm512_mask_broadcastss_ps(
            first, 0xff00, _mm_set_ss(ql_scales_next(&scales)));

        _mm_prefetch((const char *)bytes + AHEAD, _MM_HINT_T0);
        two_blocks(lanes, _mm512_loadu_si512(bytes), table, both, x + i,
                   2 * ldx, T);
    }
    if (i < n) {
        const __m512 first = _mm512_maskz_broadcastss_ps(
            0x00ff, _mm_set_ss(ql_scales_next(&scales)));

        two_blocks(lanes, _mm512_maskz_loadu_epi64(0x0f, bytes), table, first,
                   x + i, 2 * ldx, T);
    }
    for (size_t t = 0; t < T; t++) {
        sum[t] += _mm512_reduce_add_ps(lanes[t]);
    }
}

void ql_dot4_avx512bf16(float *sum, const ql_qtensor *w, size_t start, size_t n,
                        const uint32_t *x, size_t ldx, size_t T)
{
    ql_dot4_unrolled(sum, w, start, n, x, ldx, T, tokens);
}

/* The high nibble of a byte comes first in memory, and second in a word. What
 * fills up a second block is zero. */
void ql_arrange_avx512bf16(void *out, const float *x, size_t n)
{
    uint16_t *to = out;

    for (size_t i = 0; i < n; i += TWO) {
        for (size_t j = 0; j < TWO; j++) {
            const size_t e = i + j % 32 * 4 + (j / 32 ^ 1);

            to[i + j] = e < n ? ql_f32_to_bf16(x[e]) : 0;
        }
    }
}
