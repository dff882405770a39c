#include "src/model/weights.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "quant/codec.h"
#include "src/base/fail.h"
#include "src/base/note.h"
#include "src/base/rng.h"
#include "src/format/names.h"
#include "src/format/qstate.h"
#include "src/model/fusion.h"
#include "src/model/packed.h"
#include "src/model/quantized.h"
#include "src/model/strange.h"
#include "src/model/transposed.h"

enum {
    HEAD_KEY = 1, /* of a head that begins at random, and a pooler */
    POOLER_KEY = 2,
    PATH_BYTES = 200,
    NAME_BYTES = 256
};

/* What one call of ql_weights_init carries around. */
typedef struct loader {
    ql_weights *w;
    const ql_config *c;
    const ql_load *load;
} loader;

ql_status ql_weights_own(ql_weights *w, void *block)
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

void ql_weights_disown(ql_weights *w, const void *block)
{
    for (size_t i = 0; block && i < w->n_owned; i++) {
        if (w->owned[i] == block) {
            ql_free(w->owned[i]);
            w->owned[i] = w->owned[--w->n_owned];
            return;
        }
    }
}

void ql_weights_path(const ql_weights *w, const ql_arch *arch, size_t layer,
                     ql_module module, char *path, size_t bytes)
{
    snprintf(path, bytes, "%s%s.%zu.%s", w->base, arch->names->layers, layer,
             arch->names->module[module]);
}

bool ql_weights_maps(const ql_weights *w, const void *p)
{
    return ql_shards_maps(w->shards, p) || ql_scratch_maps(w->scratch, p);
}

static ql_status need(const ql_weights *w, const char *name,
                      const ql_tensor **t)
{
    *t = ql_shards_find(w->shards, name);
    if (*t) {
        return QL_OK;
    }
    for (size_t i = 0; i < ql_shards_count(w->shards); i++) {
        const char *other = ql_shards_at(w->shards, i)->name;

        if (ql_name_ends(other, name) &&
            other[strlen(other) - strlen(name) - 1] == '.') {
            QL_FAIL(QL_ENOTFOUND,
                    "the model has no tensor %s but %s: rename its tensors, "
                    "without \"%.*s\" before their names",
                    name, other, (int)(strlen(other) - strlen(name)), other);
        }
    }
    QL_FAIL(QL_ENOTFOUND, "the model has no tensor %s", name);
}

static ql_status check_shape(const ql_tensor *t, size_t rows, size_t cols)
{
    const size_t want[2] = {rows, cols};
    const size_t rank = cols > 0 ? 2 : 1;
    const bool packed = rank == 2 && t->rank == 2 && t->shape[1] == 1 &&
                        t->bytes == (rows * cols + 1) / 2;
    char is[QL_SHAPE_BYTES];
    char needed[QL_SHAPE_BYTES];

    if (t->rank == rank && memcmp(t->shape, want, rank * sizeof(*want)) == 0) {
        return QL_OK;
    }
    QL_FAIL(QL_EFORMAT,
            "tensor %s: shape %s does not fit config.json, which needs %s%s",
            t->name, ql_shape_print(is, t->shape, t->rank),
            ql_shape_print(needed, want, rank),
            packed ? "; it seems to be in 4 bits, but its "
                     "quant_state.bitsandbytes__* is missing"
                   : "");
}

/* A vector in f32 of our own, with plus added to each element. */
static ql_status load_vector(loader *l, const char *name, size_t n, float plus,
                             const float **out)
{
    const ql_tensor *t;
    float *x;

    QL_TRY(need(l->w, name, &t));
    QL_TRY(check_shape(t, n, 0));
    x = ql_alloc(QL_TAG_WEIGHTS, n, sizeof(float));
    QL_TRY(ql_weights_own(l->w, x));
    l->w->bytes += n * sizeof(float);
    QL_TRY(ql_tensor_to_f32(x, t));
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return ql_not_finite(t, i);
        }
        x[i] += plus;
    }
    *out = x;
    return QL_OK;
}

/* The weights of a norm of n elements. Old files of BERT call them gamma and
 * beta. */
