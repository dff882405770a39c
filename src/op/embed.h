/* Rows of the embedding matrix, with a LoRA pair or trained whole.
 *
 *   y[t,:] = scale (W[id] + s A[:,id] B^T)
 *
 * With DoRA that times g, a factor for each dimension, which does not itself
 * carry a gradient to A and B:
 *
 *   g[c] = m[c] / |W[:,c] + s A^T B[c,:]|
 *
 * Source: PEFT's lora.Embedding, DoraEmbeddingLayer. */
#ifndef QL_OP_EMBED_H
#define QL_OP_EMBED_H

#include "src/op/linear.h"

typedef struct ql_embedding {
    ql_qtensor w;   /* [V, C] any storage */
    float scale;    /* 1, but for Gemma */
    ql_lora lora;   /* A [R, V], B [C, R]; r is 0 when there is none */
    ql_dora dora;   /* of the pair, across */
    float *dw;      /* [V, C] gradient of w, added to; NULL: frozen */
    uint16_t *dw16; /* that of w in bf16, each sum rounded once */
} ql_embedding;

/* Bytes of scratch for either direction. */
size_t ql_embed_work_bytes(const ql_embedding *e, size_t T);

/*   y     [T, C]  written
 *   ids   [T]     each in [0, V)
 *   work  ql_embed_work_bytes(e, T) bytes, 64-byte aligned, any content
 * Cannot fail. Threads: splits T. */
void ql_embed_fwd(float *y, const int32_t *ids, const ql_embedding *e, size_t T,
                  void *work);

/* Gradients, added to:
 *
 *   dy    [T, C]  gradient of y, read
 *   m's is sum_t dy y / m
 * Threads: splits R, C; the result does not depend on them. */
void ql_embed_bwd(const float *dy, const int32_t *ids, const ql_embedding *e,
                  size_t T, void *work);

/* Noise of NEFTune: y[t,:] of a sequence of n tokens gets numbers that are
 * uniform within +-alpha / sqrt(n C), by key.
 *
 *   y      [T, C]           added to
 *   start  [sequences + 1]  where the sequences begin in y, and the end
 * Source: Jain and others: NEFTune, 2023; TRL. Cannot fail. Threads: splits
 * the tokens of a sequence. */
void ql_embed_noise(float *y, const size_t *start, size_t sequences, size_t C,
                    float alpha, uint64_t key);

/* w with its pair, as dora.h has them. */
ql_linear ql_embed_linear(const ql_embedding *e);

/* True if the embedding has gradients. */
bool ql_embed_trained(const ql_embedding *e);

/* y[t,:] += W[pos[t],:].
 *
 *   y    [T, C]  added to
 *   pos  [T]     each below the rows of w
 *   w    [., C]  any storage
 * Cannot fail. Threads: splits T. */
void ql_embed_add(float *y, const uint32_t *pos, const ql_qtensor *w, size_t T);

#endif
