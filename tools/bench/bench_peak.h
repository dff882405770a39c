/* What a core can compute at most: loops that work on registers only. A new
 * one is one file with a table at its end, an extern and an entry in
 * bench_peaks.c, and a line in meson.build. */
#ifndef QL_BENCH_PEAK_H
#define QL_BENCH_PEAK_H

#include <stddef.h>
#include <stdint.h>

/* What is multiplied; sums are f32. */
typedef enum bench_type {
    BENCH_FP32, /* multiplications and additions, fused where there is that */
    BENCH_BF16, /* dot products of pairs */
    BENCH_TYPES
} bench_type;

/* Runs the loop `rounds` times. The result only keeps the work from being left
 * out. */
typedef float bench_peak_fn(size_t rounds);

typedef struct bench_peak {
    const char *isa;   /* as the set of kernels is called */
    uint32_t cpu_need; /* bits of quant/cpu.h */
    bench_type type;
    bench_peak_fn *run;
    size_t flop; /* of a round; a multiplication and an addition are two */
} bench_peak;

#endif
