/* Attention of one token over the keys of its past and its own, without
 * packing any: they are read once, a piece by each thread in turn. */
#ifndef QL_OP_ATTENTION_ONE_H
#define QL_OP_ATTENTION_ONE_H

#include "src/op/attention.h"

/* Bytes of scratch, for the threads in use. */
size_t ql_attention_one_bytes(const ql_attention_shape *s);

/* ql_attention_fwd for T = 1 and one sequence with a past; all in f32,
 * whatever the set. */
void ql_attention_one(float *o, float *lse, const float *q, const float *k,
                      const float *v, const ql_attention_shape *s, void *work);

#endif
