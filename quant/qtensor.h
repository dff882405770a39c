/* A frozen weight matrix W [rows, cols], row-major, as a view over memory that
 * somebody else owns: 4-bit with its scales, or dense 16 or 32 bit.
 *
 * 4-bit storage (bitsandbytes): the elements are taken flat, row by row,
 * without regard to rows, and cut into blocks of `block`; element e belongs to
 * block e / block, and its code is the high (e even) or low (e odd) nibble of
 * byte e / 2. Its value is
 *
 *   w[e] = code[nibble] * absmax[e / block]              (f32 product)
 *
 * and with double quantization
 *
 *   absmax[i] = nested_code[absmax_u8[i]] * nested_absmax[i / nested_block]
 *               + offset                                 (f32, no fma)
 *
 * then rounded to `round`. Source: bitsandbytes functional.py, QuantState. */
#ifndef QL_QUANT_QTENSOR_H
#define QL_QUANT_QTENSOR_H

#include <stddef.h>
#include <stdint.h>

typedef enum ql_storage {
    QL_STORAGE_4BIT,
    QL_STORAGE_F32,
    QL_STORAGE_BF16,
    QL_STORAGE_F16,
    QL_STORAGE_COUNT
} ql_storage;

/* To what a dequantized weight is rounded (nearest, ties to even). */
typedef enum ql_round {
    QL_ROUND_NONE,
    QL_ROUND_BF16,
    QL_ROUND_F16
} ql_round;

typedef struct ql_qtensor {
    size_t rows, cols;
    ql_storage storage;
    const void *data; /* packed nibbles or dense elements; any alignment */
    size_t first;     /* flat index of element [0, 0]; not 0 for a view of
                         some rows of a larger matrix */

    /* 4-bit only */
    size_t block;               /* elements per scale, even */
    float code[16];             /* the table stored with the weight */
    const float *absmax;        /* [blocks], or NULL when double quantized */
    const uint8_t *absmax_u8;   /* [blocks] */
    const float *nested_absmax; /* [ceil(blocks / nested_block)] */
    const float *nested_code;   /* [256] */
    size_t nested_block;        /* scales per outer scale, 256 */
    float offset;
    ql_round round;
} ql_qtensor;

/* A view of a matrix of floats. */
ql_qtensor ql_qtensor_dense(const float *data, size_t rows, size_t cols);

/* A view of rows [row, row + n) of w. */
ql_qtensor ql_qtensor_rows(const ql_qtensor *w, size_t row, size_t n);

/* Scale of block i of a 4-bit tensor, by the formula above. */
float ql_qtensor_scale(const ql_qtensor *w, size_t i);

#endif
