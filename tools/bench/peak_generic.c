/* Plain C: what the compiler makes of it without any set's flags. */
#include "tools/bench/bench_peak.h"

enum {
    LANES = 48
};

static float multiply_add(size_t rounds)
{
    float acc[LANES] = {0};
    float sum = 0;

    for (size_t i = 0; i < rounds; i++) {
#pragma omp simd
        for (size_t j = 0; j < LANES; j++) {
            acc[j] = acc[j] * 0.5F + 1.0F;
        }
    }
    for (size_t j = 0; j < LANES; j++) {
        sum += acc[j];
    }
    return sum;
}

extern const bench_peak bench_peak_generic;
const bench_peak bench_peak_generic = {
    .isa = "generic",
    .type = BENCH_FP32,
    .run = multiply_add,
    .flop = 2 * LANES,
};
