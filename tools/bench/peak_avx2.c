/* AVX2 and FMA: 8 lanes, 12 independent sums to hide the latency. */
#include <immintrin.h>

#include "quant/cpu.h"
#include "tools/bench/bench_peak.h"

enum {
    SUMS = 12,
    LANES = 8
};

static float multiply_add(size_t rounds)
{
    const __m256 half = _mm256_set1_ps(0.5F);
    const __m256 one = _mm256_set1_ps(1);
    __m256 acc[SUMS];
    float out[LANES];

    for (size_t j = 0; j < SUMS; j++) {
        acc[j] = _mm256_set1_ps((float)j);
    }
    for (size_t i = 0; i < rounds; i++) {
        for (size_t j = 0; j < SUMS; j++) {
            acc[j] = _mm256_fmadd_ps(acc[j], half, one);
        }
    }
    for (size_t j = 1; j < SUMS; j++) {
        acc[0] = _mm256_add_ps(acc[0], acc[j]);
    }
    _mm256_storeu_ps(out, acc[0]);
    return out[0] + out[LANES - 1];
}

extern const bench_peak bench_peak_avx2;
const bench_peak bench_peak_avx2 = {
    .isa = "avx2",
    .cpu_need = QL_CPU_AVX2,
    .type = BENCH_FP32,
    .run = multiply_add,
    .flop = 2 * SUMS * LANES,
};
