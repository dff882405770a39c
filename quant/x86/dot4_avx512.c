/* Few tokens by 4-bit weights, with AVX-512 in f32: each block's table is made
 * as in decoding, and looked up without storing what comes of it. */
#include <immintrin.h>

#include "quant/kernel_parts.h"
#include "quant/x86/parts_avx512.h"

static inline __attribute__((always_inline)) void
multiply(float sum[][QL_DOT4_ROWS], const ql_dots *d, const ql_dot_rows *rows,
         size_t T, ql_round round)
{
    const float *x = (const float *)(const void *)d->x;
    const __m512 code = _mm512_loadu_ps(d->w->code);
    __m512 lanes[QL_DOT4_TOKENS][QL_DOT4_ROWS];

    for (size_t t = 0; t < T; t++) {
        for (size_t r = 0; r < QL_DOT4_ROWS; r++) {
            lanes[t][r] = _mm512_setzero_ps();
        }
    }
    for (size_t i = 0; i < d->n; i += QL_DOT4_BLOCK, x += QL_DOT4_BLOCK) {
        __m512 table[QL_DOT4_ROWS];
        __m512i codes[QL_DOT4_ROWS];

#pragma GCC unroll 4
        for (size_t r = 0; r < QL_DOT4_ROWS; r++) {
            const uint8_t *bytes = rows->bytes[r] + i / 2;

            _mm_prefetch((const char *)bytes + rows->next, _MM_HINT_T0);
            codes[r] =
                _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)bytes));
            table[r] =
                ql_table_avx512(code, rows->scale[r][i / QL_DOT4_BLOCK], round);
        }
#pragma GCC unroll 4
        for (unsigned k = 0; k < 4; k++) {
#pragma GCC unroll 4
            for (size_t r = 0; r < QL_DOT4_ROWS; r++) {
                const __m512 w = _mm512_permutexvar_ps(
                    _mm512_srli_epi32(codes[r], 4 * k), table[r]);

                for (size_t t = 0; t < T; t++) {
                    lanes[t][r] = _mm512_fmadd_ps(
                        w, _mm512_loadu_ps(x + t * d->ldx + (size_t)16 * k),
                        lanes[t][r]);
                }
            }
        }
    }
    for (size_t t = 0; t < T; t++) {
        ql_add_sums_avx512(sum[t], lanes[t]);
    }
}

static inline __attribute__((always_inline)) void
rounded_to_bf16(float sum[][QL_DOT4_ROWS], const ql_dots *d, const void *rows,
                size_t T)
{
    multiply(sum, d, rows, T, QL_ROUND_BF16);
}

static inline __attribute__((always_inline)) void
rounded(float sum[][QL_DOT4_ROWS], const ql_dots *d, const void *rows, size_t T)
{
    multiply(sum, d, rows, T, d->w->round);
}

void ql_dot4_avx512(float sum[][QL_DOT4_ROWS], const ql_dots *d)
{
    ql_dot_rows rows;

    ql_dot_rows_open(&rows, d);
    if (d->w->round == QL_ROUND_BF16) {
        ql_dot4_unrolled(sum, d, &rows, rounded_to_bf16);
    } else {
        ql_dot4_unrolled(sum, d, &rows, rounded);
    }
}

/* The high nibble of a byte comes first in memory, and second in a word. */
void ql_arrange_avx512(void *out, const float *x, size_t n)
{
    float *to = out;

    for (size_t i = 0; i < n; i += QL_DOT4_BLOCK) {
        for (size_t j = 0; j < QL_DOT4_BLOCK / 4; j++) {
            for (size_t k = 0; k < 4; k++) {
                to[i + 16 * k + j] = x[i + 4 * j + (k ^ 1)];
            }
        }
    }
}
