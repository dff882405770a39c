#include "src/model/full.h"

#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/model/transposed.h"

enum {
    NAME_BYTES = 256,
    PIECE = 4096,   /* elements of a tensor, made bf16 at a time */
    SLICE = 1 << 18 /* read before the file's pages are let go */
};

/* A list under construction: first all matrices, then all vectors. */
typedef struct list {
    const ql_config *c;
    ql_adapter_item *items;
    size_t n;
    bool vectors;
} list;

/* Takes a site, if the model has it and it is its turn. */
static void take(list *l, ql_site site)
{
    size_t rows;
    size_t cols;

    ql_site_shape(l->c, site, &rows, &cols);
    if (rows > 0 && (cols == 0) == l->vectors) {
        l->items[l->n++] = (ql_adapter_item){.site = site};
    }
}

static void take_norm(list *l, ql_site site)
{
    take(l, site);
    site.bias = true;
    if (l->c->arch->layer_norm) {
        take(l, site);
    }
}

static void take_layer(list *l, size_t i)
{
    for (int p = 0; p < QL_NORMS; p++) {
        take_norm(l, (ql_site){.place = QL_PLACE_NORM,
                               .layer = i,
                               .norm = (ql_norm_place)p});
    }
    for (int m = 0; m < QL_MODULES; m++) {
        ql_site site = {
            .place = QL_PLACE_BLOCK, .layer = i, .module = (ql_module)m};

        take(l, site);
        site.bias = true;
        if (l->c->bias & 1U << m) {
            take(l, site);
        }
    }
}

/* A linear layer that has a bias. */
static void take_biased(list *l, ql_site site)
{
    take(l, site);
    site.bias = true;
    take(l, site);
}

static void take_all(list *l)
{
    take(l, (ql_site){.place = QL_PLACE_EMBED});
    if (l->c->arch->classifier) {
        take(l, (ql_site){.place = QL_PLACE_TYPES});
        take_norm(l, (ql_site){.place = QL_PLACE_EMBED_NORM});
        take_biased(l, (ql_site){.place = QL_PLACE_POOLER});
        take_biased(l, (ql_site){.place = QL_PLACE_HEAD});
    } else if (!l->c->tied) {
        take(l, (ql_site){.place = QL_PLACE_HEAD});
    }
    if (l->c->arch->names->position) {
        take(l, (ql_site){.place = QL_PLACE_POSITION});
    }
    for (size_t i = 0; i < l->c->layers; i++) {
        take_layer(l, i);
    }
    take_norm(l, (ql_site){.place = QL_PLACE_LAST_NORM});
}

ql_status ql_full_init(ql_adapter *a, const ql_config *c,
                       const ql_adapter_options *how, bool trained)
{
    const size_t most = c->layers * 2 * (QL_MODULES + QL_NORMS) + 11;
    const ql_adapter_options opt = {
        .full = true, .half = how->half, .measured = how->measured};
    list l = {.c = c};
    ql_status st;

    *a = (ql_adapter){0};
    l.items = ql_calloc(QL_TAG_MISC, most, sizeof(*l.items));
    if (!l.items) {
        return QL_ENOMEM;
    }
    take_all(&l);
    l.vectors = true;
    take_all(&l);
    st = ql_adapter_init(a, c, &opt, l.items, l.n, 0, trained);
    ql_free(l.items);
    return st;
}

bool ql_full_turned(const ql_adapter *a, size_t i)
{
    const ql_adapter_tensor *t = &a->tensors[i];

    return a->arch->transposed && t->part == QL_PART_WHOLE && t->rank == 2 &&
           a->entries[t->entry].site.place == QL_PLACE_BLOCK;
}

/* A model that was saved without its head lacks the base of the names. */
static const ql_tensor *find_based(const ql_adapter *a, const char *name,
                                   const ql_shards *s)
{
    const size_t base = strlen(a->arch->names->base);
    const ql_tensor *t = ql_shards_find(s, name);

    return t || strncmp(name, a->arch->names->base, base) != 0
               ? t
               : ql_shards_find(s, name + base);
}

const ql_tensor *ql_full_find(const ql_adapter *a, size_t i, const ql_shards *s)
{
    const ql_site site = a->entries[a->tensors[i].entry].site;
    char name[NAME_BYTES];
    char path[NAME_BYTES];
    const ql_tensor *t;

    ql_site_path(a->arch, site, path, sizeof(path));
    snprintf(name, sizeof(name), "%.200s.%s", path,
             site.bias ? "bias" : "weight");
    t = find_based(a, name, s);
    if (!t && a->arch->classifier && a->tensors[i].rank == 1) {
        snprintf(name, sizeof(name), "%.200s.%s", path, /* of old files */
                 site.bias ? "beta" : "gamma");
        t = find_based(a, name, s);
    }
    return t;
}

