#include "src/gen/sampler.h"

#include <math.h>
#include <stdlib.h>

int32_t ql_sampler_greedy(const float *logits, size_t V)
{
    size_t best = 0;

    for (size_t i = 0; i < V; i++) {
        if (isnan(logits[i]) || logits[i] == INFINITY) {
            return -1;
        }
        best = logits[i] > logits[best] ? i : best;
    }
    return (int32_t)best;
}

/* Falling logits; ties by id, so that the order is the same everywhere. */
static int by_logit(const void *a, const void *b)
{
    const ql_candidate *x = a;
    const ql_candidate *y = b;

    if (x->logit != y->logit) {
        return x->logit > y->logit ? -1 : 1;
    }
    return x->id < y->id ? -1 : x->id > y->id;
}

static double weight(const ql_candidate *c, size_t i, double temperature)
{
    return exp(((double)c[i].logit - (double)c[0].logit) / temperature);
}

/* Number of first candidates whose mass reaches share of the whole; *mass is
 * their mass. */
static size_t nucleus(const ql_candidate *c, size_t n, double temperature,
                      double share, double *mass)
{
    double whole = 0;
    double sum = 0;
    size_t keep = 0;

    for (size_t i = 0; i < n; i++) {
        whole += weight(c, i, temperature);
    }
    while (keep < n && (keep == 0 || sum < share * whole)) {
        sum += weight(c, keep++, temperature);
    }
    *mass = sum;
    return keep;
}

int32_t ql_sampler_draw(const float *logits, size_t V,
                        const ql_generate_options *opt, double u,
                        ql_candidate *scratch)
{
    const int32_t best = ql_sampler_greedy(logits, V);
    const double temperature = opt->temperature;
    size_t n = opt->top_k > 0 && opt->top_k < V ? opt->top_k : V;
    double mass;

    if (best < 0 || temperature <= 0) {
        return best;
    }
    for (size_t i = 0; i < V; i++) {
        scratch[i] = (ql_candidate){.logit = logits[i], .id = (int32_t)i};
    }
    qsort(scratch, V, sizeof(*scratch), by_logit);
    n = nucleus(scratch, n, temperature, opt->top_p, &mass);
    for (size_t i = 0; i + 1 < n; i++) {
        u -= weight(scratch, i, temperature) / mass;
        if (u < 0) {
            return scratch[i].id;
        }
    }
    return scratch[n - 1].id;
}
