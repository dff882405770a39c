#include "src/model/weights.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quant/codec.h"
#include "src/base/fail.h"
#include "src/format/qstate.h"
#include "src/model/quantized.h"

enum {
    NAME_BYTES = 256
};

/* What one call of ql_weights_init carries around. */
typedef struct loader {
    ql_weights *w;
    const ql_config *c;
    const ql_load *load;
} loader;

/* Makes a block live as long as the weights; takes it over in any case. */
static ql_status own(ql_weights *w, void *block)
{
    void **grown =
        ql_realloc(QL_TAG_MISC, w->owned, w->n_owned + 1, sizeof(void *));

    if (!grown || !block) {
        w->owned = grown ? grown : w->owned;
        ql_free(block);
        return QL_ENOMEM;
    }
    w->owned = grown;
    grown[w->n_owned++] = block;
    return QL_OK;
}

static ql_status need(const ql_weights *w, const char *name,
                      const ql_tensor **t)
{
    *t = ql_shards_find(w->shards, name);
    if (!*t) {
        QL_FAIL(QL_ENOTFOUND, "the model has no tensor %s", name);
    }
    return QL_OK;
}

static ql_status check_shape(const ql_tensor *t, size_t rows, size_t cols)
{
    const size_t want[2] = {rows, cols};
    const size_t rank = cols > 0 ? 2 : 1;
    char is[QL_SHAPE_BYTES];
    char needed[QL_SHAPE_BYTES];

    if (t->rank == rank && memcmp(t->shape, want, rank * sizeof(*want)) == 0) {
        return QL_OK;
    }
    QL_FAIL(QL_EFORMAT,
            "tensor %s: shape %s does not fit config.json, which needs %s",
            t->name, ql_shape_print(is, t->shape, t->rank),
            ql_shape_print(needed, want, rank));
}

/* A vector in f32 of our own. */
static ql_status load_vector(loader *l, const char *name, size_t n, float **out)
{
    const ql_tensor *t;

    QL_TRY(need(l->w, name, &t));
    QL_TRY(check_shape(t, n, 0));
    *out = ql_alloc(QL_TAG_WEIGHTS, n, sizeof(float));
    QL_TRY(own(l->w, *out));
    l->w->bytes += n * sizeof(float);
    QL_TRY(ql_tensor_to_f32(*out, t));
    for (size_t i = 0; i < n; i++) {
        if (!isfinite((*out)[i])) {
            return ql_not_finite(t, i);
        }
    }
    return QL_OK;
}

/* A matrix as it is stored: a view of the mapped file. */
static ql_status load_dense(loader *l, const ql_tensor *t, size_t rows,
                            size_t cols, ql_qtensor *out)
{
    QL_TRY(check_shape(t, rows, cols));
    l->w->bytes += t->bytes;
    return ql_dense_view(out, t);
}

/* A tensor beside a 4-bit weight: "NAME.absmax" and the like, of n elements. */
static ql_status side_tensor(const loader *l, const char *name,
                             const char *suffix, ql_dtype dtype, size_t n,
                             const ql_tensor **t)
{
    char full[NAME_BYTES + 64];

    snprintf(full, sizeof(full), "%s.%s", name, suffix);
    QL_TRY(need(l->w, full, t));
    if ((*t)->dtype != dtype || (*t)->elements != n) {
        QL_FAIL(QL_EFORMAT, "tensor %s: must be %zu elements of %s", full, n,
                ql_dtype_name(dtype));
    }
    return QL_OK;
}

/* The tensor's floats: in place where aligned, else a copy. */
static ql_status side_floats(loader *l, const char *name, const char *suffix,
                             size_t n, const float **out)
{
    const ql_tensor *t;
    float *copy;

    QL_TRY(side_tensor(l, name, suffix, QL_DTYPE_F32, n, &t));
    l->w->bytes += t->bytes;
    if ((uintptr_t)t->data % sizeof(float) == 0) {
        *out = (const float *)(const void *)t->data;
        return QL_OK;
    }
    copy = ql_alloc(QL_TAG_WEIGHTS, n, sizeof(float));
    QL_TRY(own(l->w, copy));
    memcpy(copy, t->data, n * sizeof(float));
    *out = copy;
    return QL_OK;
}

