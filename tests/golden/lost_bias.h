/* Golden folders of GPT-2 lack the bias of attn.c_attn: whoever wrote them left
 * out what ends in "attn.bias", which is a mask in old checkpoints. The model
 * behind the golden data had these biases. They are found again from its
 * logits, which are thousands for a few hundred unknowns; losses, gradients and
 * steps are then as telling as for any other folder. */
#ifndef QL_TESTS_LOST_BIAS_H
#define QL_TESTS_LOST_BIAS_H

#include "tests/golden/reference.h"

/* True if dir lacks them. */
bool lost_bias_is(const char *dir);

/* A copy of dir that has them, all zero. Borrowed: good until the next. */
const char *lost_bias_copy(const char *dir);

/* Finds the biases of m, a copy, from the logits of dir's golden.safetensors
 * and lora.safetensors, by Gauss-Newton, and puts them in place. The bias of k
 * stays zero: it adds the same to all scores of a query. */
void lost_bias_find(ql_model *m, const char *dir, const reference_rows *rows);

#endif
