/* quant_state of a 4-bit weight: the JSON that bitsandbytes stores beside it,
 * and the names of the tensors that make up the weight. */
#ifndef QL_FORMAT_QSTATE_H
#define QL_FORMAT_QSTATE_H

#include "quant/codebook.h"
#include "src/base/buf.h"
#include "src/format/shards.h"

typedef struct ql_qstate {
    ql_codebook_id book;
    size_t block;
    ql_dtype dtype; /* of the weight before quantization: F32, BF16, F16 */
    size_t rows, cols;
    bool nested;
    size_t nested_block;
    double nested_offset; /* an f32, widened */
} ql_qstate;

/* Appends the JSON exactly as bitsandbytes' QuantState.as_dict writes it. */
ql_status ql_qstate_format(ql_buf *out, const ql_qstate *q);

/* Reads it. where names the tensor in errors. Errors: QL_EFORMAT;
 * QL_EUNSUPPORTED for a type we do not know. */
ql_status ql_qstate_parse(ql_qstate *q, const char *text, size_t len,
                          const char *where);

/* The quant_state tensor of weight NAME ("....q_proj.weight") in a folder,
 * NULL if that weight is not 4-bit. Borrowed. */
const ql_tensor *ql_qstate_find(const ql_shards *s, const char *name);

#endif
