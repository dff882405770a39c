/* NEON matrix products of bf16: each of 4 lanes takes four products;
 * 16 independent sums to hide the latency of four units. */
#include <arm_neon.h>

#include "quant/cpu.h"
#include "tools/bench/bench_peak.h"

enum {
    SUMS = 16,
    LANES = 4
};

static float multiply(size_t rounds)
{
    const float32x4_t one = vdupq_n_f32(1);
    const bfloat16x8_t ones = vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(one), one);
    float32x4_t acc[SUMS];

#pragma GCC unroll 16
    for (size_t j = 0; j < SUMS; j++) {
        acc[j] = vdupq_n_f32((float)j);
    }
    for (size_t i = 0; i < rounds; i++) {
#pragma GCC unroll 16
        for (size_t j = 0; j < SUMS; j++) {
            acc[j] = vbfmmlaq_f32(acc[j], ones, ones);
        }
    }
#pragma GCC unroll 16
    for (size_t j = 1; j < SUMS; j++) {
        acc[0] = vaddq_f32(acc[0], acc[j]);
    }
    return vaddvq_f32(acc[0]);
}

extern const bench_peak bench_peak_neonbf16;
const bench_peak bench_peak_neonbf16 = {
    .isa = "neonbf16",
    .cpu_need = QL_CPU_NEONBF16,
    .type = BENCH_BF16,
    .run = multiply,
    .flop = 8 * SUMS * LANES,
};
