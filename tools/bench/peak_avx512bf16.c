/* AVX-512 dot products of bf16: each of 16 lanes takes a pair; 12 independent
 * sums to hide the latency. */
#include <immintrin.h>

#include "quant/cpu.h"
#include "tools/bench/bench_peak.h"

enum {
    SUMS = 12,
    LANES = 16,
    ONE = 0x3f80 /* as bf16 */
};

static float dot(size_t rounds)
{
    const __m512bh ones = (__m512bh)_mm512_set1_epi16(ONE);
    __m512 acc[SUMS];

    for (size_t j = 0; j < SUMS; j++) {
        acc[j] = _mm512_set1_ps((float)j);
    }
    for (size_t i = 0; i < rounds; i++) {
        for (size_t j = 0; j < SUMS; j++) {
            acc[j] = _mm512_dpbf16_ps(acc[j], ones, ones);
        }
    }
    for (size_t j = 1; j < SUMS; j++) {
        acc[0] = _mm512_add_ps(acc[0], acc[j]);
    }
    return _mm512_reduce_add_ps(acc[0]);
}

extern const bench_peak bench_peak_avx512bf16;
const bench_peak bench_peak_avx512bf16 = {
    .isa = "avx512bf16",
    .cpu_need = QL_CPU_AVX512BF16,
    .type = BENCH_BF16,
    .run = dot,
    .flop = 4 * SUMS * LANES,
};
