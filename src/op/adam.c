#include "src/op/adam.h"

#include <math.h>

#include "src/op/parallel.h"

void ql_adam_update(float *p, float *m, float *v, const float *g, size_t n,
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

#pragma omp parallel for schedule(static) if (n > QL_SMALL)
    for (size_t i = 0; i < n; i++) {
        const float gi = g[i] * clip;

        m[i] = b1 * m[i] + c1 * gi;
        v[i] = b2 * v[i] + c2 * gi * gi;
        p[i] = keep * p[i] - rate * m[i] / (sqrtf(v[i]) * root + eps);
    }
}
