#include "src/model/transposed.h"

#include <string.h>

#include "quant/codec.h"
#include "src/base/alloc.h"
#include "src/base/fail.h"

enum {
    TILE = 32, /* rows and columns that are in cache together */
    WIDE = 256 /* elements of a row that are decoded together */
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Columns [c, c + TILE) of x [rows, cols], of elements of size bytes at any
 * address, become rows of y. */
static void turn(unsigned char *y, const unsigned char *x, size_t rows,
                 size_t cols, size_t size, size_t c)
{
    for (size_t r = 0; r < rows; r += TILE) {
        for (size_t j = c; j < least(c + TILE, cols); j++) {
            for (size_t i = r; i < least(r + TILE, rows); i++) {
                memcpy(y + (j * rows + i) * size, x + (i * cols + j) * size,
                       size);
            }
        }
    }
}

ql_status ql_tensor_transpose(ql_tensor *out, void **data, const ql_tensor *t)
{
    const size_t rows = t->shape[0];
    const size_t cols = t->shape[1];
    const size_t size = ql_dtype_bits(t->dtype) / 8;
    unsigned char *y;

    *data = NULL;
    if (t->rank != 2 || (size != 2 && size != 4)) {
        QL_FAIL(QL_EUNSUPPORTED,
                "tensor %s: only a matrix of F32, BF16 or F16 can be turned",
                t->name);
    }
    y = ql_alloc(QL_TAG_WEIGHTS, t->elements, size);
    if (!y) {
        return QL_ENOMEM;
    }
#pragma omp parallel for schedule(static) if (t->elements > TILE * TILE)
    for (size_t c = 0; c < cols; c += TILE) {
        turn(y, t->data, rows, cols, size, c);
    }
    *out = *t;
    out->shape[0] = cols;
    out->shape[1] = rows;
    out->data = y;
    *data = y;
    return QL_OK;
}

/* Rows [row, row + TILE) of w become columns of out. */
static void turn_rows(float *out, const ql_qtensor *w, size_t col, size_t n,
                      size_t row)
{
    const size_t rows = least(TILE, w->rows - row);
    _Alignas(64) float x[TILE][WIDE];

    for (size_t c = 0; c < n; c += WIDE) {
        const size_t m = least(WIDE, n - c);

        for (size_t i = 0; i < rows; i++) {
            ql_dequantize(x[i], w, (row + i) * w->cols + col + c, m);
        }
        for (size_t j = 0; j < m; j++) {
            for (size_t i = 0; i < rows; i++) {
                out[(c + j) * w->rows + row + i] = x[i][j];
            }
        }
    }
}

void ql_qtensor_columns(float *out, const ql_qtensor *w, size_t col, size_t n)
{
#pragma omp parallel for schedule(static) if (w->rows * n > TILE * WIDE)
    for (size_t row = 0; row < w->rows; row += TILE) {
        turn_rows(out, w, col, n, row);
    }
}
