/* AVX-512: 16 lanes, 12 independent sums to hide the latency. */
#include <immintrin.h>

#include "quant/cpu.h"
#include "tools/bench/bench_peak.h"

enum {
    SUMS = 12,
    LANES = 16
};

static float multiply_add(size_t rounds)
{
    const __m512 half = _mm512_set1_ps(0.5F);
    const __m512 one = _mm512_set1_ps(1);
    __m512 acc[SUMS];

    for (size_t j = 0; j < SUMS; j++) {
        acc[j] = _mm512_set1_ps((float)j);
    }
    for (size_t i = 0; i < rounds; i++) {
        for (size_t j = 0; j < SUMS; j++) {
            acc[j] = _mm512_fmadd_ps(acc[j], half, one);
        }
    }
    for (size_t j = 1; j < SUMS; j++) {
        acc[0] = _mm512_add_ps(acc[0], acc[j]);
    }
    return _mm512_reduce_add_ps(acc[0]);
}

extern const bench_peak bench_peak_avx512;
const bench_peak bench_peak_avx512 = {
    .isa = "avx512",
    .cpu_need = QL_CPU_AVX512,
    .type = BENCH_FP32,
    .run = multiply_add,
    .flop = 2 * SUMS * LANES,
};
