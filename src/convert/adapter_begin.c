#include "src/convert/adapter_begin.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/fail.h"

static const char *init_of(const ql_train_options *o)
{
    return o->init_lora_weights ? o->init_lora_weights : "true";
}

bool ql_adapter_gaussian(const ql_train_options *o)
{
    return strcmp(init_of(o), "gaussian") == 0;
}

/* N of "pissa_niter_N", 0 of "pissa"; false if it is neither. */
static bool read_pissa(const char *init, size_t *n)
{
    static const char pissa[] = "pissa";
    static const char niter[] = "pissa_niter_";
    char *end = NULL;

    if (strncmp(init, niter, sizeof(niter) - 1) == 0) {
        *n = strtoull(init + sizeof(niter) - 1, &end, 10);
        return *n > 0 && *n <= 1000 && !*end;
    }
    *n = 0;
    return strcmp(init, pissa) == 0;
}

/* Where scales depend on the rank of each pair, twice the rank cannot keep them
 * all. */
static ql_status check_doubling(const ql_principal *p,
                                const ql_train_options *o)
{
    if (ql_principal_takes(p) && o->use_rslora &&
        o->rank_pattern.n + o->alpha_pattern.n > 0) {
        QL_FAIL(QL_EINVAL,
                "init-lora-weights %s: leave use-rslora or the rank "
                "and alpha patterns out; with both, the adapter "
                "cannot be written for the model as it was",
                init_of(o));
    }
    return QL_OK;
}

ql_status ql_adapter_principal(ql_principal *p, const ql_train_options *o)
{
    const char *init = init_of(o);

    *p = (ql_principal){.rounds = o->loftq_iter};
    if (read_pissa(init, &p->iterations)) {
        p->kind = QL_PRINCIPAL_PISSA;
    } else if (strcmp(init, "loftq") == 0) {
        p->kind = QL_PRINCIPAL_LOFTQ;
    } else if (strcmp(init, "true") != 0 && !ql_adapter_gaussian(o)) {
        QL_FAIL(QL_EINVAL,
                "init-lora-weights \"%s\" is unknown; known are true, "
                "gaussian, pissa, pissa_niter_N (N from 1 to 1000) and loftq",
                init);
    }
    if (p->kind == QL_PRINCIPAL_LOFTQ && (p->rounds == 0 || p->rounds > 1000)) {
        QL_FAIL(QL_EINVAL, "loftq-iter %zu: give a number from 1 to 1000",
                p->rounds);
    }
    if (p->kind != QL_PRINCIPAL_NONE && o->method == QL_METHOD_FULL) {
        QL_FAIL(QL_EINVAL,
                "init-lora-weights %s is of adapters; leave it out "
                "with method full",
                init);
    }
    return check_doubling(p, o);
}
