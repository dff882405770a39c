#include "src/op/adam.h"

#include <math.h>

#include "src/op/loops.h"

enum {
    ALIGN = 64
};

size_t ql_adam_state_bytes(size_t n)
{
    return (2 * n * sizeof(float) + ALIGN - 1) / ALIGN * ALIGN;
}

/* The numbers of a step in f32. */
static ql_adam_factors prepare(const ql_adam_step *s)
{
    const double t = (double)s->t;

    return (ql_adam_factors){
        .b1 = (float)s->beta1,
        .b2 = (float)s->beta2,
        .c1 = (float)(1 - s->beta1),
        .c2 = (float)(1 - s->beta2),
        .clip = (float)s->clip,
        .keep = (float)(1 - s->lr * s->weight_decay),
        .rate = (float)(s->lr / (1 - pow(s->beta1, t))),
        .root = (float)(1 / sqrt(1 - pow(s->beta2, t))),
        .eps = (float)s->eps,
    };
}

size_t ql_adam_update(float *p, float *g, void *state,
                      const ql_adam_piece *piece, size_t n,
                      const ql_adam_step *s)
{
    const ql_loops *loops = ql_loops_get();
    const ql_adam_factors f = prepare(s);
    size_t stayed = 0;

#pragma omp parallel for schedule(dynamic) if (n > 1) reduction(+ : stayed)
    for (size_t i = 0; i < n; i++) {
        const ql_adam_piece *e = &piece[i];
        float *m = (float *)((char *)state + (e->at - piece->at));

        stayed +=
            loops->adam(p + e->first, m, m + e->n, g + e->first, e->n, &f);
    }
    return stayed;
}
