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

#include "src/op/linear.h"

typedef struct ql_loss {
    double sum;   /* sum of loss[t] over the trained positions, nats */
    size_t count; /* trained positions */
    size_t hits;  /* of those, where the target has the largest logit */
} ql_loss;

/* Bytes of scratch for a head [V, C] and T tokens. */
size_t ql_loss_work_bytes(const ql_linear *head, size_t T);

/* Adds to *sum, and fills dh unless it is NULL (evaluation).
 *
 *   sum     added to
 *   dh      [T, C]  written, zero where target is negative; or NULL
 *   h       [T, C]  read: output of the last norm
 *   target  [T]     id to be predicted at this position, below V; negative:
 *                   none
 *   head    [V, C]  without a bias; the gradients of its pair, or of itself,
 *                   are added to where there is dh
 *   cap     soft cap on logits; 0: none
 *   scale   factor on dh: 1 / trained tokens of the whole optimizer step
 *   drop    dropout before the head's pair, and where the time is counted
 *   work    ql_loss_work_bytes(head, T) bytes, 64-byte aligned, any content
 * Cannot fail; a non-finite loss shows in sum. Threads: the result does not
 * depend on their number. */
void ql_loss_head(ql_loss *sum, float *dh, const float *h,
                  const int32_t *target, const ql_linear *head, float cap,
                  size_t T, float scale, ql_drop drop, void *work);

#endif
