#include "src/model/adapter.h"

#include <math.h>
#include <string.h>

#include "quant/codec.h"
#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/rng.h"
#include "src/format/qstate.h"
#include "src/model/full.h"
#include "src/model/stream.h"
#include "src/op/dora.h"
#include "src/op/vec.h"

enum {
    MAX_RANK = 1 << 14,
    GAINS = 3 /* arrays of an entry with DoRA */
};

ql_status ql_adapter_options_check(const ql_adapter_options *o)
{
    if (o->full) {
        return QL_OK;
    }
    if (o->r == 0 || o->r > MAX_RANK) {
        QL_FAIL(QL_EINVAL, "LoRA rank %zu: give a number from 1 to %d", o->r,
                MAX_RANK);
    }
    if (!isfinite(o->alpha)) {
        QL_FAIL(QL_EINVAL, "LoRA alpha %g: give a finite number", o->alpha);
    }
    if (!(o->dropout >= 0) || (float)o->dropout >= 1) {
        QL_FAIL(QL_EINVAL,
                "LoRA dropout %g: give a number from 0 up to, but "
                "not including, 1",
                o->dropout);
    }
    return QL_OK;
}

/* Adds a tensor of an entry; cols 0: a vector. */
static void add_tensor(ql_adapter *a, size_t entry, ql_part part, size_t rows,
                       size_t cols)
{
    const size_t n = rows * (cols ? cols : 1);
    const bool half = a->opt.half && cols > 0;

    a->tensors[a->n_tensors] = (ql_adapter_tensor){.entry = entry,
                                                   .part = part,
                                                   .rank = cols ? 2 : 1,
                                                   .shape = {rows, cols},
                                                   .at = a->count};
    a->sizes[a->n_tensors++] = n;
    a->count += half ? (n + 1) / 2 : n;
    a->elements += n;
    a->n_half += half;
}

/* Embeddings of all kinds. */
static bool is_table(ql_site site)
{
    return site.place == QL_PLACE_EMBED || site.place == QL_PLACE_POSITION ||
           site.place == QL_PLACE_TYPES;
}

static void add_entry(ql_adapter *a, const ql_config *c,
                      const ql_adapter_item *item)
{
    const double r = (double)item->r;
    const bool embed = is_table(item->site);
    ql_adapter_entry *e = &a->entries[a->n];
    size_t rows;
    size_t cols;

    ql_site_shape(c, item->site, &rows, &cols);
    *e = (ql_adapter_entry){.site = item->site,
                            .in = embed ? rows : cols,
                            .out = embed ? cols : rows,
                            .r = item->r,
                            .first = a->n_tensors};
    if (e->r == 0) {
        add_tensor(a, a->n, QL_PART_WHOLE, rows, cols);
        a->n_plain += cols == 0;
    } else {
        e->scale = (float)(item->alpha / (a->opt.rslora ? sqrt(r) : r));
        add_tensor(a, a->n, QL_PART_A, e->r, e->in);
        add_tensor(a, a->n, QL_PART_B, e->out, e->r);
        if (a->opt.dora) {
            add_tensor(a, a->n, QL_PART_MAGNITUDE, e->out, 0);
        }
    }
    a->n++;
}

/* Floats of an entry's gains. */
static size_t gains_of(const ql_adapter *a, const ql_adapter_entry *e)
{
    if (ql_site_is_norm(e->site)) {
        return a->arch->norm_plus_one && !e->site.bias ? e->out : 0;
    }
    return a->opt.dora && e->r > 0 ? GAINS * e->out : 0;
}

/* Entries with gains get their room. */
static ql_status add_gains(ql_adapter *a)
{
    size_t n = 0;

    for (size_t i = 0; i < a->n; i++) {
        n += gains_of(a, &a->entries[i]);
    }
    a->gains = ql_calloc(QL_TAG_ADAPTER, n, sizeof(float));
    if (!a->gains) {
        return QL_ENOMEM;
    }
    n = 0;
    for (size_t i = 0; i < a->n; i++) {
        const size_t own = gains_of(a, &a->entries[i]);

        a->entries[i].gain = own > 0 ? a->gains + n : NULL;
        n += own;
    }
    return QL_OK;
}

