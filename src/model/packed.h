/* A weight that a folder holds in bitsandbytes' 4-bit form: the packed codes
 * and the tensors beside it, as one frozen matrix. */
#ifndef QL_MODEL_PACKED_H
#define QL_MODEL_PACKED_H

#include "quant/qtensor.h"
#include "src/base/alloc.h"
#include "src/format/shards.h"

enum {
    QL_PACKED_COPIES = 3
};

typedef struct ql_packed {
    ql_qtensor w;   /* [rows, cols], views of the mapped files */
    ql_dtype dtype; /* of the weight before quantization */
    size_t bytes;   /* of all its tensors */
    void *copies[QL_PACKED_COPIES]; /* floats that lie unaligned in the file;
                                       Owned, NULL for none */
} ql_packed;

/* The weight called name; *found is false, and all else zero, if the folder
 * does not hold it in 4 bits. Errors: QL_ENOTFOUND, QL_EFORMAT,
 * QL_EUNSUPPORTED, QL_ENOMEM. */
ql_status ql_packed_init(ql_packed *p, const ql_shards *s, const char *name,
                         bool *found);
void ql_packed_free(ql_packed *p);

#endif
