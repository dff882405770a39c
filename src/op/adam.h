/* One AdamW update of an array of parameters.
 *
 *   p = (1 - lr wd) p
 *   m = b1 m + (1 - b1) g        g: gradient times clip
 *   v = b2 v + (1 - b2) g^2
 *   p = p - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
 *
 * Source: Loshchilov, Hutter: Decoupled Weight Decay Regularization, 2019;
 * order of operations as torch.optim.AdamW. */
#ifndef QL_OP_ADAM_H
#define QL_OP_ADAM_H

#include <stddef.h>

typedef struct ql_adam_step {
    double lr, beta1, beta2, eps, weight_decay;
    double clip; /* factor on the gradient */
    size_t t;    /* number of this update, from 1 */
} ql_adam_step;

/*   p, m, v  [n]  updated; a p that would not be finite stays as it is
 *   g        [n]  read
 * Returns how many stayed: the run has diverged, but p can still be saved.
 * Threads: splits n. */
size_t ql_adam_update(float *p, float *m, float *v, const float *g, size_t n,
                      const ql_adam_step *s);

#endif
