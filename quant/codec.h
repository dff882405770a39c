/* 4-bit quantization of a run of floats, block by block, to the bit as
 * bitsandbytes does it. Source: bitsandbytes functional.py quantize_4bit,
 * backends/default/ops.py; csrc/kernels.cu for the rounding rule. */
#ifndef QL_QUANT_CODEC_H
#define QL_QUANT_CODEC_H

#include "quant/codebook.h"
#include "quant/qtensor.h"

/* Bytes of n packed codes, and scales of n elements. */
size_t ql_codec_packed_bytes(size_t n);
size_t ql_codec_blocks(size_t n, size_t block);

/* Quantizes x[n]; n counts whole blocks unless the run ends the tensor.
 *
 *   absmax[b] = max |x| over block b
 *   code      = nearest entry of the book to x * (1 / absmax), ties to the
 *               lower value; a block of zeros gets the code of 0
 *
 * The division is by QL_SMALLEST_SCALE where absmax is less; a short block at
 * the end is stored with that scale, too.
 *
 *   packed  [ql_codec_packed_bytes(n)]   written; a last odd nibble holds the
 *                                        code of 0
 *   absmax  [ql_codec_blocks(n, block)]  written
 *
 * x must be finite. Cannot fail. Safe from several threads on separate runs of
 * the same tensor. */
void ql_quantize_4bit(const float *x, size_t n, size_t block,
                      ql_codebook_id book, uint8_t *packed, float *absmax);

/* The scale that is stored for a block of n elements; n < block only at the end
 * of a tensor. */
float ql_block_scale(const float *x, size_t n, size_t block);

/* Values of elements [start, start + n) of w, counted from its first element;
 * w may have any storage. out [n]. Cannot fail. */
void ql_dequantize(float *out, const ql_qtensor *w, size_t start, size_t n);

#endif
