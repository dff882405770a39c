/* The list of kernel sets and the choice among them. A new set is one table
 * at the end of its own file, one extern and one entry here. */
#include "quant/kernels.h"

#include <stdatomic.h>
#include <string.h>

#include "quant/cpu.h"

extern const ql_kernels ql_kernels_generic;

#if defined(__x86_64__)

extern const ql_kernels ql_kernels_avx2;
extern const ql_kernels ql_kernels_avx512;

static const ql_kernels *const sets[] = {
    &ql_kernels_generic,
    &ql_kernels_avx2,
    &ql_kernels_avx512,
};

#else

static const ql_kernels *const sets[] = {
    &ql_kernels_generic,
};

#endif

enum {
    SETS = sizeof(sets) / sizeof(sets[0])
};

static _Atomic(const ql_kernels *) chosen;

const ql_kernels *const *ql_kernels_list(size_t *n)
{
    *n = SETS;
    return sets;
}

bool ql_kernels_runnable(const ql_kernels *k)
{
    return (k->cpu_need & ~ql_cpu_bits()) == 0;
}

static const ql_kernels *best(void)
{
    size_t i = SETS - 1;

    while (!ql_kernels_runnable(sets[i])) {
        i--; /* ends at the generic set, which needs nothing */
    }
    return sets[i];
}

const ql_kernels *ql_kernels_get(void)
{
    const ql_kernels *k = atomic_load_explicit(&chosen, memory_order_relaxed);

    return k ? k : best();
}

bool ql_kernels_choose(const char *name)
{
    for (size_t i = 0; i < SETS; i++) {
        if (strcmp(sets[i]->name, name) == 0 && ql_kernels_runnable(sets[i])) {
            atomic_store_explicit(&chosen, sets[i], memory_order_relaxed);
            return true;
        }
    }
    return false;
}
