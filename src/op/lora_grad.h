/* Gradients of the two matrices of a LoRA pair: sums over tokens, on the
 * micro-kernels of the set in use. */
#ifndef QL_OP_LORA_GRAD_H
#define QL_OP_LORA_GRAD_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of scratch for T tokens, for the kernels and the threads in use. */
size_t ql_lora_grad_work_bytes(size_t R, size_t T);

/* G += P^T Z.
 *
 *   g     [R, W], or [W, R] if transposed; added to
 *   p     [T, R]  read
 *   z     [T, W]  read
 *   work  ql_lora_grad_work_bytes(R, T) bytes, 64-byte aligned, any content
 *
 * Cannot fail. Threads: splits W; the result does not depend on them. */
void ql_lora_grad(float *g, bool transposed, const float *p, const float *z,
                  size_t R, size_t T, size_t W, void *work);

#endif
