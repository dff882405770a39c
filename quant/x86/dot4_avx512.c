/* Few tokens by 4-bit weights, with AVX-512 in f32: each block's table is made
 * as in decoding, and looked up without storing what comes of it. */
#include <immintrin.h>

#include "quant/kernel_parts.h"
#include "quant/x86/parts_avx512.h"

enum {
    AHEAD = 1024, /* bytes fetched before their use */
    WAYS = 4      /* partial sums of a token: additions take their time */
};

typedef struct sums {
    __m512 lane[QL_DOT4_TOKENS][WAYS];
} sums;

/* A block of 64 as four vectors: nibbles i and i + 4 of each four bytes. */
static inline __attribute__((always_inline)) void
block(sums *s, const uint8_t *bytes, __m512 table, const float *x, size_t ldx,
      size_t T)
{
    const __m512i second = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 16, 16, 16,
                                             16, 16, 16, 16, 16);
    const __m512i codes = _mm512_srlv_epi32(
        _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)bytes)),
        second);

#pragma GCC unroll 4
    for (unsigned i = 0; i < 4; i++) {
        const __m512 w =
            _mm512_permutexvar_ps(_mm512_srli_epi32(codes, 4 * i), table);

        for (size_t t = 0; t < T; t++) {
            s->lane[t][i] = _mm512_fmadd_ps(
                w, _mm512_loadu_ps(x + t * ldx + (size_t)16 * i),
                s->lane[t][i]);
        }
    }
}

static inline __attribute__((always_inline)) void
tokens(float *sum, const ql_qtensor *w, size_t start, size_t n,
       const uint32_t *cells, size_t ldx, size_t T)
{
    const float *x = (const float *)(const void *)cells;
    const uint8_t *bytes = (const uint8_t *)w->data + start / 2;
    ql_scales scales = ql_scales_from(w, start / QL_DOT4_BLOCK);
    sums s;

    for (size_t t = 0; t < T; t++) {
        for (size_t i = 0; i < WAYS; i++) {
            s.lane[t][i] = _mm512_setzero_ps();
        }
    }
    for (size_t i = 0; i < n; i += QL_DOT4_BLOCK, bytes += QL_DOT4_BLOCK / 2) {
        const float scale = ql_scales_next(&scales);

        _mm_prefetch((const char *)bytes + AHEAD, _MM_HINT_T0);
        block(&s, bytes, ql_scaled_avx512(w->code, scale, w->round), x + i, ldx,
              T);
    }
    for (size_t t = 0; t < T; t++) {
        sum[t] += _mm512_reduce_add_ps(
            _mm512_add_ps(_mm512_add_ps(s.lane[t][0], s.lane[t][1]),
                          _mm512_add_ps(s.lane[t][2], s.lane[t][3])));
    }
}

void ql_dot4_avx512(float *sum, const ql_qtensor *w, size_t start, size_t n,
                    const uint32_t *x, size_t ldx, size_t T)
{
    ql_dot4_unrolled(sum, w, start, n, x, ldx, T, tokens);
}

/* The high nibble of a byte comes first in memory, and second in a word. */
void ql_arrange_avx512(void *out, const float *x, size_t n)
{
    float *to = out;

    for (size_t i = 0; i < n; i += QL_DOT4_BLOCK) {
        for (size_t j = 0; j < QL_DOT4_BLOCK; j++) {
            const size_t nibble = j / 16 + j % 16 / 8 * 4;

            to[i + j] = x[i + j % 8 * 8 + (nibble ^ 1)];
        }
    }
}
