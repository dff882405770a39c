/* One block of a decoder, forward and backward: attention and a feed-forward
 * layer, each joined to the stream that passes by. The form of Llama:
 *
 *   n1  = norm(x)
 *   mid = x + O(attention(rope(Q n1), rope(K n1), V n1))
 *   n2  = norm(mid)
 *   y   = mid + Down(act(Gate n2) * Up n2)
 *
 * What others change is in their rows of arch.c and in the config: norms
 * behind a half, before its sum or after it, or of the heads of q and k; n2 of
 * x in place of mid (in parallel); no gate; fused projections. */
#ifndef QL_MODEL_BLOCK_H
#define QL_MODEL_BLOCK_H

#include "src/base/arena.h"
#include "src/model/cache.h"
#include "src/model/weights.h"
#include "src/op/attention.h"

/* What the backward of one block needs beside its input. Arrays that an
 * architecture has no use for are empty. */
typedef struct ql_saved {
    float *stats[QL_NORMS]; /* what each norm keeps */
    float *n1, *n2;         /* [T, C] behind the norms before each half */
    float *mid;             /* [T, C] */
    float *attn, *mlp;      /* [T, C] before the norms behind each half */
    float *q, *o;           /* [T, H D]; q turned, unless it has a norm */
    float *k, *v;           /* [T, KV D]; k as q */
    float *lse;             /* [T, H] */
    float *gate, *up;       /* [T, F]; side by side, [T, 2 F], when fused */
    ql_linear_kept linear[QL_MODULES];
    bool has_mlp; /* a forward that is repeated finds mlp and the stats of its
                     norm as they were */
} ql_saved;

/* What the size of a ql_saved depends on beside the config. */
typedef struct ql_saved_size {
    size_t T;
    size_t r[QL_MODULES];  /* ranks */
    bool dora[QL_MODULES]; /* magnitudes */
} ql_saved_size;

/* The size that serves each of n layers, as they are adapted now. */
ql_saved_size ql_saved_size_of(const ql_layer *layers, size_t n, size_t T);

/* cos and sin of the positions, [length, dim / 2]. */
typedef struct ql_turns {
    const float *cos, *sin;
} ql_turns;

/* Everything a block's pass needs that is not its own. */
typedef struct ql_pass {
    const ql_config *c;
    ql_attention_shape shape; /* of the batch; the window is the layer's */
    const uint32_t *pos;      /* [T] rows of turns */
    ql_turns turns[QL_ROPES];
    ql_past *past;     /* [layers] rows before the batch, which is one sequence;
                          those of the batch are added; NULL: there are none */
    float dropout;     /* 0 outside training, as is: */
    float noise;       /* on the embeddings */
    uint64_t key;      /* of this micro-batch */
    ql_arena *scratch; /* ql_block_scratch_bytes are free */
    ql_profile *profile;
} ql_pass;

/* Bytes of one ql_saved, and of scratch for the passes of block i. */
size_t ql_saved_bytes(const ql_config *c, const ql_saved_size *size);
size_t ql_block_scratch_bytes(const ql_config *c, const ql_layer *layer,
                              size_t i, const ql_attention_shape *largest);

/* Takes the arrays of one ql_saved from an arena. */
void ql_saved_take(ql_saved *s, ql_arena *arena, const ql_config *c,
                   const ql_saved_size *size);

/* Forward of block i. y [T, C] is written; it may be x. y NULL: the forward
 * is repeated only to fill s, and what s does not need is left out. With a
 * past there is no backward. */
void ql_block_fwd(float *y, ql_saved *s, const float *x, const ql_layer *layer,
                  size_t i, const ql_pass *pass);

/* Backward of block i. dy [T, C] is the gradient of y on entry and that of x
 * on return, if want_dx; adapter gradients are added to. */
void ql_block_bwd(float *dy, const ql_saved *s, const float *x,
                  const ql_layer *layer, size_t i, bool want_dx,
                  const ql_pass *pass);

#endif
