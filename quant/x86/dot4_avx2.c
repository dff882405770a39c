/* Few tokens by 4-bit weights, with AVX2: each block's table is made as in
 * decoding, and looked up without storing what comes of it. */
#include <immintrin.h>

#include "quant/kernel_parts.h"
#include "quant/x86/parts_avx2.h"

enum {
    AHEAD = 1024, /* bytes fetched before their use */
    WAYS = 4      /* partial sums at the most: additions take their time */
};

/* The partial sums of some tokens, as many as there are registers for. */
typedef struct sums {
    __m256 lane[QL_DOT4_TOKENS][WAYS];
} sums;

static inline size_t ways(size_t T)
{
    return T == 1 ? WAYS : 2;
}

/* The codes of a block of 64 as eight vectors: nibble i of each four bytes. */
static inline __attribute__((always_inline)) void
dot4_block(sums *s, const uint8_t *bytes, __m256 low, __m256 high,
           const float *x, size_t ldx, size_t T)
{
    const __m256i codes = _mm256_loadu_si256((const void *)bytes);

#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        const __m256i code = _mm256_srli_epi32(codes, 4 * i);
        const __m256 half =
            _mm256_castsi256_ps(_mm256_slli_epi32(codes, 28 - 4 * i));
        const __m256 w =
            _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, code),
                             _mm256_permutevar8x32_ps(high, code), half);

        for (size_t t = 0; t < T; t++) {
            __m256 *lane = &s->lane[t][(size_t)i % ways(T)];

            *lane =
                _mm256_fmadd_ps(w, _mm256_loadu_ps(x + t * ldx + 8 * i), *lane);
        }
    }
}

static inline __attribute__((always_inline)) void
dot4_tokens(float *sum, const ql_qtensor *w, size_t start, size_t n,
            const uint32_t *cells, size_t ldx, size_t T)
{
    const float *x = (const float *)(const void *)cells;
    const uint8_t *bytes = (const uint8_t *)w->data + start / 2;
    ql_scales scales = ql_scales_from(w, start / QL_DOT4_BLOCK);
    sums s;

    for (size_t t = 0; t < T; t++) {
        for (size_t i = 0; i < WAYS; i++) {
            s.lane[t][i] = _mm256_setzero_ps();
        }
    }
    for (size_t i = 0; i < n; i += QL_DOT4_BLOCK, bytes += QL_DOT4_BLOCK / 2) {
        const float scale = ql_scales_next(&scales);

        _mm_prefetch((const char *)bytes + AHEAD, _MM_HINT_T0);
        dot4_block(&s, bytes, ql_scaled_avx2(w->code, scale, w->round),
                   ql_scaled_avx2(w->code + 8, scale, w->round), x + i, ldx, T);
    }
    for (size_t t = 0; t < T; t++) {
        sum[t] += ql_sum_avx2(
            _mm256_add_ps(_mm256_add_ps(s.lane[t][0], s.lane[t][1]),
                          _mm256_add_ps(s.lane[t][2], s.lane[t][3])));
    }
}

void ql_dot4_avx2(float *sum, const ql_qtensor *w, size_t start, size_t n,
                  const uint32_t *x, size_t ldx, size_t T)
{
    ql_dot4_unrolled(sum, w, start, n, x, ldx, T, dot4_tokens);
}

/* High nibbles come first in memory, and second in a word. */
void ql_arrange_avx2(void *out, const float *x, size_t n)
{
    float *to = out;

    for (size_t i = 0; i < n; i += QL_DOT4_BLOCK) {
        for (size_t j = 0; j < QL_DOT4_BLOCK; j++) {
            to[i + j] = x[i + j % 8 * 8 + (j / 8 ^ 1)];
        }
    }
}
