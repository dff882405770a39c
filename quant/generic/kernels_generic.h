/* The set that runs everywhere, in plain C: the twin of all others. */
#ifndef QL_QUANT_KERNELS_GENERIC_H
#define QL_QUANT_KERNELS_GENERIC_H

#include "quant/kernels.h"

extern const ql_kernels ql_kernels_generic;

ql_decode_fn ql_decode_generic;

/* Looks codes up: out[i] = value[code i] for the first codes of packed, a
 * multiple of the set's width and at most n; returns how many it did. */
typedef size_t ql_look_up_fn(float *out, const uint8_t *packed,
                             const float value[16], size_t n);

/* Decodes elements [e, e + n) of the 4-bit data of w, counted from its start:
 * block by block, by look_up where it can start at a whole byte, else one by
 * one. */
void ql_decode_blocks(float *out, const ql_qtensor *w, size_t e, size_t n,
                      ql_look_up_fn *look_up);

#endif
