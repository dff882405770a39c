/* NEON: 4 lanes, 16 independent sums to hide the latency of four units. */
#include <arm_neon.h>

#include "quant/cpu.h"
#include "tools/bench/bench_peak.h"

enum {
    SUMS = 16,
    LANES = 4
};

static float multiply_add(size_t rounds)
{
    const float32x4_t half = vdupq_n_f32(0.5F);
    const float32x4_t one = vdupq_n_f32(1);
    float32x4_t acc[SUMS];

#pragma GCC unroll 16
    for (size_t j = 0; j < SUMS; j++) {
        acc[j] = vdupq_n_f32((float)j);
    }
    for (size_t i = 0; i < rounds; i++) {
#pragma GCC unroll 16
        for (size_t j = 0; j < SUMS; j++) {
            acc[j] = vfmaq_f32(acc[j], half, one);
        }
    }
#pragma GCC unroll 16
    for (size_t j = 1; j < SUMS; j++) {
        acc[0] = vaddq_f32(acc[0], acc[j]);
    }
    return vaddvq_f32(acc[0]);
}

extern const bench_peak bench_peak_neon;
const bench_peak bench_peak_neon = {
    .isa = "neon",
    .cpu_need = QL_CPU_NEON,
    .type = BENCH_FP32,
    .run = multiply_add,
    .flop = 2 * SUMS * LANES,
};