static ql_status load_scales(loader *l, const char *name, const ql_qstate *q,
                             size_t blocks, ql_qtensor *out)
{
    const ql_tensor *t;

    if (!q->nested) {
        return side_floats(l, name, "absmax", blocks, &out->absmax);
    }
    QL_TRY(side_tensor(l, name, "absmax", QL_DTYPE_U8, blocks, &t));
    l->w->bytes += t->bytes;
    out->absmax_u8 = t->data;
    out->nested_block = q->nested_block;
    out->offset = (float)q->nested_offset;
    QL_TRY(side_floats(l, name, "nested_quant_map", 256, &out->nested_code));
    return side_floats(l, name, "nested_absmax",
                       (blocks + q->nested_block - 1) / q->nested_block,
                       &out->nested_absmax);
}

/* A weight that the folder holds in 4 bits. */
static ql_status load_4bit(loader *l, const char *name, const ql_tensor *state,
                           size_t rows, size_t cols, ql_qtensor *out)
{
    const size_t n = rows * cols;
    const ql_tensor *t;
    const float *code;
    ql_qstate q;

    QL_TRY(ql_qstate_parse(&q, (const char *)state->data, state->bytes,
                           state->name));
    if (q.rows != rows || q.cols != cols) {
        QL_FAIL(QL_EFORMAT,
                "tensor %s: shape [%zu, %zu] does not fit config.json, which "
                "needs [%zu, %zu]",
                name, q.rows, q.cols, rows, cols);
    }
    QL_TRY(need(l->w, name, &t));
    if (t->bytes != (n + 1) / 2) {
        QL_FAIL(QL_EFORMAT,
                "tensor %s: %zu bytes, but [%zu, %zu] in 4 bits "
                "needs %zu",
                name, t->bytes, rows, cols, (n + 1) / 2);
    }
    QL_TRY(side_floats(l, name, "quant_map", 16, &code));
    *out = (ql_qtensor){.rows = rows,
                        .cols = cols,
                        .storage = QL_STORAGE_4BIT,
                        .data = t->data,
                        .block = q.block,
                        .round = ql_round_of(q.dtype)};
    memcpy(out->code, code, sizeof(out->code));
    l->w->bytes += t->bytes;
    return load_scales(l, name, &q, (n + q.block - 1) / q.block, out);
}

/* Hands a part of a quantized weight over to the weights. */
static ql_status own_part(ql_weights *w, void **part)
{
    void *block = *part;

    *part = NULL;
    return own(w, block);
}

static ql_status own_quantized(ql_weights *w, ql_quantized *q)
{
    w->quantized++;
    w->bytes += ql_codec_packed_bytes(q->elements);
    QL_TRY(own_part(w, &q->packed));
    if (!q->absmax_u8) {
        w->bytes += q->blocks * sizeof(float);
        return own_part(w, &q->absmax);
    }
    w->bytes += q->blocks + q->nested_blocks * sizeof(float);
    QL_TRY(own_part(w, &q->absmax_u8));
    return own_part(w, &q->nested_absmax);
}

/* A weight that the folder holds in 16 or 32 bits, in 4. */
static ql_status quantize(loader *l, const ql_tensor *t, size_t rows,
                          size_t cols, ql_qtensor *out)
{
    const ql_load *load = l->load;
    ql_quantized q;
    ql_status st;

    QL_TRY(check_shape(t, rows, cols));
    QL_TRY(
        ql_quantized_init(&q, t, load->book, load->block, load->double_quant));
    *out = ql_quantized_view(&q, rows, cols, load->book, load->block, t->dtype);
    st = own_quantized(l->w, &q);
    ql_quantized_free(&q);
    ql_shards_drop(l->w->shards, t);
    return st;
}

