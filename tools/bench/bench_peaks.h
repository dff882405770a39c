/* The limits of this machine: arithmetic on registers, reading of memory. */
#ifndef QL_BENCH_PEAKS_H
#define QL_BENCH_PEAKS_H

#include "qlora/status.h"
#include "tools/bench/bench_peak.h"
#include "tools/bench/bench_race.h"

/* Thread counts that are measured. */
enum {
    BENCH_ONE, /* one thread */
    BENCH_ALL, /* as many as --threads says */
    BENCH_COUNTS
};

typedef struct bench_peaks {
    double gflops[BENCH_TYPES][BENCH_COUNTS]; /* whatever set is in use */
    double gbytes[BENCH_COUNTS];              /* read from memory a second */
} bench_peaks;

/* Measures the arithmetic and raises p to what was reached; p may be zero.
 * show: as a table, too, or as JSON. */
void bench_peaks_measure(bench_peaks *p, const bench_pace *pace, bool show,
                         bool json);

/* Measures the reading of a large buffer, and shows it. Errors: QL_ENOMEM. */
ql_status bench_memory_measure(bench_peaks *p, const bench_pace *pace,
                               bool json);

#endif
