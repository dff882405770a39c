/* Rows of the embedding matrix, with a LoRA pair or trained whole.
 *
 *   y[t,:] = scale (W[id] + s A[:,id] B^T)
 *
 * Source: PEFT's lora.Embedding. */
#ifndef QL_OP_EMBED_H
#define QL_OP_EMBED_H

#include "src/op/linear.h"

typedef struct ql_embedding {
    ql_qtensor w; /* [V, C] any storage */
    float scale;  /* 1, but for Gemma */
    ql_lora lora; /* A [R, V], B [C, R]; r is 0 when there is none */
    float *dw;    /* [V, C] gradient of w, added to; NULL: frozen */
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
 * Threads: splits R, C; the result does not depend on them. */
void ql_embed_bwd(const float *dy, const int32_t *ids, const ql_embedding *e,
                  size_t T, void *work);

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
