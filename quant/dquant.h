/* Double quantization: the scales of a 4-bit tensor, in 8 bits.
 *
 *   offset   = mean(absmax), summed in f32 in the order of PyTorch
 *   d        = absmax - offset
 *   outer[j] = max |d| over 256 scales
 *   q[i]     = nearest entry of the dynamic map to d / outer, ties to the
 *              lower; 127 (zero) where outer is 0; the division is by
 *              QL_SMALLEST_SCALE where outer is less
 *
 * Source: bitsandbytes quantize_4bit with compress_statistics, and
 * quantize_blockwise. */
#ifndef QL_QUANT_DQUANT_H
#define QL_QUANT_DQUANT_H

#include <stddef.h>
#include <stdint.h>

enum {
    QL_NESTED_BLOCK = 256
};

/*   q       [n]              written
 *   outer   [ceil(n / 256)]  written
 *   offset  [1]              written
 *   absmax  [n]              read, finite
 * Cannot fail. */
void ql_dquantize(const float *absmax, size_t n, uint8_t *q, float *outer,
                  float *offset);

#endif
