#include "src/base/rng.h"

void ql_rng_shuffle(uint64_t key, size_t *order, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        const size_t j = ql_rng_below(key, i, i);
        const size_t keep = order[i - 1];

        order[i - 1] = order[j];
        order[j] = keep;
    }
}
