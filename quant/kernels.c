/* The list of kernel sets and the choice among them. A new set is one table
 * at the end of its own file, one extern and one entry here. */
#include "quant/kernels.h"

#include <stdatomic.h>
#include <string.h>

#include "quant/cpu.h"

extern const ql_kernels ql_kernels_generic;
extern const ql_kernels ql_kernels_generic_bf16;

#if defined(__x86_64__)

extern const ql_kernels ql_kernels_avx2;
extern const ql_kernels ql_kernels_avx512;
extern const ql_kernels ql_kernels_avx512bf16;

static const ql_kernels *const sets[] = {
    &ql_kernels_generic_bf16, /* for tests: never the best */
    &ql_kernels_generic,      &ql_kernels_avx2,
    &ql_kernels_avx512,       &ql_kernels_avx512bf16,
};

#elif defined(__aarch64__)

extern const ql_kernels ql_kernels_neon;
extern const ql_kernels ql_kernels_neonbf16;

static const ql_kernels *const sets[] = {
    &ql_kernels_generic_bf16,
    &ql_kernels_generic,
    &ql_kernels_neon,
    &ql_kernels_neonbf16,
};

#else

static const ql_kernels *const sets[] = {
    &ql_kernels_generic_bf16,
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

const ql_kernels *ql_kernels_best(size_t pair)
{
    size_t i = SETS - 1;

    while (!ql_kernels_runnable(sets[i]) || sets[i]->pair != pair) {
        i--; /* ends at a generic set, which needs nothing */
    }
    return sets[i];
}

const ql_kernels *ql_kernels_get(void)
{
    const ql_kernels *k = atomic_load_explicit(&chosen, memory_order_relaxed);

    return k ? k : ql_kernels_best(1);
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
