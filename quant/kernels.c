/* The list of instruction sets, and the one in use. */
#include "quant/kernels.h"

#include <string.h>

#include "quant/cpu.h"
#include "quant/generic/kernels_generic.h"
#if defined(__x86_64__)
#include "quant/x86/kernels_x86.h"
#endif

static const ql_kernels *const list[] = {
    &ql_kernels_generic,
#if defined(__x86_64__)
    &ql_kernels_avx2,
    &ql_kernels_avx512,
#endif
};

enum {
    SETS = sizeof(list) / sizeof(list[0])
};

static const ql_kernels *chosen;

const ql_kernels *const *ql_kernels_list(size_t *n)
{
    *n = SETS;
    return list;
}

bool ql_kernels_runnable(const ql_kernels *k)
{
    return (k->cpu_need & ~ql_cpu_features()) == 0;
}

/* Asked for in many threads at once before any choice: all find the same. */
const ql_kernels *ql_kernels_get(void)
{
    const ql_kernels *k = __atomic_load_n(&chosen, __ATOMIC_ACQUIRE);

    if (k) {
        return k;
    }
    for (size_t i = 0; i < SETS; i++) {
        k = ql_kernels_runnable(list[i]) ? list[i] : k;
    }
    __atomic_store_n(&chosen, k, __ATOMIC_RELEASE);
    return k;
}

bool ql_kernels_choose(const char *name)
{
    for (size_t i = 0; i < SETS; i++) {
        if (strcmp(list[i]->name, name) == 0 && ql_kernels_runnable(list[i])) {
            __atomic_store_n(&chosen, list[i], __ATOMIC_RELEASE);
            return true;
        }
    }
    return false;
}
