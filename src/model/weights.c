#include "src/model/weights.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quant/codec.h"
#include "src/base/fail.h"
#include "src/format/qstate.h"
#include "src/model/packed.h"
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

/* Hands a part of a quantized weight over to the weights. */
static ql_status own_part(ql_weights *w, void **part)
{
    void *block = *part;

    *part = NULL;
    return own(w, block);
}

/* A weight that the folder holds in 4 bits, which it is said to do. */
static ql_status load_4bit(loader *l, const char *name, size_t rows,
                           size_t cols, ql_qtensor *out)
{
    ql_packed p;
    bool found;
    ql_status st;

    QL_TRY(ql_packed_init(&p, l->w->shards, name, &found));
    st = QL_OK;
    *out = p.w;
    l->w->bytes += p.bytes;
    if (p.w.rows != rows || p.w.cols != cols) {
        st = ql_fail(QL_EFORMAT,
                     "tensor %s: shape [%zu, %zu] does not fit config.json, "
                     "which needs [%zu, %zu]",
                     name, p.w.rows, p.w.cols, rows, cols);
    }
    for (size_t i = 0; st == QL_OK && i < QL_PACKED_COPIES; i++) {
        st = p.copies[i] ? own_part(l->w, &p.copies[i]) : QL_OK;
    }
    ql_packed_free(&p);
    return st;
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
    const ql_tensor *t;

    if (ql_qstate_find(l->w->shards, name)) {
        return load_4bit(l, name, rows, cols, out);
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