static ql_status check_shape(const ql_adapter *a, size_t i, const ql_tensor *t)
{
    const ql_adapter_tensor *to = &a->tensors[i];
    const bool turned = ql_full_turned(a, i);
    const size_t want[2] = {to->shape[turned], to->shape[!turned]};
    char shape[QL_SHAPE_BYTES];

    if (t->rank != to->rank ||
        memcmp(t->shape, want, to->rank * sizeof(*want)) != 0) {
        QL_FAIL(QL_EFORMAT, "tensor %s must have shape %s", t->name,
                ql_shape_print(shape, want, to->rank));
    }
    return QL_OK;
}

/* Some elements at a time, by way of f32. */
static ql_status read_half(uint16_t *to, const ql_tensor *t)
{
    float wide[PIECE];

    for (size_t at = 0; at < t->elements; at += PIECE) {
        const size_t n = t->elements - at < PIECE ? t->elements - at : PIECE;
        const ql_tensor part = ql_tensor_slice(t, at, n);

        QL_TRY(ql_tensor_to_f32(wide, &part));
        if (!ql_floats_to(QL_DTYPE_BF16, to + at, wide, n)) {
            QL_FAIL(QL_EUNSUPPORTED,
                    "tensor '%s': a weight is beyond what BF16 can hold; train "
                    "in 32 bits",
                    t->name);
        }
    }
    return QL_OK;
}

/* The elements of tensor i from the given one on. */
static ql_status read_plain(ql_adapter *a, size_t i, size_t first,
                            const ql_tensor *t)
{
    float *to = a->param + a->tensors[i].at;
    uint16_t *to16 = (uint16_t *)(void *)to;

    return i < a->n_half ? read_half(to16 + first, t)
                         : ql_tensor_to_f32(to + first, t);
}

/* What is read is not in memory twice. */
static ql_status read_slices(ql_adapter *a, size_t i, const ql_tensor *t,
                             const ql_shards *s)
{
    for (size_t at = 0; at < t->elements; at += SLICE) {
        const size_t left = t->elements - at;
        const ql_tensor part =
            ql_tensor_slice(t, at, left < SLICE ? left : SLICE);

        QL_TRY(read_plain(a, i, at, &part));
        ql_shards_drop(s, &part);
    }
    return QL_OK;
}

static ql_status read_tensor(ql_adapter *a, size_t i, const ql_shards *s,
                             const ql_tensor *t)
{
    ql_tensor made;
    void *data;
    ql_status st;

    QL_TRY(check_shape(a, i, t));
    QL_TRY(ql_full_turned(a, i) ? ql_tensor_transpose(&made, &data, t)
                                : ql_shards_whole(&made, &data, s, t));
    st = data ? read_plain(a, i, 0, &made) : read_slices(a, i, &made, s);
    ql_free(data);
    return st;
}

ql_status ql_full_read_one(ql_adapter *a, size_t i, const ql_shards *s)
{
    const ql_tensor *t = ql_full_find(a, i, s);
    char name[NAME_BYTES];

    if (!t) {
        ql_adapter_name(a, i, name, sizeof(name));
        QL_FAIL(QL_ENOTFOUND, "the model has nothing that %s is of", name);
    }
    QL_TRY(read_tensor(a, i, s, t));
    ql_shards_drop(s, t);
    return QL_OK;
}

/* What a folder does not have: a head or a pooler, as it was made in f32. */
static ql_status begin(ql_adapter *a, size_t i, const ql_weights *made)
{
    const ql_site site = a->entries[a->tensors[i].entry].site;
    char name[NAME_BYTES];
    ql_tensor t = {
        .name = name, .dtype = QL_DTYPE_F32, .elements = a->sizes[i]};

    ql_adapter_name(a, i, name, sizeof(name));
    if (!made || !a->arch->classifier ||
        (site.place != QL_PLACE_HEAD &&
         !(site.place == QL_PLACE_POOLER && made->fresh_pooler))) {
        QL_FAIL(QL_ENOTFOUND, "the model has no tensor %s", name);
    }
    if (site.place == QL_PLACE_POOLER) {
        t.data = site.bias ? (const unsigned char *)made->pooler.bias
                           : (const unsigned char *)made->pooler.w.data;
    } else {
        t.data = site.bias ? (const unsigned char *)made->head_bias
                           : (const unsigned char *)made->base_head.data;
    }
    t.bytes = t.elements * sizeof(float);
    return read_plain(a, i, 0, &t);
}

