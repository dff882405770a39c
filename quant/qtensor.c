#include "quant/qtensor.h"

ql_qtensor ql_qtensor_dense(const float *data, size_t rows, size_t cols)
{
    return (ql_qtensor){
        .rows = rows, .cols = cols, .storage = QL_STORAGE_F32, .data = data};
}

ql_qtensor ql_qtensor_rows(const ql_qtensor *w, size_t row, size_t n)
{
    ql_qtensor view = *w;

    view.first += row * w->cols;
    view.rows = n;
    return view;
}

float ql_qtensor_scale(const ql_qtensor *w, size_t i)
{
    if (w->absmax) {
        return w->absmax[i];
    }
    return w->nested_code[w->absmax_u8[i]] *
               w->nested_absmax[i / w->nested_block] +
           w->offset;
}