/* Random numbers of deviation by, or uniform within +-by. */
static void randomize(float *x, size_t n, uint64_t key, double by, bool gauss)
{
    if (gauss) {
        ql_rng_fill(key, by, x, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(by * (2 * ql_rng_unit(key, i) - 1));
    }
}

/* Pairs that change nothing yet. */
static void start_pairs(ql_adapter *a, uint64_t seed)
{
    if (!a->opt.full) {
        memset(a->param, 0, a->count * sizeof(float));
    }
    for (size_t i = 0; i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];
        const bool embed = e->site.place == QL_PLACE_EMBED;
        const bool gauss = a->opt.gaussian || embed;
        const double by = embed             ? 1
                          : a->opt.gaussian ? 1 / (double)e->r
                                            : 1 / sqrt((double)e->in);
        const size_t t = e->first + embed; /* A, or B of an embedding */

        if (e->r > 0) {
            randomize(a->param + a->tensors[t].at, a->sizes[t],
                      ql_rng_split(seed, i), by, gauss);
        }
    }
}

ql_status ql_adapter_init(ql_adapter *a, const ql_config *c,
                          const ql_adapter_options *opt,
                          const ql_adapter_item *items, size_t n, uint64_t seed,
                          bool trained)
{
    ql_status st;

    *a = (ql_adapter){.arch = c->arch, .opt = *opt, .trained = trained};
    QL_TRY(ql_adapter_options_check(opt));
    a->entries = ql_calloc(QL_TAG_MISC, n, sizeof(*a->entries));
    a->tensors = ql_calloc(QL_TAG_MISC, 3 * n, sizeof(*a->tensors));
    a->sizes = ql_calloc(QL_TAG_MISC, 3 * n, sizeof(*a->sizes));
    if (!a->entries || !a->tensors || !a->sizes) {
        st = QL_ENOMEM;
        goto done;
    }
    for (size_t i = 0; i < n; i++) {
        add_entry(a, c, &items[i]);
    }
    QL_TRY_DONE(add_gains(a));
    if (opt->measured) {
        return QL_OK;
    }
    a->param = ql_alloc(QL_TAG_ADAPTER, a->count, sizeof(float));
    if (!a->param) {
        st = QL_ENOMEM;
        goto done;
    }
    start_pairs(a, seed);
    st = trained ? ql_adapter_train(a) : QL_OK;
done:
    if (st != QL_OK) {
        ql_adapter_free(a);
    }
    return st;
}

ql_status ql_adapter_train(ql_adapter *a)
{
    a->trained = true;
    a->grad = ql_calloc(QL_TAG_GRAD, a->count, sizeof(float));
    return a->grad ? QL_OK : QL_ENOMEM;
}

/* Where a tensor begins in the arrays; behind the last one, where they end. */
static size_t begin_of(const ql_adapter *a, size_t i)
{
    return i < a->n_tensors ? a->tensors[i].at : a->count;
}

double ql_adapter_grad_sumsq(const ql_adapter *a, size_t first, size_t end)
{
    const size_t halves = end < a->n_half     ? end
                          : first < a->n_half ? a->n_half
                                              : first;
    const float *grad = a->grad + begin_of(a, first);
    const size_t half = begin_of(a, halves) - begin_of(a, first);
    const size_t wide = begin_of(a, end) - begin_of(a, halves);

    /* what lies between tensors in bf16 is zero */
    return ql_vec_sumsq_bf16((const uint16_t *)(const void *)grad, 2 * half) +
           ql_vec_sumsq(grad + half, wide);
}

void ql_adapter_freeze(ql_adapter *a)
{
    ql_free(a->grad);
    a->grad = NULL;
    a->trained = false;
}

void ql_adapter_settle(const ql_adapter *a)
{
    for (size_t i = 0; i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];
        const float *w = a->param + a->tensors[e->first].at;

        for (size_t j = 0; e->gain && e->r == 0 && j < e->out; j++) {
            e->gain[j] = 1 + w[j];
        }
    }
}

void ql_adapter_free(ql_adapter *a)
{
    ql_free(a->entries);
    ql_free(a->tensors);
    ql_free(a->sizes);
    ql_free(a->param);
    ql_free(a->grad);
    ql_free(a->taken);
    ql_free(a->gains);
    json_decref(a->config);
    *a = (ql_adapter){0};
}

/* An array's piece of a part of an entry; NULL without the array. Of an adapter
 * that is measured, something: there will be one. */
static float *part_of(const ql_adapter *a, const ql_adapter_entry *e,
                      size_t part, float *array)
{
    return array             ? array + a->tensors[e->first + part].at
           : a->opt.measured ? a->gains
                             : NULL;
}

static ql_lora lora_of(const ql_adapter *a, const ql_adapter_entry *e)
{
    return (ql_lora){
        .r = e->r,
        .scale = e->scale,
        .a = part_of(a, e, 0, a->param),
        .b = part_of(a, e, 1, a->param),
        .da = part_of(a, e, 0, a->grad),
        .db = part_of(a, e, 1, a->grad),
    };
}

