/* The list of the sets of loops. A new set is an entry of loop_sets in
 * src/meson.build, one extern and one entry here. */
#include "src/op/loops.h"

#include "quant/kernels.h"

extern const ql_loops ql_loops_generic;

#if defined(__x86_64__)

extern const ql_loops ql_loops_avx2;
extern const ql_loops ql_loops_avx512;

static const ql_loops *const sets[] = {
    &ql_loops_generic,
    &ql_loops_avx2,
    &ql_loops_avx512,
};

#else

static const ql_loops *const sets[] = {
    &ql_loops_generic,
};

#endif

enum {
    SETS = sizeof(sets) / sizeof(sets[0])
};

const ql_loops *const *ql_loops_list(size_t *n)
{
    *n = SETS;
    return sets;
}

const ql_loops *ql_loops_get(void)
{
    const uint32_t has = ql_kernels_get()->cpu_need;
    size_t i = SETS - 1;

    while ((sets[i]->cpu_need & ~has) != 0) {
        i--; /* ends at the generic set, which needs nothing */
    }
    return sets[i];
}
