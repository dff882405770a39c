/* A linear layer with a frozen base and a LoRA pair.
 *
 *   xa = s drop(X) A^T                                   [T, R]
 *   Y  = X W^T + xa B^T + bias                           [T, N]
 *
 * Source: Hu et al., LoRA, 2021; order of operations as PEFT's lora.Linear. */
#ifndef QL_OP_LINEAR_H
#define QL_OP_LINEAR_H

#include <stdbool.h>

#include "quant/qtensor.h"
#include "src/op/profile.h"

/* One LoRA pair; all arrays belong to the adapter. */
typedef struct ql_lora {
    size_t r;
    float scale;        /* s: alpha / r, or alpha / sqrt(r) */
    const float *a, *b; /* [R, K], [N, R] */
    float *da, *db;     /* their gradients, added to; NULL: not trained */
} ql_lora;

typedef struct ql_linear {
    ql_qtensor w;      /* [N, K] */
    const float *bias; /* [N] or NULL */
    ql_lora lora;      /* r is 0 when there is none */
} ql_linear;

/* Dropout before A: which elements are dropped depends on key only. */
typedef struct ql_drop {
    float p; /* 0: none */
    uint64_t key;
    ql_profile *profile; /* where the layer's time is counted, or NULL */
} ql_drop;

/* Bytes of scratch for either direction. */
size_t ql_linear_work_bytes(const ql_linear *lin, size_t T);

/* xa alone: what the backward needs when Y itself is not wanted again.
 *
 *   xa    [T, R]  written; not touched when there is no pair
 *   x     [T, K]  read
 *   work  ql_linear_work_bytes, 64-byte aligned */
void ql_linear_xa(float *xa, const float *x, const ql_linear *lin, size_t T,
                  ql_drop drop, void *work);

/* Forward.
 *
 *   y     [T, N]  written, or added to if add
 *   xa    [T, R]  written, kept for the backward
 *   x     [T, K]  read
 * y must not overlap x. Cannot fail. */
void ql_linear_fwd(float *y, bool add, float *xa, const float *x,
                   const ql_linear *lin, size_t T, ql_drop drop, void *work);

/* Backward.
 *
 *   dx    [T, K]  written, or added to if add; NULL if not wanted
 *   dy    [T, N]  read
 *   x, xa, drop   as in the forward
 * The pair's gradients are added to unless they are NULL:
 *   dB += dY^T xa;  dxa = s dY B;  dA += dxa^T drop(X)
 *   dX  = dY W + drop'(dxa A) */
void ql_linear_bwd(float *dx, bool add, const float *dy, const float *x,
                   const float *xa, const ql_linear *lin, size_t T,
                   ql_drop drop, void *work);

#endif
