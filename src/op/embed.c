#include "src/op/embed.h"

#include <assert.h>

#include "quant/codec.h"
#include "src/op/parallel.h"

void ql_embed_fwd(float *y, const int32_t *ids, const ql_qtensor *w, size_t T)
{
#pragma omp parallel for schedule(static) if (T * w->cols > QL_SMALL)
    for (size_t t = 0; t < T; t++) {
        assert(ids[t] >= 0 && (size_t)ids[t] < w->rows);
        ql_dequantize(y + t * w->cols, w, (size_t)ids[t] * w->cols, w->cols);
    }
}
