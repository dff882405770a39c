/* Samples of things that are measured in turns, and what they say. */
#ifndef QL_BENCH_SAMPLES_H
#define QL_BENCH_SAMPLES_H

#include <stddef.h>

/* Which of n takes turn i of a round. Two rounds are each other's reverse, and
 * the next two begin one further on: over 2 n rounds all have every place
 * equally often, and what gets slower or faster steadily meets all alike. */
size_t bench_turn(size_t round, size_t i, size_t n);

/* Puts numbers in ascending order. */
void bench_sort(double *x, size_t n);

/* What a share q of n > 0 numbers in ascending order lies below. */
double bench_quantile(const double *x, size_t n, double q);

/* What came of n samples. */
typedef struct bench_rate {
    double median, best; /* work a second */
    double spread;       /* (slowest - fastest) / median duration */
} bench_rate;

/* For samples in which `work` took so many seconds; they are sorted. */
bench_rate bench_rate_of(double *seconds, size_t n, double work);

/* How fast one thing is beside another: round by round a median, and the
 * quartiles; and in the best round of each. */
typedef struct bench_ratio {
    double median, low, high, best;
} bench_ratio;

/* Of n > 0 rounds, in which the one did its work in ours and the other in
 * theirs [n]; work: of the one, where that of the other is 1. scratch [n]. */
bench_ratio bench_ratio_of(double *scratch, const double *ours,
                           const double *theirs, size_t n, double work);

#endif
