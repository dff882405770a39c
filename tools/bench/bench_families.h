/* Families of models side by side: their steps take turns, each between two
 * steps of one more model, the reference, which is of the first family; and
 * what is told of them together. */
#ifndef QL_BENCH_FAMILIES_H
#define QL_BENCH_FAMILIES_H

#include "tools/bench/bench_peaks.h"
#include "tools/bench/bench_trial.h"

/* A family, and what the reference took beside its steps: the mean of the step
 * before and the one behind. */
typedef struct bench_family {
    bench_trial trial;
    size_t rounds;               /* of its steps, those that have both */
    double seconds[BENCH_STEPS]; /* [rounds] */
    double cpu[BENCH_STEPS];     /* [rounds] */
} bench_family;

/* Rounds of a step of each of f[n], after a step to warm up. f[0] has the first
 * step that counts. Errors: those of bench_trial_step; what was measured
 * before stays. */
ql_status bench_families_run(bench_family *f, size_t n, bench_trial *reference,
                             size_t rounds);

/* For each family that has rounds, its share of the peaks, and how it stands
 * to that of the reference: the ratio of the two in each round, and of these
 * the median and the quartiles. That of the first family tells what is left of
 * what others do on the machine. */
void bench_families_show(const bench_family *f, size_t n,
                         const bench_trial *reference, const bench_peaks *p,
                         bool json);

/* For each, what a step's time goes to. */
void bench_families_profile(const bench_family *f, size_t n, bool json);

#endif
