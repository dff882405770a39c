/* Quantization of a whole dense weight to 4 bits, on all threads. */
#ifndef QL_OP_QUANTIZE_DENSE_H
#define QL_OP_QUANTIZE_DENSE_H

#include "quant/codec.h"

/* Quantizes all elements of w (dense storage), taken flat; arguments as
 * ql_quantize_4bit. Memory: one chunk of floats a thread. Returns the flat
 * index of the first element that is not finite, SIZE_MAX if all are; the
 * output is unspecified then. */
size_t ql_quantize_dense(uint8_t *packed, float *absmax, const ql_qtensor *w,
                         ql_codebook_id book, size_t block);

/* The scales alone: absmax [ql_codec_blocks(elements, block)]. */
void ql_scales_dense(float *absmax, const ql_qtensor *w, size_t block);

/* What quantization lost: over all elements, the sum of squares and the
 * largest of |q - w| / scale of its block. Blocks of zeros count as exact. */
typedef struct ql_quantize_error {
    double sum_squares;
    double largest;
} ql_quantize_error;

/* w: the dense weight; q: its 4-bit form, of the same elements. */
ql_quantize_error ql_quantize_compare(const ql_qtensor *w, const ql_qtensor *q);

#endif
