/* Of a vocabulary most tokens have next to no probability: only those above a
 * cut are put in order, and the cut is lowered until they are enough. */
#include "src/gen/sampler.h"

#include <math.h>
#include <stdlib.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/op/loops.h"

ql_status ql_sampler_init(ql_sampler *s, size_t V)
{
    *s = (ql_sampler){
        .V = V,
        .weight = ql_alloc(QL_TAG_WORK, V, sizeof(*s->weight)),
        .pick = ql_alloc(QL_TAG_WORK, V, sizeof(*s->pick)),
        .seen = ql_calloc(QL_TAG_WORK, V, sizeof(*s->seen)),
    };
    return s->weight && s->pick && s->seen ? QL_OK : QL_ENOMEM;
}

void ql_sampler_free(ql_sampler *s)
{
    ql_free(s->weight);
    ql_free(s->pick);
    ql_free(s->seen);
    *s = (ql_sampler){0};
}

ql_status ql_sampler_check(const ql_generate_options *o)
{
    if (!(o->temperature >= 0) || !(o->temperature <= 100)) {
        QL_FAIL(QL_EINVAL, "temperature %g: give a number from 0 to 100",
                o->temperature);
    }
    if (!(o->top_p > 0) || !(o->top_p <= 1)) {
        QL_FAIL(QL_EINVAL, "top-p %g: give a number above 0, at most 1",
                o->top_p);
    }
    if (!(o->min_p >= 0) || !(o->min_p <= 1)) {
        QL_FAIL(QL_EINVAL, "min-p %g: give a number from 0 to 1", o->min_p);
    }
    if (!(o->repetition_penalty >= 0) || !(o->repetition_penalty <= 100)) {
        QL_FAIL(QL_EINVAL,
                "repetition-penalty %g: give a number above 0, at most 100",
                o->repetition_penalty);
    }
    return QL_OK;
}

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

void ql_sampler_penalize(const ql_sampler *s, float *logits, double penalty)
{
    const float by = penalty > 0 ? (float)penalty : 1;

    for (size_t i = 0; by != 1 && i < s->V; i++) {
        if (s->seen[i]) {
            logits[i] = logits[i] < 0 ? logits[i] * by : logits[i] / by;
        }
    }
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

/* The weights of all tokens; returns their sum. */
static double weigh(ql_sampler *s, const float *logits, float most,
                    double temperature)
{
    for (size_t i = 0; i < s->V; i++) {
        const double distance = (double)logits[i] - (double)most;

        s->weight[i] = (float)(distance / temperature);
    }
    return ql_loops_get()->exp(s->weight, s->V, 0);
}

/* Those that weigh something, and at least cut, in order; returns how many. */
static size_t collect(ql_sampler *s, const float *logits, float cut)
{
    size_t n = 0;

    for (size_t i = 0; i < s->V; i++) {
        if (s->weight[i] > 0 && s->weight[i] >= cut) {
            s->pick[n++] = (ql_candidate){logits[i], s->weight[i], (int32_t)i};
        }
    }
    qsort(s->pick, n, sizeof(*s->pick), by_logit);
    return n;
}

static double sum_of(const ql_candidate *c, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += (double)c[i].weight;
    }
    return sum;
}

/* True if what the options leave, or the token that u falls on, is among n
 * candidates of at least cut. */
static bool enough(const ql_sampler *s, size_t n, float cut,
                   const ql_generate_options *o, double whole, double u)
{
    const double sum = sum_of(s->pick, n);

    if (cut == 0) {
        return true;
    }
    if (o->top_k > 0 && o->top_k < s->V) {
        return n >= o->top_k;
    }
    if (o->min_p > 0 && o->min_p >= (double)cut) {
        return true;
    }
    if (o->top_p < 1) {
        return sum >= o->top_p * whole;
    }
    return o->min_p == 0 && sum > u * whole;
}

/* How many of n candidates are left by top-k, top-p and min-p; *mass is what
 * they weigh, and on entry what all tokens do. */
static size_t keep(const ql_candidate *c, size_t n,
                   const ql_generate_options *o, size_t V, double *mass)
{
    const bool some = o->top_k > 0 && o->top_k < V;
    double whole = *mass;
    double sum = 0;
    size_t left = 0;

    if (some) {
        n = o->top_k < n ? o->top_k : n;
        whole = sum_of(c, n);
    }
    if (o->top_p == 1 && o->min_p == 0) {
        *mass = whole;
        return n;
    }
    while (left < n && (left == 0 || o->top_p == 1 || sum < o->top_p * whole)) {
        if (left > 0 && (double)c[left].weight < o->min_p) {
            break;
        }
        sum += (double)c[left++].weight;
    }
    *mass = sum;
    return left;
}

int32_t ql_sampler_draw(ql_sampler *s, const float *logits,
                        const ql_generate_options *opt, double u)
{
    const int32_t best = ql_sampler_greedy(logits, s->V);
    float cut = 1e-3F;
    double mass;
    size_t n;

    if (best < 0 || opt->temperature <= 0) {
        return best;
    }
    mass = weigh(s, logits, logits[best], opt->temperature);
    n = collect(s, logits, cut);
    while (!enough(s, n, cut, opt, mass, u)) {
        cut = cut > 1e-9F ? cut * 1e-3F : 0;
        n = collect(s, logits, cut);
    }
    n = keep(s->pick, n, opt, s->V, &mass);
    u *= mass;
    for (size_t i = 0; i + 1 < n; i++) {
        u -= (double)s->pick[i].weight;
        if (u < 0) {
            return s->pick[i].id;
        }
    }
    return s->pick[n - 1].id;
}
