/* What quantization of one tensor produces, in memory of its own. */
#include "src/model/quantized.h"

#include <string.h>

#include "quant/dquant.h"
#include "src/base/fail.h"
#include "src/model/transposed.h"
#include "src/op/quantize_dense.h"

enum {
    PANEL = 1 << 18 /* floats of a transpose that are made at a time */
};

ql_status ql_quant_options_check(const ql_quant_options *opt)
{
    const size_t b = opt->block_size;

    if (opt->type != QL_QUANT_NF4 && opt->type != QL_QUANT_FP4) {
        QL_FAIL(QL_EINVAL, "quantization type %d: choose NF4 or FP4",
                (int)opt->type);
    }
    if (b < 32 || b > 4096 || (b & (b - 1)) != 0) {
        QL_FAIL(QL_EINVAL,
                "block size %zu: choose 32, 64, 128, 256, 512, 1024, 2048 or "
                "4096",
                b);
    }
    return QL_OK;
}

void ql_quantized_free(ql_quantized *q)
{
    ql_free(q->packed);
    ql_free(q->absmax);
    ql_free(q->absmax_u8);
    ql_free(q->nested_absmax);
    *q = (ql_quantized){0};
}

static ql_status allocate(ql_quantized *q, size_t block, bool double_quant)
{
    q->blocks = ql_codec_blocks(q->elements, block);
    q->packed = ql_alloc(QL_TAG_WEIGHTS, ql_codec_packed_bytes(q->elements), 1);
    q->absmax = ql_alloc(QL_TAG_WEIGHTS, q->blocks, sizeof(float));
    if (!q->packed || !q->absmax) {
        return QL_ENOMEM;
    }
    if (double_quant) {
        q->nested_blocks = (q->blocks + QL_NESTED_BLOCK - 1) / QL_NESTED_BLOCK;
        q->absmax_u8 = ql_alloc(QL_TAG_WEIGHTS, q->blocks, 1);
        q->nested_absmax =
            ql_alloc(QL_TAG_WEIGHTS, q->nested_blocks, sizeof(float));
        if (!q->absmax_u8 || !q->nested_absmax) {
            return QL_ENOMEM;
        }
    }
    return QL_OK;
}

ql_status ql_dense_view(ql_qtensor *view, const ql_tensor *t)
{
    *view = (ql_qtensor){
        .rows = t->rank == 2 ? t->shape[0] : 1,
        .cols = t->rank == 2 ? t->shape[1] : t->elements,
        .data = t->data,
    };
    switch (t->dtype) {
    case QL_DTYPE_F32:
        view->storage = QL_STORAGE_F32;
        return QL_OK;
    case QL_DTYPE_BF16:
        view->storage = QL_STORAGE_BF16;
        return QL_OK;
    case QL_DTYPE_F16:
        view->storage = QL_STORAGE_F16;
        return QL_OK;
    default:
        QL_FAIL(
            QL_EUNSUPPORTED,
            "tensor %s: weights of type %s are not supported; use F32, BF16 "
            "or F16",
            t->name, ql_dtype_name(t->dtype));
    }
}

ql_round ql_round_of(ql_dtype dtype)
{
    return dtype == QL_DTYPE_BF16  ? QL_ROUND_BF16
           : dtype == QL_DTYPE_F16 ? QL_ROUND_F16
                                   : QL_ROUND_NONE;
}

ql_status ql_not_finite(const ql_tensor *t, size_t i)
{
    QL_FAIL(QL_EFORMAT,
            "tensor %s: element %zu is not finite; the checkpoint is damaged "
            "or its training diverged",
            t->name, i);
}

/* Quantizes the scales, too, if they are to be; after a failure nothing is
 * left. */
static ql_status finish(ql_quantized *q, bool double_quant, ql_status st)
{
    if (st != QL_OK) {
        ql_quantized_free(q);
    } else if (double_quant) {
        ql_dquantize(q->absmax, q->blocks, q->absmax_u8, q->nested_absmax,
                     &q->offset);
    }
    return st;
}

