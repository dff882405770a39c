#include "src/op/adam.h"

#include <float.h>
#include <math.h>

#include "src/op/parallel.h"

/* The numbers of a step in f32. */
typedef struct factors {
    float b1, b2, c1, c2, clip, keep, rate, root, eps;
} factors;

static factors prepare(const ql_adam_step *s)
{
    const double t = (double)s->t;

    return (factors){
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

/* Updates n parameters; returns how many stayed as they were. */
static size_t update(float *p, float *m, float *v, const float *g, size_t n,
                     const factors *f)
{
    size_t stayed = 0;

    for (size_t i = 0; i < n; i++) {
        const float gi = g[i] * f->clip;
        float next;

        m[i] = f->b1 * m[i] + f->c1 * gi;
        v[i] = f->b2 * v[i] + f->c2 * gi * gi;
        next =
            f->keep * p[i] - f->rate * m[i] / (sqrtf(v[i]) * f->root + f->eps);
        stayed += !(fabsf(next) <= FLT_MAX);
        p[i] = fabsf(next) <= FLT_MAX ? next : p[i];
    }
    return stayed;
}

size_t ql_adam_update(float *p, float *m, float *v, const float *g, size_t n,
                      const ql_adam_step *s)
{
    const factors f = prepare(s);
    size_t stayed = 0;

#pragma omp parallel for schedule(static) if (n > QL_SMALL)
    for (size_t i = 0; i < n; i += QL_SMALL) {
        const size_t len = n - i < QL_SMALL ? n - i : QL_SMALL;
        const size_t here = update(p + i, m + i, v + i, g + i, len, &f);

        if (here > 0) {
#pragma omp atomic
            stayed += here;
        }
    }
    return stayed;
}
