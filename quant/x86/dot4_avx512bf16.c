/* Few tokens by 4-bit weights, with bf16 dot products: codes are looked up as
 * they are, and the sum of each block is scaled, so that a block costs little
 * more than its look-ups. */
#include <immintrin.h>

#include "quant/kernel_parts.h"
#include "quant/x86/parts_avx512.h"

enum {
    TWO = 2 * QL_DOT4_BLOCK
};

/* Two blocks as four vectors: nibble i of each two bytes; the look-up among 32
 * words takes one bit more, so the table is there twice. The sums of the blocks
 * are in the halves of a vector. */
static inline __attribute__((always_inline)) void
two_blocks(__m512 lanes[][QL_DOT4_ROWS], size_t r, __m512i codes, __m512i table,
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
        lanes[t][r] = _mm512_fmadd_ps(here, scale, lanes[t][r]);
    }
}

static inline __attribute__((always_inline)) void
tokens(float sum[][QL_DOT4_ROWS], const ql_dots *d, const void *opened,
       size_t T)
{
    const ql_dot_rows *rows = opened;
    const uint16_t *x = (const uint16_t *)(const void *)d->x;
    const __m512 code = _mm512_loadu_ps(d->w->code);
    const __m512i table = (__m512i)_mm512_cvtne2ps_pbh(code, code);
    __m512 lanes[QL_DOT4_TOKENS][QL_DOT4_ROWS];
    size_t i = 0;

    for (size_t t = 0; t < T; t++) {
        for (size_t r = 0; r < QL_DOT4_ROWS; r++) {
            lanes[t][r] = _mm512_setzero_ps();
        }
    }
    for (; i + TWO <= d->n; i += TWO) {
#pragma GCC unroll 4
        for (size_t r = 0; r < QL_DOT4_ROWS; r++) {
            const uint8_t *bytes = rows->bytes[r] + i / 2;
            const float *scale = &rows->scale[r][i / QL_DOT4_BLOCK];
            const __m512 both = _mm512_mask_broadcastss_ps(
                _mm512_set1_ps(scale[0]), 0xff00, _mm_load_ss(scale + 1));

            _mm_prefetch((const char *)bytes + rows->next, _MM_HINT_T0);
            two_blocks(lanes, r, _mm512_loadu_si512(bytes), table, both, x + i,
                       2 * d->ldx, T);
        }
    }
    for (size_t r = 0; i < d->n && r < QL_DOT4_ROWS; r++) {
        const float *scale = &rows->scale[r][i / QL_DOT4_BLOCK];

        two_blocks(
            lanes, r, _mm512_maskz_loadu_epi64(0x0f, rows->bytes[r] + i / 2),
            table, _mm512_maskz_broadcastss_ps(0x00ff, _mm_load_ss(scale)),
            x + i, 2 * d->ldx, T);
    }
    for (size_t t = 0; t < T; t++) {
        ql_add_sums_avx512(sum[t], lanes[t]);
    }
}

void ql_dot4_avx512bf16(float sum[][QL_DOT4_ROWS], const ql_dots *d)
{
    ql_dot_rows rows;

    ql_dot_rows_open(&rows, d);
    ql_dot4_unrolled(sum, d, &rows, tokens);
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