ql_status ql_full_read(ql_adapter *a, const ql_shards *s,
                       const ql_weights *made)
{
    for (size_t i = 0; i < a->n_tensors; i++) {
        const ql_tensor *t = ql_full_find(a, i, s);

        if (t) {
            QL_TRY(read_tensor(a, i, s, t));
            ql_shards_drop(s, t);
        } else {
            QL_TRY(begin(a, i, made));
        }
    }
    ql_adapter_settle(a);
    return QL_OK;
}

/* What an entry puts in place. */
typedef struct piece {
    ql_qtensor matrix;
    const float *vector;
    float *grad;      /* NULL: not wanted */
    uint16_t *grad16; /* the same, of a matrix in bf16 */
    bool trained;
} piece;

static void attach_linear(const piece *p, ql_site site, ql_linear *lin)
{
    if (site.bias) {
        lin->bias = p->vector;
        lin->dbias = p->grad;
    } else {
        lin->w = p->matrix;
        lin->trained = p->trained;
        lin->dw = p->grad;
        lin->dw16 = p->grad16;
    }
}

static void attach_norm(const piece *p, ql_site site, ql_norm *norm)
{
    if (site.bias) {
        norm->b = p->vector;
        norm->db = p->grad;
    } else {
        norm->w = p->vector;
        norm->dw = p->grad;
    }
}

static void attach_embedding(const piece *p, ql_embedding *e)
{
    e->w = p->matrix;
    e->dw = p->grad;
    e->dw16 = p->grad16;
}

static void attach_piece(const piece *p, ql_site site, ql_weights *w)
{
    switch (site.place) {
    case QL_PLACE_POOLER:
        attach_linear(p, site, &w->pooler);
        break;
    case QL_PLACE_BLOCK:
        attach_linear(p, site, &w->layers[site.layer].linear[site.module]);
        break;
    case QL_PLACE_EMBED:
        attach_embedding(p, &w->embed);
        attach_linear(p, site, &w->head); /* unless it has its own */
        break;
    case QL_PLACE_HEAD:
        attach_linear(p, site, &w->head);
        break;
    case QL_PLACE_POSITION:
        attach_embedding(p, &w->position);
        break;
    case QL_PLACE_TYPES:
        attach_embedding(p, &w->types);
        break;
    case QL_PLACE_EMBED_NORM:
        attach_norm(p, site, &w->embed_norm);
        break;
    case QL_PLACE_NORM:
        attach_norm(p, site, &w->layers[site.layer].norm[site.norm]);
        break;
    case QL_PLACE_LAST_NORM:
        attach_norm(p, site, &w->final_norm);
        break;
    }
}

/* The piece of an array; NULL without the array. */
static float *at(float *array, const ql_adapter_tensor *t)
{
    return array ? array + t->at : NULL;
}

void ql_full_keep(ql_weights *w)
{
    memcpy(w->base_layers, w->layers, w->n_layers * sizeof(*w->layers));
    w->base_norm = w->final_norm;
    w->base_position = w->position.w;
    w->base_embed_norm = w->embed_norm;
    w->base_types = w->types.w;
    w->base_pooler = w->pooler;
    w->replaced = true;
}

void ql_full_attach(const ql_adapter *a, ql_weights *w)
{
    ql_full_keep(w);
    for (size_t i = 0; i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];
        const ql_adapter_tensor *t = &a->tensors[e->first];
        const float *param = at(a->param, t);
        float *grad = at(a->grad, t);
        const bool half = e->first < a->n_half;
        piece p = {
            .matrix = ql_qtensor_dense(param, t->shape[0], t->shape[1]),
            .vector = e->gain ? e->gain : param,
            .grad = half ? NULL : grad,
            .grad16 = half ? (uint16_t *)(void *)grad : NULL,
            .trained = a->trained,
        };

        if (half) {
            p.matrix.storage = QL_STORAGE_BF16;
        }
        if (t->rank == 2 || a->param) {
            attach_piece(&p, e->site, w);
        }
    }
}

void ql_full_detach(ql_weights *w)
{
    if (w->replaced) {
        memcpy(w->layers, w->base_layers, w->n_layers * sizeof(*w->layers));
        w->final_norm = w->base_norm;
        w->position.w = w->base_position;
        w->position.dw = NULL;
        w->position.dw16 = NULL;
        w->embed_norm = w->base_embed_norm;
        w->types.w = w->base_types;
        w->types.dw = NULL;
        w->types.dw16 = NULL;
        w->pooler = w->base_pooler;
        w->replaced = false;
    }
}
