/* Magnitudes of DoRA: what a linear layer needs beside its products. The norm
 * of row n of W + s B A comes from thin products, so that the sum is never
 * formed:
 *
 *   |W + s B A|^2 = |W|^2 + 2 s B (W A^T)^T + s^2 B (A A^T) B^T
 *
 * An embedding W [K, N] is W^T there: norms are those of its columns, taken
 * over all tokens. Source: PEFT's DoraLinearLayer, DoraEmbeddingLayer. */
#ifndef QL_OP_DORA_H
#define QL_OP_DORA_H

#include "src/op/linear.h"

/* dora.base of a layer with magnitudes; of it w, lora and dora are read here
 * and below. Once for a base. Threads: splits outputs. */
void ql_dora_prepare(const ql_linear *lin);

/* dora.gain and .inverse, whenever m, A or B have changed.
 *
 *   work  ql_dora_work_bytes(lin) bytes, 64-byte aligned, any content
 * Threads: splits outputs. */
size_t ql_dora_work_bytes(const ql_linear *lin);
void ql_dora_refresh(const ql_linear *lin, void *work);

/* y = u g, where y may be u, or y += u g. Threads: splits T.
 *
 *   y, u  [T, N] */
void ql_dora_apply(float *y, bool add, const float *u, const ql_dora *d,
                   size_t T, size_t N);

/*   du     [T, N]  written: dy g; it may be u
 *   dy, u  [T, N]  read
 *   d->dm  [N]     added to: sum_t dy u inverse; unless NULL
 * Threads: splits T, N. */
void ql_dora_bwd(float *du, const float *dy, const float *u, const ql_dora *d,
                 size_t T, size_t N);

#endif
