/* AdamW updates of parameters, piece by piece.
 *
 *   p = (1 - lr wd) p
 *   m = b1 m + (1 - b1) g        g: gradient times clip
 *   v = b2 v + (1 - b2) g^2
 *   p = p - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
 *
 * Source: Loshchilov, Hutter: Decoupled Weight Decay Regularization, 2019;
 * order of operations as torch.optim.AdamW.
 *
 * Parameters and gradients are in f32 or in bf16; those in bf16 are computed
 * with in f32 and rounded to the nearest at the end, as torch's fused AdamW
 * does.
 *
 * Moments are kept in f32, in bf16, or in 8 bits as bitsandbytes does: in
 * blocks of 256 parameters, m by the signed and v by the unsigned dynamic map,
 * each divided by the largest of its block. Source: Dettmers and others: 8-bit
 * Optimizers via Block-wise Quantization, 2022; bitsandbytes, backends/triton.
 *
 * The moments of a piece lie together, so that a run of pieces is a run of
 * bytes, which can be kept in memory or in a file. */
#ifndef QL_OP_ADAM_H
#define QL_OP_ADAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/map8.h"

typedef struct ql_adam_step {
    double lr, beta1, beta2, eps, weight_decay;
    double clip; /* factor on the gradient */
    size_t t;    /* number of this update, from 1 */
} ql_adam_step;

enum {
    QL_ADAM_BLOCK = 256,    /* parameters of a block in 8 bits */
    QL_ADAM_PIECE = 1 << 14 /* most parameters of a piece: whole blocks */
};

/* How moments are kept. */
typedef enum ql_moments {
    QL_MOMENTS_F32,
    QL_MOMENTS_BF16,
    QL_MOMENTS_8BIT
} ql_moments;

/* A run of parameters and their state: m [n] and v [n] in f32 or bf16; or, in 8
 * bits, the scales of m and those of v, [ceil(n / 256)] in f32, then the codes
 * of m and those of v [n]. Zero bytes are a state of zeros. */
typedef struct ql_adam_piece {
    uint64_t at;  /* byte where its state begins, a multiple of 64 */
    size_t first; /* where its parameters begin, in floats */
    uint32_t n;   /* its parameters */
    float rate;   /* factor on the learning rate */
    bool plain;   /* without weight decay */
    bool half;    /* parameters and gradients are in bf16 */
    ql_moments moments;
} ql_adam_piece;

/* Bytes of the state of a piece of n parameters, a multiple of 64; what lies
 * behind the moments is never touched. */
size_t ql_adam_state_bytes(size_t n, ql_moments moments);

/* The maps of moments in 8 bits. */
typedef struct ql_adam_maps {
    ql_map8 m, v;
} ql_adam_maps;

void ql_adam_maps_init(ql_adam_maps *maps);

/* Updates all parameters of n consecutive pieces.
 *
 *   p      [.]  all parameters, those in bf16 two to a float; one that would
 *               not be finite stays as it is
 *   g      [.]  all gradients; those of the pieces are replaced by their
 *               parameters as they were, so that the update can be undone
 *   state       that of piece[0], 64-byte aligned; the others follow
 *   maps        may be NULL when no piece is in 8 bits
 * Returns how many parameters stayed: the run has diverged. Threads: splits
 * the pieces; the result does not depend on their number. */
size_t ql_adam_update(float *p, float *g, void *state,
                      const ql_adam_piece *piece, size_t n,
                      const ql_adam_maps *maps, const ql_adam_step *s);

#endif