static ql_status load_norm(loader *l, const char *path, size_t n, ql_norm *out)
{
    char name[NAME_BYTES];
    bool old;

    *out = (ql_norm){.C = n, .eps = l->c->eps};
    snprintf(name, sizeof(name), "%s.gamma", path);
    old = ql_shards_find(l->w->shards, name);
    snprintf(name, sizeof(name), "%s.%s", path, old ? "gamma" : "weight");
    QL_TRY(load_vector(l, name, n, l->c->arch->norm_plus_one ? 1 : 0, &out->w));
    if (!l->c->arch->layer_norm) {
        return QL_OK;
    }
    snprintf(name, sizeof(name), "%s.%s", path, old ? "beta" : "bias");
    return load_vector(l, name, n, 0, &out->b);
}

/* A matrix as it is stored: a view of the mapped file. */
static ql_status load_dense(loader *l, const ql_tensor *t, size_t rows,
                            size_t cols, ql_qtensor *out)
{
    QL_TRY(check_shape(t, rows, cols));
    l->w->bytes += t->bytes;
    return ql_dense_view(out, t);
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
        void *copy = p.copies[i];

        p.copies[i] = NULL;
        st = copy ? ql_weights_own(l->w, copy) : QL_OK;
    }
    ql_packed_free(&p);
    return st;
}

/* Hands n bytes at *part over to the weights, or to their file; *kept is where
 * they are then. */
static ql_status own_part(ql_weights *w, void **part, size_t n, void **kept)
{
    void *block = *part;
    const void *at;
    ql_status st;

    *part = NULL;
    if (!w->scratch) {
        *kept = block;
        return ql_weights_own(w, block);
    }
    st = ql_scratch_put(w->scratch, block, n, &at);
    *kept = st == QL_OK ? (void *)(uintptr_t)at : NULL;
    ql_free(block);
    return st;
}

static ql_status own_quantized(ql_weights *w, ql_quantized *q,
                               ql_quantized *kept)
{
    const size_t packed = ql_codec_packed_bytes(q->elements);
    const size_t scales = q->blocks * sizeof(float);
    const size_t nested = q->nested_blocks * sizeof(float);

    *kept = *q;
    w->quantized++;
    w->bytes += packed;
    QL_TRY(own_part(w, &q->packed, packed, &kept->packed));
    if (!q->absmax_u8) {
        w->bytes += scales;
        return own_part(w, &q->absmax, scales, &kept->absmax);
    }
    w->bytes += q->blocks + nested;
    QL_TRY(own_part(w, &q->absmax_u8, q->blocks, &kept->absmax_u8));
    return own_part(w, &q->nested_absmax, nested, &kept->nested_absmax);
}

