/* Root mean square normalization.
 *
 *   rstd[t] = 1 / sqrt(mean_c x[t,c]^2 + eps)
 *   y[t,c]  = w[c] x[t,c] rstd[t]
 *
 * Source: Zhang, Sennrich: Root Mean Square Layer Normalization, 2019; order
 * of rounding as LlamaRMSNorm of transformers. */
#ifndef QL_OP_NORM_H
#define QL_OP_NORM_H

#include <stddef.h>

/*   y     [T, C]  written
 *   rstd  [T]     written, kept for the backward
 *   x     [T, C]  read
 *   w     [C]     read
 * y may be x. Cannot fail. Threads: splits T. */
void ql_rmsnorm_fwd(float *y, float *rstd, const float *x, const float *w,
                    size_t T, size_t C, float eps);

/*   dx    [T, C]  added to
 *   dw    [C]     added to; NULL when the weight is frozen
 *   dy    [T, C]  read
 *   x, w, rstd    as in the forward
 * dx may be neither dy nor x. Cannot fail. Threads: splits T (dx), C (dw). */
void ql_rmsnorm_bwd(float *dx, float *dw, const float *dy, const float *x,
                    const float *w, const float *rstd, size_t T, size_t C);

#endif
