/* A linear layer with a frozen base and a LoRA pair.
 *
 *   xa = s drop(X) A^T                                   [T, R]
 *   Y  = X W^T + xa B^T + bias                           [T, N]
 *
 * With DoRA, where g is a factor for each output and does not itself carry a
 * gradient to A and B:
 *
 *   U  = drop(X) W^T + xa B^T
 *   Y  = (X - drop(X)) W^T + U g + bias,    g[n] = m[n] / |W + s B A|[n]
 *
 * Or without a pair, and the base itself is trained: W is dense. In f32 all
 * products are those of BLAS; in bf16 that of its gradient is.
 *
 * Sources: Hu et al., LoRA, 2021; Liu et al., DoRA, 2024; order of operations
 * as PEFT's lora.Linear. */
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

/* Magnitudes of a pair's outputs; m NULL: there are none. */
typedef struct ql_dora {
    bool across;    /* of an embedding W [K, N], whose columns are outputs */
    const float *m; /* [N] */
    float *dm;      /* [N] its gradient, added to; NULL: not trained */
    float *gain;    /* [N] g, by ql_dora_refresh */
    float *inverse; /* [N] g / m */
    float *base;    /* [N] |W|^2 of each output, by ql_dora_prepare */
} ql_dora;

typedef struct ql_linear {
    ql_qtensor w;      /* [N, K] */
    const float *bias; /* [N] or NULL */
    ql_lora lora;      /* r is 0 when there is none */
    ql_dora dora;
    bool trained;   /* w itself */
    float *dw;      /* [N, K] its gradient, added to; NULL: not wanted */
    uint16_t *dw16; /* that of w in bf16 */
    float *dbias;   /* [N] that of bias */
} ql_linear;

/* Dropout before A: which elements are dropped depends on key only. */
typedef struct ql_drop {
    float p; /* 0: none */
    uint64_t key;
    ql_profile *profile; /* where the layer's time is counted, or NULL */
} ql_drop;

/* What the forward leaves for the backward. */
typedef struct ql_linear_kept {
    float *xa; /* [T, R] */
    float *u;  /* [T, N] with DoRA, else not touched */
} ql_linear_kept;

/* Bytes of scratch for either direction. */
size_t ql_linear_work_bytes(const ql_linear *lin, size_t T);

/* Bytes of scratch for the forward alone. */
size_t ql_linear_fwd_work_bytes(const ql_linear *lin, size_t T);

/* What is kept alone, when Y itself is not wanted again.
 *
 *   kept          written; xa is not touched when there is no pair
 *   x     [T, K]  read
 *   work  ql_linear_work_bytes, 64-byte aligned */
void ql_linear_keep(ql_linear_kept kept, const float *x, const ql_linear *lin,
                    size_t T, ql_drop drop, void *work);

/* Forward.
 *
 *   y     [T, N]  written, or added to if add
 *   kept          written
 *   x     [T, K]  read
 * y must not overlap x. Cannot fail. */
void ql_linear_fwd(float *y, bool add, ql_linear_kept kept, const float *x,
                   const ql_linear *lin, size_t T, ql_drop drop, void *work);

/* One of several layers that read the same x. */
typedef struct ql_linear_call {
    const ql_linear *lin;
    float *y;            /* [T, N] written */
    ql_linear_kept kept; /* written */
    ql_drop drop;
} ql_linear_call;

/* Forward of n layers, 1 <= n <= QL_LINEAR_CALLS, as if one after the other, in
 * ql_linear_calls_bytes of scratch or more. */
enum {
    QL_LINEAR_CALLS = 3
};
void ql_linear_fwd_calls(const ql_linear_call *calls, size_t n, const float *x,
                         size_t T, void *work);
size_t ql_linear_calls_bytes(const ql_linear_call *calls, size_t n, size_t T);

/* Backward.
 *
 *   dx    [T, K]  written, or added to if add; NULL if not wanted. It may be x
 *                 where nothing of the layer is trained
 *   dy    [T, N]  read
 *   x, kept, drop as in the forward
 * Gradients are added to unless they are NULL. Without DoRA, dU is dY:
 *   dU  = dY g;    dm += sum_t dY U / |W + s B A|
 *   dB += dU^T xa;  dxa = s dU B;  dA += dxa^T drop(X)
 *   dX  = dU W + drop'(dxa A)
 * where the part of dU W that goes through dropout goes through drop', too. */
void ql_linear_bwd(float *dx, bool add, const float *dy, const float *x,
                   ql_linear_kept kept, const ql_linear *lin, size_t T,
                   ql_drop drop, void *work);

#endif