/* A matrix as the folder holds it: in 4 bits or dense. */
static ql_status load_matrix(loader *l, const char *name, size_t rows,
                             size_t cols, ql_qtensor *out)
{
    const ql_tensor *state = ql_qstate_find(l->w->shards, name);
    const ql_tensor *t;

    if (state) {
        return load_4bit(l, name, state, rows, cols, out);
    }
    QL_TRY(need(l->w, name, &t));
    return load_dense(l, t, rows, cols, out);
}

static ql_status load_linear(loader *l, const char *prefix, ql_module m,
                             ql_layer *layer)
{
    char name[NAME_BYTES];
    ql_qtensor *out = &layer->linear[m].w;
    const ql_tensor *t;
    float *bias;
    size_t rows;
    size_t cols;

    ql_config_module(l->c, m, &rows, &cols);
    snprintf(name, sizeof(name), "%s.%s.bias", prefix, ql_module_paths[m]);
    if (l->c->bias & 1U << m) {
        QL_TRY(load_vector(l, name, rows, &bias));
        layer->linear[m].bias = bias;
    } else if (ql_shards_find(l->w->shards, name)) {
        QL_FAIL(QL_EUNSUPPORTED,
                "tensor %s: config.json says that this layer has no bias",
                name);
    }
    snprintf(name, sizeof(name), "%s.%s.weight", prefix, ql_module_paths[m]);
    if (l->load->quantize && !l->c->quantized &&
        !ql_qstate_find(l->w->shards, name)) {
        QL_TRY(need(l->w, name, &t));
        return quantize(l, t, rows, cols, out);
    }
    QL_TRY(load_matrix(l, name, rows, cols, out));
    l->w->quantized += out->storage == QL_STORAGE_4BIT;
    return QL_OK;
}

static ql_status load_layer(loader *l, size_t i)
{
    ql_layer *layer = &l->w->layers[i];
    char prefix[64];
    char name[NAME_BYTES];

    snprintf(prefix, sizeof(prefix), "model.layers.%zu", i);
    snprintf(name, sizeof(name), "%s.input_layernorm.weight", prefix);
    QL_TRY(load_vector(l, name, l->c->C, &layer->attn_norm));
    snprintf(name, sizeof(name), "%s.post_attention_layernorm.weight", prefix);
    QL_TRY(load_vector(l, name, l->c->C, &layer->mlp_norm));
    for (int m = 0; m < QL_MODULES; m++) {
        QL_TRY(load_linear(l, prefix, (ql_module)m, layer));
    }
    return QL_OK;
}

static ql_status load_ends(loader *l)
{
    const ql_config *c = l->c;

    QL_TRY(
        load_matrix(l, "model.embed_tokens.weight", c->V, c->C, &l->w->embed));
    QL_TRY(load_vector(l, "model.norm.weight", c->C, &l->w->final_norm));
    if (c->tied) {
        l->w->head = l->w->embed;
        return QL_OK;
    }
    return load_matrix(l, "lm_head.weight", c->V, c->C, &l->w->head);
}

ql_status ql_weights_init(ql_weights *w, const ql_config *c, const char *dir,
                          const ql_load *load)
{
    loader l = {.w = w, .c = c, .load = load};
    ql_status st;

    *w = (ql_weights){.n_layers = c->layers};
    w->layers = ql_calloc(QL_TAG_MISC, c->layers, sizeof(*w->layers));
    if (!w->layers) {
        return QL_ENOMEM;
    }
    QL_TRY_DONE(ql_shards_open(&w->shards, dir));
    QL_TRY_DONE(load_ends(&l));
    for (size_t i = 0; i < c->layers; i++) {
        QL_TRY_DONE(load_layer(&l, i));
    }
done:
    if (st != QL_OK) {
        ql_weights_free(w);
        return ql_fail_prefix(st, "%s: ", dir);
    }
    return QL_OK;
}

void ql_weights_free(ql_weights *w)
{
    for (size_t i = 0; i < w->n_owned; i++) {
        ql_free(w->owned[i]);
    }
    ql_free(w->owned);
    ql_free(w->layers);
    ql_shards_close(&w->shards);
    *w = (ql_weights){0};
}