static ql_dora dora_of(const ql_adapter *a, const ql_adapter_entry *e)
{
    if (!e->gain) {
        return (ql_dora){0};
    }
    return (ql_dora){
        .across = is_table(e->site),
        .m = part_of(a, e, 2, a->param),
        .dm = part_of(a, e, 2, a->grad),
        .gain = e->gain,
        .inverse = e->gain + e->out,
        .base = e->gain + 2 * e->out,
    };
}

/* The embedding of a site; NULL for another. */
static ql_embedding *embedding_of(ql_weights *w, ql_site site)
{
    return site.place == QL_PLACE_EMBED      ? &w->embed
           : site.place == QL_PLACE_POSITION ? &w->position
           : site.place == QL_PLACE_TYPES    ? &w->types
                                             : NULL;
}

/* The linear layer of a site that is of one. */
static ql_linear *linear_of(ql_weights *w, ql_site site)
{
    return site.place == QL_PLACE_HEAD ? &w->head
           : site.place == QL_PLACE_POOLER
               ? &w->pooler
               : &w->layers[site.layer].linear[site.module];
}

/* The norm of a site; NULL for another. */
static ql_norm *norm_of(ql_weights *w, ql_site site)
{
    return site.place == QL_PLACE_LAST_NORM    ? &w->final_norm
           : site.place == QL_PLACE_EMBED_NORM ? &w->embed_norm
           : site.place == QL_PLACE_NORM
               ? &w->layers[site.layer].norm[site.norm]
               : NULL;
}

/* Biases are those of linear layers, or of norms. */
static void attach_bias(const ql_adapter *a, const ql_adapter_entry *e,
                        ql_weights *w)
{
    float *bias = part_of(a, e, 0, a->param);
    float *grad = part_of(a, e, 0, a->grad);
    ql_norm *norm = norm_of(w, e->site);

    if (norm) {
        norm->b = bias;
        norm->db = grad;
    } else {
        ql_linear *lin = linear_of(w, e->site);

        lin->bias = bias;
        lin->dbias = grad;
    }
}

static void attach_norm(const ql_adapter *a, const ql_adapter_entry *e,
                        ql_norm *norm)
{
    norm->w = e->gain ? e->gain : part_of(a, e, 0, a->param);
    norm->dw = part_of(a, e, 0, a->grad);
}

/* What the model has of its own gives way to what the adapter has: not only
 * embedding and head. */
static bool replaces(const ql_adapter *a)
{
    for (size_t i = 0; i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];

        if (e->r == 0 && e->site.place != QL_PLACE_EMBED &&
            e->site.place != QL_PLACE_HEAD) {
            return true;
        }
    }
    return false;
}

static void attach_embedding(const ql_adapter *a, const ql_adapter_entry *e,
                             ql_embedding *to)
{
    if (e->r > 0) {
        to->lora = lora_of(a, e);
        to->dora = dora_of(a, e);
    } else {
        to->w = ql_qtensor_dense(part_of(a, e, 0, a->param), e->in, e->out);
        to->dw = part_of(a, e, 0, a->grad);
    }
}

static void attach_linear(const ql_adapter *a, const ql_adapter_entry *e,
                          ql_linear *lin)
{
    if (e->r > 0) {
        lin->lora = lora_of(a, e);
        lin->dora = dora_of(a, e);
    } else {
        lin->w = ql_qtensor_dense(part_of(a, e, 0, a->param), e->out, e->in);
        lin->trained = a->trained;
        lin->dw = part_of(a, e, 0, a->grad);
    }
}

static void attach_entry(const ql_adapter *a, const ql_adapter_entry *e,
                         ql_weights *w)
{
    ql_embedding *embedding = embedding_of(w, e->site);
    ql_norm *norm = norm_of(w, e->site);

    if (e->site.bias) {
        attach_bias(a, e, w);
    } else if (norm) {
        attach_norm(a, e, norm);
    } else if (embedding) {
        attach_embedding(a, e, embedding);
    } else {
        attach_linear(a, e, linear_of(w, e->site));
    }
}

void ql_adapter_attach(const ql_adapter *a, ql_weights *w)
{
    if (a && a->param) {
        ql_adapter_settle(a);
    }
    ql_full_detach(w);
    for (size_t i = 0; i < w->n_layers; i++) {
        for (int m = 0; m < QL_MODULES; m++) {
            w->layers[i].linear[m].lora = (ql_lora){0};
            w->layers[i].linear[m].dora = (ql_dora){0};
        }
    }
    w->pooler.lora = (ql_lora){0};
    w->pooler.dora = (ql_dora){0};
    w->head = (ql_linear){.w = w->base_head, .bias = w->head_bias};
    w->embed = (ql_embedding){.w = w->base_embed, .scale = w->embed.scale};
    if (a && a->opt.full) {
        ql_full_attach(a, w);
        return;
    }
    if (a && replaces(a)) {
        ql_full_keep(w);
    }
    for (size_t i = 0; a && i < a->n; i++) {
        attach_entry(a, &a->entries[i], w);
    }
}

