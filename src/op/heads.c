#include "src/op/heads.h"

#include <assert.h>
#include <string.h>

#include "src/op/parallel.h"

/* Copies n runs of `run` floats; the starts lie apart by to and from. */
static void copy_runs(float *y, size_t to, const float *x, size_t from,
                      size_t run, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        memcpy(y + i * to, x + i * from, run * sizeof *y);
    }
}

/* A token's q, k and v in a row of the matrix: the first start, runs of some
 * floats, and how far apart these are. */
typedef struct place {
    size_t start, run, step, n;
} place;

/* part: 0 for q, 1 for k, 2 for v. */
static place place_of(const ql_heads *h, int part)
{
    const size_t D = h->D;
    const size_t wide = h->H * D;
    const size_t thin = h->KV * D;

    if (h->by_head) {
        return (place){(size_t)part * D, D, 3 * D, h->H};
    }
    return part == 0 ? (place){0, wide, 0, 1}
                     : (place){wide + (size_t)(part - 1) * thin, thin, 0, 1};
}

static size_t width(const ql_heads *h)
{
    assert(!h->by_head || h->H == h->KV);
    return (h->H + 2 * h->KV) * h->D;
}

void ql_heads_split(float *q, float *k, float *v, const float *x, ql_heads h)
{
    const size_t W = width(&h);
    float *const out[3] = {q, k, v};

#pragma omp parallel for schedule(static) if (h.T * W > QL_SMALL)
    for (size_t t = 0; t < h.T; t++) {
        for (int i = 0; i < 3; i++) {
            const place p = place_of(&h, i);

            copy_runs(out[i] + t * p.run * p.n, p.run, x + t * W + p.start,
                      p.step, p.run, p.n);
        }
    }
}

void ql_heads_join(float *x, const float *q, const float *k, const float *v,
                   ql_heads h)
{
    const size_t W = width(&h);
    const float *const in[3] = {q, k, v};

#pragma omp parallel for schedule(static) if (h.T * W > QL_SMALL)
    for (size_t t = 0; t < h.T; t++) {
        for (int i = 0; i < 3; i++) {
            const place p = place_of(&h, i);

            copy_runs(x + t * W + p.start, p.step, in[i] + t * p.run * p.n,
                      p.run, p.run, p.n);
        }
    }
}
