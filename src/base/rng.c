#include "src/base/rng.h"

#include <math.h>

void ql_rng_shuffle(uint64_t key, size_t *order, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        const size_t j = ql_rng_below(key, i, i);
        const size_t keep = order[i - 1];

        order[i - 1] = order[j];
        order[j] = keep;
    }
}

/* Box, Muller, 1958. */
static double normal(uint64_t key, size_t i)
{
    const double u = 1 - ql_rng_unit(key, 2 * i);
    const double v = ql_rng_unit(key, 2 * i + 1);

    return sqrt(-2 * log(u)) * cos(2 * acos(-1) * v);
}

void ql_rng_fill(uint64_t key, double by, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(by * normal(key, i));
    }
}
