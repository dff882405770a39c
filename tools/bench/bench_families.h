/* What is told of several families of models together. */
#ifndef QL_BENCH_FAMILIES_H
#define QL_BENCH_FAMILIES_H

#include "tools/bench/bench_peaks.h"
#include "tools/bench/bench_trial.h"

/* For each of t[n] that has steps, its share of the peaks, and how that stands
 * to the share of t[0], which has some: the ratio of the two in each round,
 * and of these the median and the quartiles. */
void bench_families_show(const bench_trial *t, size_t n, const bench_peaks *p,
                         bool json);

/* For each, what a step's time goes to. */
void bench_families_profile(const bench_trial *t, size_t n, bool json);

#endif
