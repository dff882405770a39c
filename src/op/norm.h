/* The two normalizations of rows.
 *
 * Root mean square:
 *   rstd[t] = 1 / sqrt(mean_c x[t,c]^2 + eps)
 *   y[t,c]  = w[c] x[t,c] rstd[t]
 *
 * Layer normalization:
 *   mean[t] = mean_c x[t,c]
 *   rstd[t] = 1 / sqrt(mean_c (x[t,c] - mean[t])^2 + eps)
 *   y[t,c]  = w[c] (x[t,c] - mean[t]) rstd[t] + b[c]
 *
 * Source: Zhang, Sennrich: Root Mean Square Layer Normalization, 2019; Ba,
 * Kiros, Hinton: Layer Normalization, 2016; order of rounding as
 * LlamaRMSNorm of transformers. */
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

/* The weights of either: b NULL for the root mean square. */
typedef struct ql_norm {
    const float *w, *b; /* [C] */
    float *dw, *db;     /* [C] their gradients, added to; NULL: frozen */
    size_t C;
    float eps;
} ql_norm;

/* Floats that the forward keeps for T rows. */
size_t ql_norm_stats(const ql_norm *n, size_t T);

/*   y      [T, C]              written; may be x
 *   stats  ql_norm_stats(n, T) written: rstd, then mean if there is one
 *   x      [T, C]              read
 * Cannot fail. Threads: splits T. */
void ql_norm_fwd(float *y, float *stats, const float *x, const ql_norm *n,
                 size_t T);

/*   dx      [T, C]  added to; neither dy nor x
 *   dy      [T, C]  read
 *   x, stats        as in the forward
 * Those of the weights are added to, too. Cannot fail. Threads: splits T (dx),
 * C (dw, db). */
void ql_norm_bwd(float *dx, const float *dy, const float *x, const float *stats,
                 const ql_norm *n, size_t T);

#endif
