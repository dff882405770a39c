/* Products with frozen matrices: forward and backward of linear layers, with
 * the LoRA pairs beside them.
 *
 * W is decoded tile by tile into a panel in cache, never as a whole. What a
 * thread computes, and in which order, follows from the shapes and the set
 * only, so results do not depend on the number of threads. Threads: OpenMP's
 * current number; call it from outside parallel regions. */
#ifndef QL_QUANT_QGEMM_H
#define QL_QUANT_QGEMM_H

#include <stdbool.h>

#include "quant/qtensor.h"

/* A LoRA pair beside a frozen matrix W [N, K]. What the first of its two
 * products gives is kept:
 *
 *   forward    mid = scale X down^T,  Y  += mid up^T
 *   backward   mid = scale dY up,     dX += mid down */
typedef struct ql_pair {
    size_t r;
    float scale;
    const float *down; /* [R, K] */
    const float *up;   /* [N, R] */
    float *mid;        /* [T, R] written */
} ql_pair;

/* One product of a sum of products: that of in with W, and a pair's. */
typedef struct ql_term {
    const float *in; /* [T, K] forward, [T, N] backward */
    const ql_qtensor *w;
    ql_pair pair; /* r is 0 where there is none */
} ql_term;

/* Most terms of a call, of all sums. */
enum {
    QL_TERMS = 3,
    QL_SUMS = 3
};

/* One of several sums of products, whose first terms read the same X. */
typedef struct ql_sum {
    float *y; /* [T, N] written */
    const ql_term *terms;
    size_t n_terms;
} ql_sum;

/* Bytes of scratch that either product needs with T tokens or fewer, for the
 * kernels and the number of threads in use. Only the shapes of the terms are
 * read. */
size_t ql_qgemm_work_bytes(const ql_term *terms, size_t n_terms, size_t T);

/* The same for the forward alone. */
size_t ql_qgemm_fwd_work_bytes(const ql_term *terms, size_t n_terms, size_t T);

/* Y = sum_i X_i W_i^T + pair_i, or Y += that.
 *
 *   y      [T, N]    written, or added to if add
 *   terms  [n_terms] x_i [T, K_i] and w_i [N, K_i]; 1 <= n_terms <= QL_TERMS
 *   work   ql_qgemm_work_bytes(terms, n_terms, T) bytes, 64-byte aligned, any
 *          content
 *
 * y, all x, all mid and work must not overlap. Cannot fail. */
void ql_qgemm_fwd(float *y, const ql_term *terms, size_t n_terms, size_t T,
                  bool add, void *work);

/* Several Y at once, as if by a call for each: X is laid out once, and threads
 * wait for each other once.
 *
 *   sums   [n_sums] 1 <= n_sums <= QL_SUMS, with QL_TERMS terms at most; the
 *          first terms have the same in
 *   work   ql_qgemm_sums_work_bytes(sums, n_sums, T) bytes, as above */
void ql_qgemm_sums(const ql_sum *sums, size_t n_sums, size_t T, void *work);

/* Only the shapes of the terms are read. */
size_t ql_qgemm_sums_work_bytes(const ql_sum *sums, size_t n_sums, size_t T);

/* dX = sum_i dY_i W_i + pair_i, or dX += that.
 *
 *   dx     [T, K]    written, or added to if add; NULL: only the pairs' mid are
 *                    wanted
 *   terms  [n_terms] dy_i [T, N_i] and w_i [N_i, K]
 *   work   as above */
void ql_qgemm_bwd(float *dx, const ql_term *terms, size_t n_terms, size_t T,
                  bool add, void *work);

#endif
