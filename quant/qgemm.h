/* Products with frozen matrices: forward and backward of linear layers.
 *
 * W is decoded tile by tile into a panel in cache, never as a whole. What a
 * thread computes, and in which order, follows from the shapes and the set
 * only, so results do not depend on the number of threads. Threads: OpenMP's
 * current number; call it from outside parallel regions. */
#ifndef QL_QUANT_QGEMM_H
#define QL_QUANT_QGEMM_H

#include <stdbool.h>

#include "quant/qtensor.h"

/* One product of a sum of products: that of in with W, any storage. A LoRA
 * pair is a second term, whose matrix is thin. */
typedef struct ql_term {
    const float *in; /* [T, K] forward, [T, N] backward */
    const ql_qtensor *w;
} ql_term;

/* Most terms of a sum. */
enum {
    QL_TERMS = 6
};

/* Bytes of scratch for either product with T tokens, for the kernels and the
 * number of threads in use; depth is the sum over all terms of the lengths of
 * their rows of in. */
size_t ql_qgemm_work_bytes(size_t T, size_t depth);

/* Y = sum_i X_i W_i^T, or Y += that.
 *
 *   y      [T, N]    written, or added to if add
 *   terms  [n_terms] x_i [T, K_i] and w_i [N, K_i]; 1 <= n_terms <= QL_TERMS
 *   work   ql_qgemm_work_bytes(T, sum of K_i) bytes, 64-byte aligned, any
 *          content
 *
 * y, all x and work must not overlap. Cannot fail. */
void ql_qgemm_fwd(float *y, const ql_term *terms, size_t n_terms, size_t T,
                  bool add, void *work);

/* dX = sum_i dY_i W_i, or dX += that.
 *
 *   dx     [T, K]    written, or added to if add
 *   terms  [n_terms] dy_i [T, N_i] and w_i [N_i, K]
 *   work   as above, with the sum of N_i */
void ql_qgemm_bwd(float *dx, const ql_term *terms, size_t n_terms, size_t T,
                  bool add, void *work);

#endif
