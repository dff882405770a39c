#include "src/op/adam.h"

#include <math.h>

#include "src/op/loops.h"
#include "src/op/parallel.h"

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

size_t ql_adam_update(float *p, float *m, float *v, const float *g, size_t n,
                      const ql_adam_step *s)
{
    const ql_loops *loops = ql_loops_get();
    const ql_adam_factors f = prepare(s);
    size_t stayed = 0;

#pragma omp parallel for schedule(static) if (n > QL_SMALL)
    for (size_t i = 0; i < n; i += QL_SMALL) {
        const size_t len = n - i < QL_SMALL ? n - i : QL_SMALL;
        const size_t here = loops->adam(p + i, m + i, v + i, g + i, len, &f);

        if (here > 0) {
#pragma omp atomic
            stayed += here;
        }
    }
    return stayed;
}
