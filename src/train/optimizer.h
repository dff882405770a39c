/* The optimizer: AdamW over a fixed list of trained tensors, and the state
 * that it keeps for them. One set of updates in progress; not thread-safe. */
#ifndef QL_TRAIN_OPTIMIZER_H
#define QL_TRAIN_OPTIMIZER_H

#include "qlora/status.h"
#include "src/op/adam.h"

typedef struct ql_optimizer ql_optimizer;

/* Makes the state, all zero, for n tensors, which lie one behind the other in
 * the arrays of parameters and gradients; size[i] is the number of elements of
 * one. Errors: QL_ENOMEM. */
ql_status ql_optimizer_open(ql_optimizer **o_out, const size_t *size, size_t n);
void ql_optimizer_close(ql_optimizer **o);

/* One update.
 *
 *   p  [.]  parameters, updated
 *   g  [.]  gradients; overwritten
 *   s       its t is filled in: updates so far, plus one
 * Errors: QL_ENUMERIC (a parameter would not be finite, or a second moment).
 * After any failure p is as it was before, but the state is not: it must not
 * be saved or used for another update. */
ql_status ql_optimizer_update(ql_optimizer *o, float *p, float *g,
                              ql_adam_step *s);

/* Updates done. */
size_t ql_optimizer_updates(const ql_optimizer *o);

/* The state as a stream of bytes, for checkpoints. It depends on the tensors'
 * sizes and on the kind of the state, but not on where the state is kept nor on
 * the number of threads; numbers are in the machine's own order. The number of
 * updates is not part of it. */
uint64_t ql_optimizer_state_bytes(const ql_optimizer *o);

/* Reads n bytes of the stream from byte at on. at + n must not exceed the
 * size. Errors: QL_EIO. */
ql_status ql_optimizer_export(ql_optimizer *o, uint64_t at, void *data,
                              size_t n);

/* Writes them. Set the number of updates too. Errors: QL_EIO. */
ql_status ql_optimizer_import(ql_optimizer *o, uint64_t at, const void *data,
                              size_t n);
void ql_optimizer_set_updates(ql_optimizer *o, size_t updates);

#endif