ql_status ql_quantized_init(ql_quantized *q, const ql_tensor *t,
                            ql_codebook_id book, size_t block,
                            bool double_quant)
{
    ql_status st;
    ql_qtensor view;
    size_t bad;

    *q = (ql_quantized){.elements = t->elements};
    QL_TRY(ql_dense_view(&view, t));
    QL_TRY_DONE(allocate(q, block, double_quant));
    bad = ql_quantize_dense(q->packed, q->absmax, &view, book, block);
    if (bad != SIZE_MAX) {
        st = ql_not_finite(t, bad);
    }
done:
    return finish(q, double_quant, st);
}

/* Rows of a matrix that is cols wide, so many that blocks end with them. */
static size_t whole_blocks(size_t cols, size_t block)
{
    size_t rows = 1;

    while (rows < block && rows * cols % block != 0) {
        rows *= 2; /* block is a power of two */
    }
    return rows;
}

/* The panel of the transpose that begins with a column of w. x has room for
 * its rows. */
static ql_status turn_panel(ql_quantized *q, const ql_tensor *t,
                            const ql_qtensor *w, size_t col, size_t rows,
                            ql_codebook_id book, size_t block, float *x)
{
    const ql_qtensor panel = ql_qtensor_dense(x, rows, w->rows);
    const size_t start = col * w->rows;
    size_t bad;

    ql_qtensor_columns(x, w, col, rows);
    bad = ql_quantize_dense((uint8_t *)q->packed + start / 2,
                            (float *)q->absmax + start / block, &panel, book,
                            block);
    return bad == SIZE_MAX ? QL_OK
                           : ql_not_finite(t, bad % w->rows * w->cols + col +
                                                  bad / w->rows);
}

static ql_status turn_panels(ql_quantized *q, const ql_tensor *t,
                             const ql_qtensor *w, ql_codebook_id book,
                             size_t block)
{
    const size_t step = whole_blocks(w->rows, block);
    const size_t room = PANEL < q->elements / 8 ? PANEL : q->elements / 8;
    const size_t some = room / w->rows / step * step;
    const size_t most = some > 0 ? some : step;
    const size_t rows = most < w->cols ? most : w->cols;
    float *x = ql_alloc(QL_TAG_WORK, rows * w->rows, sizeof(float));
    ql_status st = x ? QL_OK : QL_ENOMEM;

    for (size_t col = 0; st == QL_OK && col < w->cols; col += rows) {
        const size_t n = w->cols - col < rows ? w->cols - col : rows;

        st = turn_panel(q, t, w, col, n, book, block, x);
    }
    ql_free(x);
    return st;
}

ql_status ql_quantized_turned(ql_quantized *q, const ql_tensor *t,
                              ql_codebook_id book, size_t block,
                              bool double_quant)
{
    ql_status st;
    ql_qtensor w;

    *q = (ql_quantized){.elements = t->elements};
    QL_TRY(ql_dense_view(&w, t));
    QL_TRY_DONE(allocate(q, block, double_quant));
    QL_TRY_DONE(turn_panels(q, t, &w, book, block));
done:
    return finish(q, double_quant, st);
}

ql_qtensor ql_quantized_view(const ql_quantized *q, size_t rows, size_t cols,
                             ql_codebook_id book, size_t block, ql_dtype dtype)
{
    ql_qtensor view = {.rows = rows,
                       .cols = cols,
                       .storage = QL_STORAGE_4BIT,
                       .data = q->packed,
                       .block = block,
                       .absmax = q->absmax_u8 ? NULL : q->absmax,
                       .absmax_u8 = q->absmax_u8,
                       .nested_absmax = q->nested_absmax,
                       .nested_code = ql_dynamic_map,
                       .nested_block = QL_NESTED_BLOCK,
                       .offset = q->offset,
                       .round = ql_round_of(dtype)};

    memcpy(view.code, ql_codebooks[book], sizeof(view.code));
    return view;
}
