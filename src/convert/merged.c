#include "src/convert/merged.h"

#include <math.h>

#include "quant/codec.h"
#include "src/base/fail.h"
#include "src/convert/merged_items.h"
#include "src/model/transposed.h"
#include "src/op/fold.h"

enum {
    PANEL = 1 << 20 /* floats that are worked on at a time */
};

bool ql_merged_untouched(const ql_merged_item *item)
{
    return !item->pair && !item->packed && !item->requantize;
}

/* The pair as it changes the rows that are had: where those are [in, out],
 * both are turned and change places. */
static ql_status open_pair(ql_merged *m, const ql_merged_item *item)
{
    const ql_adapter_pair *p = item->pair;
    const ql_tensor *left = m->crossed ? &p->a : &p->b;
    const ql_tensor *right = m->crossed ? &p->b : &p->a;

    m->b = ql_alloc(QL_TAG_WORK, left->elements, sizeof(float));
    m->a = ql_alloc(QL_TAG_WORK, right->elements, sizeof(float));
    if (!m->a || !m->b) {
        return QL_ENOMEM;
    }
    QL_TRY((m->crossed ? ql_tensor_turn : ql_tensor_to_f32)(m->b, left));
    return (m->crossed ? ql_tensor_turn : ql_tensor_to_f32)(m->a, right);
}

/* Rows without DoRA's last step. */
static ql_status read_rows(const ql_merged *m, size_t row, size_t n, float *out)
{
    const ql_merged_item *item = m->open;
    const size_t first = row * m->cols;
    const size_t count = n * m->cols;

    if (m->view.rows == 0) {
        const ql_tensor part = ql_tensor_slice(&m->source, first, count);

        QL_TRY(ql_tensor_to_f32(out, &part));
    } else if (m->across) {
        ql_qtensor_columns(out, &m->view, row, n);
    } else {
        ql_dequantize(out, &m->view, first, count);
    }
    if (item->pair) {
        ql_fold(out, n, m->cols, m->b + row * item->pair->r, m->a,
                item->pair->r, item->pair->scale);
    }
    return QL_OK;
}

size_t ql_merged_panel(const ql_merged *m)
{
    const size_t part = m->open->elements / 4;
    const size_t room = part < PANEL ? part : PANEL;

    return room > m->cols ? room / m->cols : 1;
}

/* magnitude / norm of each column of a weight that is had as [in, out]. */
static ql_status open_columns(ql_merged *m)
{
    const size_t panel = ql_merged_panel(m);
    float *x = ql_alloc(QL_TAG_WORK, panel * m->cols, sizeof(float));
    ql_status st = QL_ENOMEM;

    m->gain = ql_calloc(QL_TAG_WORK, m->cols, sizeof(double));
    if (x && m->gain) {
        st = QL_OK;
    }
    for (size_t i = 0; st == QL_OK && i < m->rows; i += panel) {
        const size_t n = m->rows - i < panel ? m->rows - i : panel;

        st = read_rows(m, i, n, x);
        ql_fold_squares(m->gain, x, n, m->cols);
    }
    for (size_t j = 0; st == QL_OK && j < m->cols; j++) {
        m->gain[j] =
            m->gain[j] > 0 ? (double)m->magnitude[j] / sqrt(m->gain[j]) : 0;
    }
    ql_free(x);
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
    return m->crossed ? open_columns(m) : QL_OK;
}

/* Quantizes a tensor as training does; one that is [in, out], as [out, in]. */
static ql_status requantize(ql_merged *m, const ql_merged_item *item)
{
    const ql_quant_options *q = &m->base.quant;
    const ql_codebook_id book =
        q->type == QL_QUANT_FP4 ? QL_CODEBOOK_FP4 : QL_CODEBOOK_NF4;
    const bool turn = item->conv1d;

    QL_TRY((turn ? ql_quantized_turned : ql_quantized_init)(
        &m->quantized, &m->source, book, q->block_size, q->double_quant));
    m->view = ql_quantized_view(&m->quantized, turn ? item->cols : item->rows,
                                turn ? item->rows : item->cols, book,
                                q->block_size, item->base->dtype);
    return QL_OK;
}

/* The weight as a frozen matrix, where it is one or is to be turned. */
static ql_status open_view(ql_merged *m, const ql_merged_item *item, bool turn)
{
    bool found;

    m->across = turn != item->conv1d;
    if (item->packed) {
        QL_TRY(ql_packed_init(&m->codes, m->shards, item->base->name, &found));
        m->view = m->codes.w;
        return QL_OK;
    }
    if (item->requantize) {
        return requantize(m, item);
    }
    m->across = turn;
    return turn ? ql_dense_view(&m->view, &m->source) : QL_OK;
}

ql_status ql_merged_open(ql_merged *m, const ql_merged_item *item, bool turn)
{
    ql_status st;

    m->open = item;
    m->rows = turn ? item->cols : item->rows;
    m->cols = turn ? item->rows : item->cols;
    m->crossed = item->turned != turn;
    QL_TRY_DONE(ql_shards_whole(&m->source, &m->parts, m->shards,
                                item->whole ? item->whole : item->base));
    QL_TRY_DONE(open_view(m, item, turn));
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
    QL_TRY(read_rows(m, row, n, out));
    if (m->gain) {
        ql_fold_columns(out, n, m->cols, m->gain);
    } else if (m->magnitude) {
        ql_fold_rows(out, n, m->cols, m->magnitude + row);
    }
    for (size_t i = 0; i < n * m->cols; i++) {
        if (!isfinite(out[i])) {
            QL_FAIL(QL_EFORMAT,
                    "tensor %s: row %zu of %zu has an element that is not "
                    "finite; the model or the adapter is damaged",
                    m->open->name, row + i / m->cols, m->rows);
        }
    }
    return QL_OK;
}

void ql_merged_close(ql_merged *m)
{
    if (m->open) {
        ql_shards_drop(m->shards, m->open->base);
    }
    ql_free(m->a);
    ql_free(m->b);
    ql_free(m->magnitude);
    ql_free(m->gain);
    ql_free(m->parts);
    m->parts = NULL;
    ql_packed_free(&m->codes);
    ql_quantized_free(&m->quantized);
    m->a = m->b = m->magnitude = NULL;
    m->gain = NULL;
    m->view = (ql_qtensor){0};
    m->open = NULL;
}

ql_status ql_merged_init(ql_merged *m, const char *dir,
                         ql_adapter_folder *adapter, const ql_merged_base *base)
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
    for (size_t i = 0; i < m->n; i++) {
        ql_free(m->items[i].made);
    }
    ql_free(m->items);
    ql_shards_close(&m->shards);
    *m = (ql_merged){0};
}