/* A weight that the folder holds in 16 or 32 bits, in 4; turned: [in, out]. */
static ql_status quantize(loader *l, const ql_tensor *t, size_t rows,
                          size_t cols, bool turned, ql_qtensor *out)
{
    const ql_load *load = l->load;
    ql_quantized q;
    ql_quantized kept;
    ql_tensor whole;
    void *data;
    ql_status st;

    QL_TRY(ql_shards_whole(&whole, &data, l->w->shards, t));
    st = (turned ? ql_quantized_turned : ql_quantized_init)(
        &q, &whole, load->book, load->block, load->double_quant);
    ql_free(data);
    QL_TRY(st);
    st = own_quantized(l->w, &q, &kept);
    *out =
        ql_quantized_view(&kept, rows, cols, load->book, load->block, t->dtype);
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

/* True if weights in 16 or 32 bits are to become 4-bit while loading. */
static bool to_quantize(const loader *l)
{
    return l->load->quantize && !l->c->quantized;
}

static ql_status load_bias(loader *l, const char *path, bool there, size_t rows,
                           const float **out)
{
    char name[NAME_BYTES];

    snprintf(name, sizeof(name), "%s.bias", path);
    return there ? load_vector(l, name, rows, 0, out) : QL_OK;
}

/* A weight that the folder holds in 16 or 32 bits: in 4 bits if it is to be,
 * else as it is. */
static ql_status load_plain(loader *l, const char *name, size_t rows,
                            size_t cols, ql_qtensor *out)
{
    const bool turn = l->c->arch->transposed;
    const ql_tensor *t;
    ql_tensor made;
    void *data;
    void *kept;

    QL_TRY(need(l->w, name, &t));
    QL_TRY(turn ? check_shape(t, cols, rows) : check_shape(t, rows, cols));
    if (l->load->check) {
        return ql_dense_view(out, t);
    }
    if (to_quantize(l)) {
        return quantize(l, t, rows, cols, turn, out);
    }
    QL_TRY(turn ? ql_tensor_transpose(&made, &data, t)
                : ql_shards_whole(&made, &data, l->w->shards, t));
    if (data) {
        ql_shards_drop(l->w->shards, t);
        QL_TRY(own_part(l->w, &data, made.bytes, &kept));
        made.data = kept;
    }
    return load_dense(l, &made, rows, cols, out);
}

/* The linear layer at path. */
static ql_status load_path(loader *l, const char *path, size_t rows,
                           size_t cols, ql_qtensor *out)
{
    char name[NAME_BYTES];

    snprintf(name, sizeof(name), "%s.weight", path);
    if (!ql_qstate_find(l->w->shards, name)) {
        return load_plain(l, name, rows, cols, out);
    }
    l->w->quantized++;
    return load_4bit(l, name, rows, cols, out);
}

static ql_status load_linear(loader *l, size_t i, ql_module m, ql_layer *layer)
{
    ql_linear *lin = &layer->linear[m];
    char path[PATH_BYTES];
    size_t rows;
    size_t cols;

    if (!ql_config_module(l->c, m, &rows, &cols)) {
        return QL_OK;
    }
    ql_weights_path(l->w, l->c->arch, i, m, path, sizeof(path));
    QL_TRY(load_bias(l, path, l->c->bias & 1U << m, rows, &lin->bias));
    return load_path(l, path, rows, cols, &lin->w);
}

static ql_status load_layer(loader *l, size_t i)
{
    ql_layer *layer = &l->w->layers[i];
    char path[PATH_BYTES];

    for (int p = 0; p < QL_NORMS; p++) {
        const size_t n = ql_config_norm(l->c, (ql_norm_place)p);

        if (n > 0) {
            snprintf(path, sizeof(path), "%s%s.%zu.%s", l->w->base,
                     l->c->arch->names->layers, i, l->c->arch->norm[p]);
            QL_TRY(load_norm(l, path, n, &layer->norm[p]));
        }
    }
    for (int m = 0; m < QL_MODULES; m++) {
        QL_TRY(load_linear(l, i, (ql_module)m, layer));
    }
    return QL_OK;
}

/* A layer [rows, C] that the folder does not have: to be trained. */
static ql_status begin(loader *l, uint64_t key, size_t rows, ql_qtensor *out,
                       const float **bias)
{
    const double by = 0.02; /* initializer_range */
    float *w = ql_calloc(QL_TAG_WEIGHTS, rows * l->c->C, sizeof(float));
    float *b = ql_calloc(QL_TAG_WEIGHTS, rows, sizeof(float));
    const ql_status st = ql_weights_own(l->w, w);

    if (ql_weights_own(l->w, b) != QL_OK || st != QL_OK) {
        return QL_ENOMEM;
    }
    ql_rng_fill(key, by, w, rows * l->c->C);
    *out = ql_qtensor_dense(w, rows, l->c->C);
    *bias = b;
    return QL_OK;
}

static ql_status load_pooler(loader *l)
{
    ql_linear *pooler = &l->w->pooler;
    const size_t C = l->c->C;
    char path[PATH_BYTES];
    char name[NAME_BYTES];

    snprintf(path, sizeof(path), "%s%s", l->w->base, l->c->arch->names->pooler);
    snprintf(name, sizeof(name), "%s.weight", path);
    if (!ql_shards_find(l->w->shards, name)) {
        l->w->fresh_pooler = true;
        return begin(l, POOLER_KEY, C, &pooler->w, &pooler->bias);
    }
    QL_TRY(load_bias(l, path, true, C, &pooler->bias));
    return load_path(l, path, C, C, &pooler->w);
}

static ql_status load_classifier(loader *l)
{
    const ql_config *c = l->c;
    const ql_names *names = c->arch->names;
    char path[PATH_BYTES];
    char name[NAME_BYTES];

    snprintf(name, sizeof(name), "%s%s.weight", l->w->base, names->types);
    QL_TRY(load_matrix(l, name, c->types, c->C, &l->w->types.w));
    l->w->types.scale = 1;
    snprintf(path, sizeof(path), "%s%s", l->w->base, names->embed_norm);
    QL_TRY(load_norm(l, path, c->C, &l->w->embed_norm));
    QL_TRY(load_pooler(l));
    snprintf(name, sizeof(name), "%s.weight", names->head);
    if (!ql_shards_find(l->w->shards, name)) {
        l->w->fresh_head = true;
        return begin(l, HEAD_KEY, c->labels.n, &l->w->base_head,
                     &l->w->head_bias);
    }
    QL_TRY(load_matrix(l, name, c->labels.n, c->C, &l->w->base_head));
    return load_bias(l, names->head, true, c->labels.n, &l->w->head_bias);
}

static ql_status load_ends(loader *l)
{
    const ql_config *c = l->c;
    const ql_names *names = c->arch->names;
    char path[PATH_BYTES];
    char name[NAME_BYTES];

    snprintf(name, sizeof(name), "%s%s.weight", l->w->base, names->embed);
    QL_TRY(load_matrix(l, name, c->V, c->C, &l->w->base_embed));
    if (names->position) {
        snprintf(name, sizeof(name), "%s%s.weight", l->w->base,
                 names->position);
        QL_TRY(load_matrix(l, name, c->max_position, c->C, &l->w->position.w));
        l->w->position.scale = 1;
    }
    if (names->final_norm) {
        snprintf(path, sizeof(path), "%s%s", l->w->base, names->final_norm);
        QL_TRY(load_norm(l, path, c->C, &l->w->final_norm));
    }
    if (c->arch->classifier) {
        return load_classifier(l);
    }
    if (c->tied) {
        l->w->base_head = l->w->base_embed;
        return QL_OK;
    }
    snprintf(name, sizeof(name), "%s.weight", names->head);
    return load_matrix(l, name, c->V, c->C, &l->w->base_head);
}

const char *ql_weights_base(const ql_shards *s, const ql_names *names)
{
    char name[NAME_BYTES];

    snprintf(name, sizeof(name), "%s.weight", names->embed);
    return ql_shards_find(s, name) ? "" : names->base;
}

ql_status ql_weights_init(ql_weights *w, const ql_config *c, const char *dir,
                          const ql_load *load)
{
    loader l = {.w = w, .c = c, .load = load};
    ql_status st;

    *w = (ql_weights){.n_layers = c->layers, .load = *load};
    w->load.scratch_dir = NULL;
    w->layers = ql_calloc(QL_TAG_MISC, c->layers, sizeof(*w->layers));
    w->base_layers = ql_calloc(QL_TAG_MISC, c->layers, sizeof(*w->layers));
    if (!w->layers || !w->base_layers) {
        st = QL_ENOMEM;
        goto done;
    }
    QL_TRY_DONE(ql_fusion_open(&w->shards, dir, c));
    if (load->scratch_dir) {
        QL_TRY_DONE(ql_scratch_open(&w->scratch, load->scratch_dir));
    }
    w->base = ql_weights_base(w->shards, c->arch->names);
    QL_TRY_DONE(load->more ? QL_OK : ql_strange_check(w->shards, c, w->base));
    QL_TRY_DONE(load_ends(&l));
    w->embed = (ql_embedding){.w = w->base_embed, .scale = c->embed_scale};
    w->head = (ql_linear){.w = w->base_head, .bias = w->head_bias};
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

ql_status ql_weights_check(const ql_config *c, const char *dir, bool more)
{
    const ql_load as_it_is = {.check = true, .more = more};
    ql_weights w;

    QL_TRY(ql_weights_init(&w, c, dir, &as_it_is));
    ql_weights_free(&w);
    return QL_OK;
}

void ql_weights_free(ql_weights *w)
{
    for (size_t i = 0; i < w->n_owned; i++) {
        ql_free(w->owned[i]);
    }
    ql_free(w->owned);
    ql_free(w->layers);
    ql_free(w->base_layers);
    ql_shards_close(&w->shards);
    ql_scratch_close(&w->scratch);
    *w = (ql_weights){0};
}
