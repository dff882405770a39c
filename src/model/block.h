/* One decoder block, forward and backward.
 *
 *   n1  = norm1(x)
 *   mid = x + O(attention(rope(Q n1), rope(K n1), V n1))
 *   n2  = norm2(mid)
 *   y   = mid + Down(silu(Gate n2) * Up n2)
 */
#ifndef QL_MODEL_BLOCK_H
#define QL_MODEL_BLOCK_H

#include "src/base/arena.h"
#include "src/model/weights.h"
#include "src/op/attention.h"

/* What the backward of one block needs beside its input. */
typedef struct ql_saved {
    float *rstd1, *rstd2;  /* [T] */
    float *n1, *n2, *mid;  /* [T, C] */
    float *q, *o;          /* [T, H D] */
    float *k, *v;          /* [T, KV D] */
    float *lse;            /* [T, H] */
    float *gate, *up;      /* [T, F] */
    float *xa[QL_MODULES]; /* [T, R] */
} ql_saved;

/* Everything a block's pass needs that is not its own. */
typedef struct ql_pass {
    const ql_config *c;
    ql_attention_shape shape; /* of the batch */
    const uint32_t *pos;      /* [T] */
    const float *cos_table, *sin_table;
    float dropout;     /* 0 outside training */
    uint64_t key;      /* of this micro-batch */
    ql_arena *scratch; /* ql_block_scratch_bytes are free */
    ql_profile *profile;
} ql_pass;

/* Bytes of one ql_saved for T tokens, and of scratch for a block's passes. */
size_t ql_saved_bytes(const ql_config *c, size_t T, size_t r);
size_t ql_block_scratch_bytes(const ql_config *c, const ql_layer *layer,
                              const ql_attention_shape *largest);

/* Takes the arrays of one ql_saved from an arena. */
void ql_saved_take(ql_saved *s, ql_arena *arena, const ql_config *c, size_t T,
                   size_t r);

/* Forward of block i. y [T, C] is written; it may be x. y NULL: the forward
 * is repeated only to fill s, and what s does not need is left out. */
void ql_block_fwd(float *y, ql_saved *s, const float *x, const ql_layer *layer,
                  size_t i, const ql_pass *pass);

/* Backward of block i. dy [T, C] is the gradient of y on entry and that of x
 * on return, if want_dx; adapter gradients are added to. */
void ql_block_bwd(float *dy, const ql_saved *s, const float *x,
                  const ql_layer *layer, size_t i, bool want_dx,
                  const ql_pass *pass);

#endif
