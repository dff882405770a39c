#include "src/convert/merged.h"

#include <math.h>

#include "quant/codec.h"
#include "src/base/fail.h"
#include "src/convert/merged_items.h"
#include "src/op/fold.h"

bool ql_merged_untouched(const ql_merged_item *item)
{
    return !item->pair && !item->packed && !item->requantize;
}

/* The pair as it changes the weight as it is stored: where that is [in, out],
 * both are turned and change places. */
static ql_status open_pair(ql_merged *m, const ql_merged_item *item)
{
    const ql_adapter_pair *p = item->pair;
    const ql_tensor *left = item->turned ? &p->a : &p->b;
    const ql_tensor *right = item->turned ? &p->b : &p->a;

    m->b = ql_alloc(QL_TAG_WORK, left->elements, sizeof(float));
    m->a = ql_alloc(QL_TAG_WORK, right->elements, sizeof(float));
    if (!m->a || !m->b) {
        return QL_ENOMEM;
    }
    QL_TRY((item->turned ? ql_tensor_turn : ql_tensor_to_f32)(m->b, left));
    return (item->turned ? ql_tensor_turn : ql_tensor_to_f32)(m->a, right);
}

/* Rows without DoRA's last step. */
static ql_status read_rows(const ql_merged *m, size_t row, size_t n, float *out)
{
    const ql_merged_item *item = m->open;
    const ql_tensor *t = item->whole ? item->whole : item->base;
    const size_t first = row * item->cols;
    const size_t count = n * item->cols;
    const ql_tensor part = ql_tensor_slice(t, first, count);

    if (m->view.rows > 0) {
        ql_dequantize(out, &m->view, first, count);
    } else {
        QL_TRY(ql_tensor_to_f32(out, &part));
    }
    if (item->pair) {
        ql_fold(out, n, item->cols, m->b + row * item->pair->r, m->a,
                item->pair->r, item->pair->scale);
    }
    return QL_OK;
}

/* magnitude / norm of each column of a weight stored [in, out]. */
static ql_status open_columns(ql_merged *m)
{
    const size_t cols = m->open->cols;
    float *row = ql_alloc(QL_TAG_WORK, cols, sizeof(float));
    ql_status st = QL_ENOMEM;

    m->gain = ql_calloc(QL_TAG_WORK, cols, sizeof(double));
    if (row && m->gain) {
        st = QL_OK;
    }
    for (size_t i = 0; st == QL_OK && i < m->open->rows; i++) {
        st = read_rows(m, i, 1, row);
        ql_fold_squares(m->gain, row, 1, cols);
    }
    for (size_t j = 0; st == QL_OK && j < cols; j++) {
        m->gain[j] =
            m->gain[j] > 0 ? (double)m->magnitude[j] / sqrt(m->gain[j]) : 0;
    }
    ql_free(row);
    return st;
}

static ql_status open_magnitude(ql_merged *m)
{
    const ql_tensor *t = &m->open->pair->magnitude;

    m->magnitude = ql_alloc(QL_TAG_WORK, t->elements, sizeof(float));
    if (!m->magnitude) {
        return QL_ENOMEM;
    }
    QL_TRY(ql_tensor_to_f32(m->magnitude, t));
    return m->open->turned ? open_columns(m) : QL_OK;
}

/* The transpose of the view, and the view of that. */
static ql_status turn_view(ql_merged *m)
{
    const size_t rows = m->view.rows;
    const size_t cols = m->view.cols;
    float *row = ql_alloc(QL_TAG_WORK, cols, sizeof(float));

    m->plain = ql_alloc(QL_TAG_WORK, rows * cols, sizeof(float));
    if (!row || !m->plain) {
        ql_free(row);
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < rows; i++) {
        ql_dequantize(row, &m->view, i * cols, cols);
        for (size_t j = 0; j < cols; j++) {
            m->plain[j * rows + i] = row[j];
        }
    }
    ql_free(row);
    m->view = ql_qtensor_dense(m->plain, cols, rows);
    return QL_OK;
}