/* Magnitudes begin as the norms: a layer whose magnitudes are 1 has their
 * inverses as gains. */
static ql_status start_magnitudes(const ql_adapter *a,
                                  const ql_adapter_entry *e,
                                  const ql_weights *w, const ql_qtensor *base)
{
    ql_linear lin = {.w = *base, .lora = lora_of(a, e)};
    float *m = part_of(a, e, 2, a->param);
    void *work;

    lin.dora = dora_of(a, e);
    work = ql_alloc(QL_TAG_WORK, ql_dora_work_bytes(&lin), 1);
    if (!work) {
        return QL_ENOMEM;
    }
    ql_dora_prepare(&lin);
    ql_dora_refresh(&lin, work);
    for (size_t i = 0; i < e->out; i++) {
        m[i] = 1 / e->gain[e->out + i];
    }
    ql_stream_release(w, base);
    ql_free(work);
    return QL_OK;
}

/* The matrix of a site, without an adapter; NULL: it is in the folder only. */
static const ql_qtensor *base_of(const ql_weights *w, ql_site site)
{
    const ql_layer *layers = w->replaced ? w->base_layers : w->layers;

    return site.place == QL_PLACE_EMBED  ? &w->base_embed
           : site.place == QL_PLACE_HEAD ? &w->base_head
           : site.place == QL_PLACE_BLOCK
               ? &layers[site.layer].linear[site.module].w
           : site.place != QL_PLACE_POOLER ? NULL
           : w->replaced                   ? &w->base_pooler.w
                                           : &w->pooler.w;
}

/* A matrix that was quantized here begins as what the folder has. */
static bool quantized_here(const ql_adapter *a, const ql_adapter_entry *e,
                           const ql_weights *w, const ql_qtensor *matrix)
{
    const ql_tensor *t = matrix->storage == QL_STORAGE_4BIT
                             ? ql_full_find(a, e->first, w->shards)
                             : NULL;

    return t && !ql_qstate_find(w->shards, t->name);
}

static const float *base_bias(const ql_weights *w, ql_site site)
{
    const ql_layer *layers = w->replaced ? w->base_layers : w->layers;

    return site.place == QL_PLACE_HEAD ? w->head_bias
           : site.place == QL_PLACE_BLOCK
               ? layers[site.layer].linear[site.module].bias
           : site.place != QL_PLACE_POOLER ? NULL
           : w->replaced                   ? w->base_pooler.bias
                                           : w->pooler.bias;
}

static ql_status start_whole(ql_adapter *a, const ql_adapter_entry *e,
                             const ql_weights *w)
{
    const ql_qtensor *matrix = e->site.bias ? NULL : base_of(w, e->site);
    const float *bias = e->site.bias ? base_bias(w, e->site) : NULL;
    float *to = a->param + a->tensors[e->first].at;
    const size_t n = a->sizes[e->first];

    if (matrix && !quantized_here(a, e, w, matrix)) {
        ql_dequantize(to, matrix, 0, n);
        ql_stream_release(w, matrix);
    } else if (bias) {
        memcpy(to, bias, n * sizeof(*to));
    } else {
        return ql_full_read_one(a, e->first, w->shards);
    }
    return QL_OK;
}

/* True if the matrix of such a place is trained whole. */
static bool brings(const ql_adapter *a, ql_place place)
{
    for (size_t i = 0; i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];

        if (e->site.place == place && !e->site.bias && e->r == 0) {
            return true;
        }
    }
    return a->opt.full;
}

const char *ql_adapter_lacks(const ql_adapter *a, const ql_weights *w)
{
    if (w->fresh_pooler && !brings(a, QL_PLACE_POOLER)) {
        return "pooler";
    }
    return w->fresh_head && !brings(a, QL_PLACE_HEAD) ? "classifier" : NULL;
}

ql_status ql_adapter_start(ql_adapter *a, const ql_weights *w)
{
    if (a->opt.full) {
        return ql_full_read(a, w->shards, w);
    }
    for (size_t i = 0; i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];

        if (e->r == 0) {
            QL_TRY(start_whole(a, e, w));
        } else if (e->gain) {
            QL_TRY(start_magnitudes(a, e, w, base_of(w, e->site)));
        }
    }
    return QL_OK;
}
