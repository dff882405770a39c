#include "src/train/identity_model.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/base/crc.h"
#include "src/base/fail.h"
#include "src/base/map.h"

uint32_t ql_identity_array(uint32_t crc, const void *data, size_t bytes)
{
    const char *p = data;

    crc = ql_crc32_size(crc, bytes);
    if (bytes <= QL_SUM_WHOLE) {
        return bytes > 0 ? ql_crc32(crc, p, bytes) : crc;
    }
    for (size_t i = 0; i < QL_SUM_PLACES; i++) {
        const size_t room = bytes - QL_SUM_PIECE;
        const size_t at = room / (QL_SUM_PLACES - 1) * i;
        const char *piece = p + (i + 1 < QL_SUM_PLACES ? at : room);

        ql_map_peek(piece, QL_SUM_PIECE);
        crc = ql_crc32(crc, piece, QL_SUM_PIECE);
    }
    return crc;
}

static uint32_t add_floats(uint32_t crc, const float *x, size_t n)
{
    return ql_identity_array(crc, x, x ? n * sizeof(*x) : 0);
}

/* The scales of a matrix in 4 bits. */
static uint32_t add_scales(uint32_t crc, const ql_qtensor *w)
{
    const size_t blocks = (w->rows * w->cols + w->block - 1) / w->block;

    crc = ql_crc32_size(crc, w->block);
    crc = add_floats(crc, w->code, 16);
    if (w->absmax) {
        return add_floats(crc, w->absmax, blocks);
    }
    crc = ql_crc32_size(crc, w->nested_block);
    crc = ql_identity_array(crc, w->absmax_u8, blocks);
    crc = add_floats(crc, w->nested_absmax,
                     (blocks + w->nested_block - 1) / w->nested_block);
    crc = add_floats(crc, w->nested_code, 256);
    return add_floats(crc, &w->offset, 1);
}

static uint32_t add_matrix(uint32_t crc, const ql_qtensor *w)
{
    static const size_t halves[QL_STORAGE_COUNT] = {
        [QL_STORAGE_4BIT] = 1,
        [QL_STORAGE_F32] = 8,
        [QL_STORAGE_BF16] = 4,
        [QL_STORAGE_F16] = 4,
    };
    const size_t bytes = (w->rows * w->cols * halves[w->storage] + 1) / 2;

    crc = ql_crc32_size(ql_crc32_size(ql_crc32_size(crc, w->rows), w->cols),
                        (size_t)w->storage);
    if (bytes == 0) {
        return crc;
    }
    crc = ql_identity_array(crc, w->data, bytes);
    return w->storage == QL_STORAGE_4BIT ? add_scales(crc, w) : crc;
}

static uint32_t add_norm(uint32_t crc, const ql_norm *n)
{
    crc = add_floats(crc, n->w, n->C);
    return add_floats(crc, n->b, n->C);
}

static uint32_t add_layer(uint32_t crc, const ql_layer *l)
{
    for (int i = 0; i < QL_NORMS; i++) {
        crc = add_norm(crc, &l->norm[i]);
    }
    for (int i = 0; i < QL_MODULES; i++) {
        crc = add_matrix(crc, &l->linear[i].w);
        crc = add_floats(crc, l->linear[i].bias, l->linear[i].w.rows);
    }
    return crc;
}

/* The rotation of positions, as it is. */
static ql_status add_rope(uint32_t *crc, const ql_rope_spec *rope, size_t len)
{
    double *freq = ql_alloc(QL_TAG_MISC, rope->dim / 2, sizeof(*freq));
    double factor;

    if (!freq) {
        return QL_ENOMEM;
    }
    factor = ql_rope_frequencies(freq, rope, len);
    *crc = ql_crc32(*crc, &factor, sizeof(factor));
    *crc = ql_crc32(*crc, freq, rope->dim / 2 * sizeof(*freq));
    ql_free(freq);
    return QL_OK;
}

/* What config.json says that the matrices do not show. */
static ql_status add_config(uint32_t *crc, const ql_config *c)
{
    const size_t counts[] = {c->layers, c->H,        c->KV,
                             c->D,      c->parallel, (size_t)c->act};
    const float factors[] = {c->eps, c->embed_scale, c->score_scale,
                             c->score_cap, c->logit_cap};
    const char *type = c->arch->model_type;

    *crc = ql_crc32(*crc, type, strlen(type));
    *crc = ql_crc32(*crc, counts, sizeof(counts));
    *crc = ql_crc32(*crc, factors, sizeof(factors));
    for (size_t i = 0; i < c->layers; i++) {
        *crc = ql_crc32_size(ql_crc32_size(*crc, c->layer[i].window),
                             (size_t)c->layer[i].rope);
    }
    for (size_t i = 0; i < QL_ROPES; i++) {
        if (c->rope[i].dim > 0) {
            QL_TRY(add_rope(crc, &c->rope[i], c->max_position));
        }
    }
    return QL_OK;
}

ql_status ql_identity_model(uint32_t *crc, const ql_model *m)
{
    const ql_weights *w = &m->weights;

    *crc = add_matrix(0, &w->base_embed);
    *crc = add_matrix(*crc, &w->base_head);
    *crc = add_floats(*crc, w->head.bias, w->base_head.rows);
    *crc = add_matrix(*crc, &w->position.w);
    *crc = add_norm(*crc, &w->final_norm);
    for (size_t i = 0; i < w->n_layers; i++) {
        *crc = add_layer(*crc, &w->layers[i]);
    }
    return add_config(crc, &m->config);
}
