/* Products with a frozen matrix: forward and backward of a linear layer.
 *
 * W is decoded tile by tile into a panel in cache, never as a whole. The split
 * of the work depends on the shapes only, so results do not depend on the
 * number of threads. Threads: OpenMP's current number; call it from outside
 * parallel regions. */
#ifndef QL_QUANT_QGEMM_H
#define QL_QUANT_QGEMM_H

#include <stdbool.h>

#include "quant/qtensor.h"

/* Bytes of scratch that either product needs for T tokens and w [N, K], for
 * the kernels and the number of threads in use. */
size_t ql_qgemm_work_bytes(size_t T, size_t N, size_t K);

/* Y = X W^T, or Y += X W^T.
 *
 *   y     [T, N]  written, or added to if add
 *   x     [T, K]  read
 *   w     [N, K]  any storage
 *   work  ql_qgemm_work_bytes(T, N, K) bytes, 64-byte aligned, any content
 *
 * y, x and work must not overlap. Cannot fail. */
void ql_qgemm_fwd(float *y, const float *x, const ql_qtensor *w, size_t T,
                  bool add, void *work);

/* dX = dY W, or dX += dY W.
 *
 *   dx    [T, K]  written, or added to if add
 *   dy    [T, N]  read
 *   w, work       as above */
void ql_qgemm_bwd(float *dx, const float *dy, const ql_qtensor *w, size_t T,
                  bool add, void *work);

#endif
