#include "src/op/adam.h"

#include <float.h>
#include <math.h>

#include "src/op/parallel.h"

size_t ql_adam_update(float *p, float *m, float *v, const float *g, size_t n,
                      const ql_adam_step *s)
{
    const float b1 = (float)s->beta1;
    const float b2 = (float)s->beta2;
    const float c1 = (float)(1 - s->beta1);
    const float c2 = (float)(1 - s->beta2);
    const float clip = (float)s->clip;
    const float keep = (float)(1 - s->lr * s->weight_decay);
    const float rate = (float)(s->lr / (1 - pow(s->beta1, (double)s->t)));
    const float root = (float)(1 / sqrt(1 - pow(s->beta2, (double)s->t)));
    const float eps = (float)s->eps;
    size_t stayed = 0;

#pragma omp parallel for schedule(static) reduction(+ : stayed)                \
    if (n > QL_SMALL)
    for (size_t i = 0; i < n; i++) {
        const float gi = g[i] * clip;
        float next;

        m[i] = b1 * m[i] + c1 * gi;
        v[i] = b2 * v[i] + c2 * gi * gi;
        next = keep * p[i] - rate * m[i] / (sqrtf(v[i]) * root + eps);
        stayed += !(fabsf(next) <= FLT_MAX);
        p[i] = fabsf(next) <= FLT_MAX ? next : p[i];
    }
    return stayed;
}
