#include "src/op/embed.h"

#include <assert.h>

#include "quant/codec.h"
#include "src/op/loops.h"
#include "src/op/parallel.h"

void ql_embed_fwd(float *y, const int32_t *ids, const ql_qtensor *w,
                  float scale, size_t T)
{
    const ql_loops *loops = ql_loops_get();

#pragma omp parallel for schedule(static) if (T * w->cols > QL_SMALL)
    for (size_t t = 0; t < T; t++) {
        assert(ids[t] >= 0 && (size_t)ids[t] < w->rows);
        ql_dequantize(y + t * w->cols, w, (size_t)ids[t] * w->cols, w->cols);
        if (scale != 1) {
            loops->scale(y + t * w->cols, w->cols, scale);
        }
    }
}
