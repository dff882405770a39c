/* Cross-entropy of the next token, fused with the output head, in chunks of
 * tokens and slices of the vocabulary, for the trained positions only: memory
 * depends neither on the tokens nor on the vocabulary, beyond some size.
 *
 *   z[t,:]  = h[t] W^T             with a soft cap: cap tanh(h[t] W^T / cap)
 *   loss[t] = log sum_v exp z[t,v] - z[t, target[t]]
 *   dh[t]   = scale (softmax(z[t,:]) - onehot(target[t])) W
 *
 * where the gradient of z goes through the cap, if there is one.
 */
#ifndef QL_OP_LOSS_H
#define QL_OP_LOSS_H

#include <stdint.h>

#include "quant/qtensor.h"
#include "src/op/profile.h"

typedef struct ql_loss {
    double sum;   /* sum of loss[t] over the trained positions, nats */
    size_t count; /* trained positions */
    size_t hits;  /* of those, where the target has the largest logit */
} ql_loss;

/* Bytes of scratch for w [V, C] and T tokens. */
size_t ql_loss_work_bytes(size_t T, size_t V, size_t C);

/* Adds to *sum, and fills dh unless it is NULL (evaluation).
 *
 *   sum     added to
 *   dh      [T, C]  written, zero where target is negative; or NULL
 *   h       [T, C]  read: output of the last norm
 *   target  [T]     id to be predicted at this position, below V; negative:
 *                   none
 *   w       [V, C]  the head
 *   cap     soft cap on logits; 0: none
 *   scale   factor on dh: 1 / trained tokens of the whole optimizer step
 *   work    ql_loss_work_bytes(T, V, C) bytes, 64-byte aligned, any content
 *   profile where the time is counted, or NULL
 * Cannot fail; a non-finite loss shows in sum. Threads: the result does not
 * depend on their number. */
void ql_loss_head(ql_loss *sum, float *dh, const float *h,
                  const int32_t *target, const ql_qtensor *w, float cap,
                  size_t T, float scale, void *work, ql_profile *profile);

#endif
