/* A matrix turned: some models store weights [in, out]. */
#ifndef QL_MODEL_TRANSPOSED_H
#define QL_MODEL_TRANSPOSED_H

#include "quant/qtensor.h"
#include "src/format/safetensors.h"

/* The transpose of a matrix of elements of 2 or 4 bytes. *data, where it lies,
 * is Owned: ql_free; its name is borrowed from t. Errors: QL_EUNSUPPORTED for
 * other types, QL_ENOMEM. Threads: splits columns. */
ql_status ql_tensor_transpose(ql_tensor *out, void **data, const ql_tensor *t);

/* Columns [col, col + n) of w, of any storage, as rows: out [n, w->rows].
 * Cannot fail. Threads: splits the rows of w. */
void ql_qtensor_columns(float *out, const ql_qtensor *w, size_t col, size_t n);

#endif
