/* A trained tensor on its way to a file that has it otherwise than memory: in
 * another type, or transposed. No more than a piece is made at a time. */
#ifndef QL_CONVERT_TRAINED_PIECES_H
#define QL_CONVERT_TRAINED_PIECES_H

#include "src/format/safetensors.h"
#include "src/model/adapter.h"

/* Writes tensor i of a, which w has announced by this name as type: F32, BF16
 * or F16. Errors: QL_EUNSUPPORTED for a weight beyond the type's range, QL_EIO,
 * QL_ENOSPACE. */
ql_status ql_trained_put_pieces(const ql_adapter *a, size_t i, ql_dtype type,
                                const char *name, ql_safetensors_writer *w);

#endif
