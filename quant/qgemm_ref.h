/* The products of qgemm.h as three loops in double: what tests compare with.
 * The matrix is given decoded. */
#ifndef QL_QUANT_QGEMM_REF_H
#define QL_QUANT_QGEMM_REF_H

#include <stddef.h>

/* Y = X W^T, and the same of absolute values, which scales the error bound.
 *
 *   y, size [T, N]  written
 *   x       [T, K]
 *   w       [N, K] */
void ql_qgemm_fwd_ref(double *y, double *size, const float *x, const float *w,
                      size_t T, size_t N, size_t K);

/* dX = dY W, likewise.
 *
 *   dx, size [T, K]  written
 *   dy       [T, N] */
void ql_qgemm_bwd_ref(double *dx, double *size, const float *dy, const float *w,
                      size_t T, size_t N, size_t K);

#endif
