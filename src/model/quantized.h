/* One weight in 4 bits: quantized from floats, block by block, in parallel. */
#ifndef QL_MODEL_QUANTIZED_H
#define QL_MODEL_QUANTIZED_H

#include "qlora/quantize.h"
#include "quant/codebook.h"
#include "quant/qtensor.h"
#include "src/base/alloc.h"
#include "src/format/safetensors.h"

/* Errors: QL_EINVAL for a type or block size that the format does not know. */
ql_status ql_quant_options_check(const ql_quant_options *opt);

/* A tensor of F32, BF16 or F16 as a frozen matrix; one row unless its rank is
 * 2. Borrows t->data. Errors: QL_EUNSUPPORTED for other types. */
ql_status ql_dense_view(ql_qtensor *view, const ql_tensor *t);

/* To what a dequantized weight of this original type is rounded. */
ql_round ql_round_of(ql_dtype dtype);

/* The parts of a quantized weight, as the file format names them. */
typedef struct ql_quantized {
    size_t elements, blocks, nested_blocks;
    void *packed;        /* [ceil(elements / 2)] bytes */
    void *absmax;        /* [blocks] f32 */
    void *absmax_u8;     /* [blocks] bytes; NULL without double quantization */
    void *nested_absmax; /* [nested_blocks] f32 */
    float offset;
} ql_quantized;

/* The failure of a weight whose element i is not finite: QL_EFORMAT. */
ql_status ql_not_finite(const ql_tensor *t, size_t i);

/* Quantizes a tensor of F32, BF16 or F16. Memory: the result and a few blocks
 * of scratch a thread. Errors: QL_EUNSUPPORTED (dtype), QL_EFORMAT (an
 * element that is not finite; names it), QL_ENOMEM. */
ql_status ql_quantized_init(ql_quantized *q, const ql_tensor *t,
                            ql_codebook_id book, size_t block,
                            bool double_quant);
void ql_quantized_free(ql_quantized *q);

/* The same of the transpose of a matrix, a panel of rows of that at a time. */
ql_status ql_quantized_turned(ql_quantized *q, const ql_tensor *t,
                              ql_codebook_id book, size_t block,
                              bool double_quant);

/* The result as a matrix [rows, cols] that stood in dtype before. Borrows q. */
ql_qtensor ql_quantized_view(const ql_quantized *q, size_t rows, size_t cols,
                             ql_codebook_id book, size_t block, ql_dtype dtype);

#endif
