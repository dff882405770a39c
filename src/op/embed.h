/* Rows of the embedding matrix. */
#ifndef QL_OP_EMBED_H
#define QL_OP_EMBED_H

#include "quant/qtensor.h"

/* y[t,:] = scale W[ids[t],:], widened to f32.
 *
 *   y    [T, C]  written
 *   ids  [T]     each in [0, V)
 *   w    [V, C]  any storage
 * Cannot fail. Threads: splits T. */
void ql_embed_fwd(float *y, const int32_t *ids, const ql_qtensor *w,
                  float scale, size_t T);

#endif