/* Quantizes a tensor as training does; one that is [in, out], as [out, in]. */
static ql_status requantize(ql_merged *m, const ql_merged_item *item)
{
    const ql_quant_options *q = &m->base.quant;
    const ql_codebook_id book =
        q->type == QL_QUANT_FP4 ? QL_CODEBOOK_FP4 : QL_CODEBOOK_NF4;
    const bool turn = item->conv1d;
    ql_tensor t = *item->base;
    float *turned = NULL;
    ql_status st = QL_OK;

    if (turn) {
        turned = ql_alloc(QL_TAG_WORK, t.elements, sizeof(float));
        st = turned ? ql_tensor_turn(turned, &t) : QL_ENOMEM;
        t.dtype = QL_DTYPE_F32;
        t.data = (const unsigned char *)turned;
    }
    if (st == QL_OK) {
        st = ql_quantized_init(&m->quantized, &t, book, q->block_size,
                               q->double_quant);
    }
    m->view = ql_quantized_view(&m->quantized, turn ? item->cols : item->rows,
                                turn ? item->rows : item->cols, book,
                                q->block_size, item->base->dtype);
    ql_free(turned);
    return st;
}

/* The weight as a frozen matrix, where it is one. */
static ql_status open_view(ql_merged *m, const ql_merged_item *item)
{
    bool found;

    if (item->packed) {
        QL_TRY(ql_packed_init(&m->codes, m->shards, item->base->name, &found));
        m->view = m->codes.w;
    } else if (item->requantize) {
        QL_TRY(requantize(m, item));
    } else {
        return QL_OK;
    }
    return item->conv1d ? turn_view(m) : QL_OK;
}

ql_status ql_merged_open(ql_merged *m, const ql_merged_item *item)
{
    ql_status st;

    m->open = item;
    QL_TRY_DONE(open_view(m, item));
    if (item->pair) {
        QL_TRY_DONE(open_pair(m, item));
        if (item->pair->magnitude.name) {
            st = open_magnitude(m);
        }
    }
done:
    if (st != QL_OK) {
        ql_merged_close(m);
    }
    return st;
}

ql_status ql_merged_rows(ql_merged *m, size_t row, size_t n, float *out)
{
    const ql_merged_item *item = m->open;

    QL_TRY(read_rows(m, row, n, out));
    if (m->gain) {
        ql_fold_columns(out, n, item->cols, m->gain);
    } else if (m->magnitude) {
        ql_fold_rows(out, n, item->cols, m->magnitude + row);
    }
    for (size_t i = 0; i < n * item->cols; i++) {
        if (!isfinite(out[i])) {
            QL_FAIL(QL_EFORMAT,
                    "tensor %s: element %zu is not finite; the model or the "
                    "adapter is damaged",
                    item->name, row * item->cols + i);
        }
    }
    return QL_OK;
}

void ql_merged_close(ql_merged *m)
{
    if (m->open) {
        ql_shards_drop(m->shards, m->open->base);
    }
    ql_free(m->plain);
    ql_free(m->a);
    ql_free(m->b);
    ql_free(m->magnitude);
    ql_free(m->gain);
    ql_packed_free(&m->codes);
    ql_quantized_free(&m->quantized);
    m->plain = m->a = m->b = m->magnitude = NULL;
    m->gain = NULL;
    m->view = (ql_qtensor){0};
    m->open = NULL;
}

ql_status ql_merged_init(ql_merged *m, const char *dir,
                         const ql_adapter_folder *adapter,
                         const ql_merged_base *base)
{
    ql_status st;

    *m = (ql_merged){.base = *base};
    QL_TRY_DONE(ql_shards_open(&m->shards, dir));
    st = ql_merged_list(m, dir, adapter);
done:
    if (st != QL_OK) {
        ql_merged_free(m);
    }
    return st;
}

void ql_merged_free(ql_merged *m)
{
    ql_merged_close(m);
    ql_free(m->items);
    ql_shards_close(&m->shards);
    *m = (ql_merged){0};
}
