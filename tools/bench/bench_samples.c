#include "tools/bench/bench_samples.h"

#include <stdlib.h>

size_t bench_turn(size_t round, size_t i, size_t n)
{
    const size_t place = round % 2 ? n - 1 - i : i;

    return (round / 2 + place) % n;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;

    return (x > y) - (x < y);
}

void bench_sort(double *x, size_t n)
{
    qsort(x, n, sizeof(*x), ascending);
}

double bench_quantile(const double *x, size_t n, double q)
{
    const double at = q * (double)(n - 1);
    const size_t i = (size_t)at;

    return i + 1 < n ? x[i] + (at - (double)i) * (x[i + 1] - x[i]) : x[n - 1];
}

bench_rate bench_rate_of(double *seconds, size_t n, double work)
{
    double median;

    bench_sort(seconds, n);
    median = bench_quantile(seconds, n, 0.5);
    return (bench_rate){.median = work / median,
                        .best = work / seconds[0],
                        .spread = (seconds[n - 1] - seconds[0]) / median};
}

static double least(const double *x, size_t n)
{
    double best = x[0];

    for (size_t i = 1; i < n; i++) {
        best = x[i] < best ? x[i] : best;
    }
    return best;
}

bench_ratio bench_ratio_of(double *scratch, const double *ours,
                           const double *theirs, size_t n, double work)
{
    for (size_t i = 0; i < n; i++) {
        scratch[i] = work * theirs[i] / ours[i];
    }
    bench_sort(scratch, n);
    return (bench_ratio){.median = bench_quantile(scratch, n, 0.5),
                         .low = bench_quantile(scratch, n, 0.25),
                         .high = bench_quantile(scratch, n, 0.75),
                         .best = work * least(theirs, n) / least(ours, n)};
}
