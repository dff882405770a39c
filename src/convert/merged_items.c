/* Tensors of the model and of the adapter are brought together by name. Files
 * on the hub may lack the first part of the names that the adapter has
 * ("transformer.h.0" is "h.0" in those of GPT-2), so a name may also be the
 * end of the other.
 *
 * Where the head is the embedding matrix and the adapter changes one of the
 * two only, the result has both: what was trained is one matrix on the way in
 * and another on the way out. */
#include "src/convert/merged_items.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/convert/adapter_base.h"
#include "src/convert/model_files.h"
#include "src/format/names.h"
#include "src/format/qstate.h"
#include "src/model/arch.h"
#include "src/model/fusion.h"
#include "src/model/weights.h"

enum {
    NAME_BYTES = 1024,
    ADDED = 5 /* items, at most: a head, or that of a classifier and a pooler */
};

/* Tensors that belong to a 4-bit weight. */
static const char *const parts[] = {
    ".absmax",
    ".quant_map",
    ".nested_absmax",
    ".nested_quant_map",
    ".quant_state.bitsandbytes__nf4",
    ".quant_state.bitsandbytes__fp4",
};

static bool is_part(const ql_shards *s, const char *name)
{
    char stem[NAME_BYTES];

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        const size_t n = strlen(name) - strlen(parts[i]);

        if (ql_name_ends(name, parts[i]) && n < sizeof(stem)) {
            memcpy(stem, name, n);
            stem[n] = '\0';
            return ql_qstate_find(s, stem) != NULL;
        }
    }
    return false;
}

/* The name without ".weight", "" for another. */
static const char *stem_of(const char *name, char stem[NAME_BYTES])
{
    const size_t n = strlen(name) - strlen(".weight");

    stem[0] = '\0';
    if (ql_name_ends(name, ".weight") && n < NAME_BYTES) {
        memcpy(stem, name, n);
        stem[n] = '\0';
    }
    return stem;
}

/* Shape and type of an item, from the folder. */
static ql_status describe(const ql_shards *s, ql_merged_item *item)
{
    const ql_tensor *t = item->base;
    ql_packed p;
    bool found;

    item->rank = t->rank;
    memcpy(item->shape, t->shape, sizeof(item->shape));
    item->dtype = t->dtype;
    item->elements = t->elements;
    if (item->packed) {
        QL_TRY(ql_packed_init(&p, s, t->name, &found));
        item->rank = 2;
        item->shape[0] = item->conv1d ? p.w.cols : p.w.rows;
        item->shape[1] = item->conv1d ? p.w.rows : p.w.cols;
        item->dtype = p.dtype;
        item->elements = p.w.rows * p.w.cols;
        ql_packed_free(&p);
    }
    item->rows = item->rank > 0 ? item->shape[0] : 1;
    item->cols = item->rows > 0 ? item->elements / item->rows : 0;
    return QL_OK;
}

static ql_status add_item(ql_merged *m, const char *name, const ql_tensor *base)
{
    ql_merged_item *item = &m->items[m->n++];
    bool linear;

    *item = (ql_merged_item){.name = name, .base = base};
    item->packed = ql_qstate_find(m->shards, base->name) != NULL;
    linear = m->arch && ql_arch_module(m->arch, base->name) < QL_MODULES;
    item->requantize =
        m->base.requantize && !item->packed && base->rank == 2 && linear;
    item->conv1d = linear && m->arch->transposed;
    m->packed |= item->packed;
    return describe(m->shards, item);
}

static ql_merged_item *find_path(ql_merged *m, const char *path)
{
    char stem[NAME_BYTES];

    for (size_t i = 0; i < m->n; i++) {
        if (ql_name_same(stem_of(m->items[i].name, stem), path)) {
            return &m->items[i];
        }
    }
    return NULL;
}

/* The embedding matrix and the name of the head; false if there is none. */
static bool find_tie(ql_merged *m, ql_merged_item **embed, const char **head)
{
    char stem[NAME_BYTES];

    for (size_t i = 0; i < m->n; i++) {
        for (size_t k = 0; k < QL_TIES; k++) {
            if (ql_name_ends_path(stem_of(m->items[i].name, stem),
                                  ql_ties[k].embed)) {
                *embed = &m->items[i];
                *head = ql_ties[k].head;
                return true;
            }
        }
    }
    return false;
}

/* The adapter changes the module of this path. */
static bool changes(const ql_adapter_folder *f, const char *path)
{
    char stem[NAME_BYTES];

    for (size_t i = 0; i < f->n_pairs; i++) {
        if (ql_name_same(f->pairs[i].path, path)) {
            return true;
        }
    }
    for (size_t i = 0; i < f->n_wholes; i++) {
        if (!f->wholes[i].repeats &&
            ql_name_same(stem_of(f->wholes[i].name, stem), path)) {
            return true;
        }
    }
    return false;
}

/* Gives a tied model a head of its own where the two become different. */
static ql_status untie(ql_merged *m, const ql_adapter_folder *f)
{
    char stem[NAME_BYTES];
    ql_merged_item *embed;
    const char *head;
    bool in;
    bool out;

    if (!find_tie(m, &embed, &head) || find_path(m, head)) {
        return QL_OK;
    }
    QL_TRY(ql_adapter_folder_check_tie(f));
    in = changes(f, stem_of(embed->name, stem));
    out = changes(f, head);
    if (!out && (!in || f->tied)) {
        return QL_OK;
    }
    m->untied = true;
    return add_item(
        m, strcmp(head, "lm_head") == 0 ? "lm_head.weight" : "embed_out.weight",
        embed->base);
}

static ql_status wrong_shape(const ql_merged_item *item, const char *what,
                             const size_t *shape, size_t rank)
{
    char is[QL_SHAPE_BYTES];
    char has[QL_SHAPE_BYTES];

    QL_FAIL(QL_EMISMATCH,
            "%s of the adapter fits a weight of shape %s, but the model's %s "
            "is %s; the adapter was made for another model",
            what, ql_shape_print(is, shape, rank), item->name,
            ql_shape_print(has, item->shape, item->rank));
}

static ql_status put_pair(ql_merged *m, const ql_adapter_folder *f,
                          const ql_adapter_pair *p)
{
    ql_merged_item *item = find_path(m, p->path);
    size_t shape[2];

    if (!item) {
        QL_FAIL(QL_EMISMATCH,
                "%s: %s is adapted, but the model has no weight of that name",
                f->path, p->path);
    }
    if (item->pair) {
        QL_FAIL(QL_EMISMATCH, "%s: %s and %s are both for %s", f->path,
                item->pair->path, p->path, item->name);
    }
    item->turned = item->conv1d || p->embedding;
    shape[0] = item->turned ? p->in : p->out;
    shape[1] = item->turned ? p->out : p->in;
    if (item->rank != 2 || memcmp(item->shape, shape, sizeof(shape)) != 0) {
        return wrong_shape(item, p->path, shape, 2);
    }
    item->pair = p;
    m->pairs++;
    return QL_OK;
}

static ql_merged_item *find_name(ql_merged *m, const char *name)
{
    for (size_t i = 0; i < m->n; i++) {
        if (ql_name_same(m->items[i].name, name)) {
            return &m->items[i];
        }
    }
    return NULL;
}

/* Old files of BERT call the vectors of norms gamma and beta. */
static ql_merged_item *find_old(ql_merged *m, const char *name)
{
    const bool bias = ql_name_ends(name, ".bias");
    const char *leaf = bias ? ".bias" : ".weight";
    char old[NAME_BYTES];

    if (!m->arch || !m->arch->classifier || !ql_name_ends(name, leaf)) {
        return NULL;
    }
    snprintf(old, sizeof(old), "%.*s%s", (int)(strlen(name) - strlen(leaf)),
             name, bias ? ".beta" : ".gamma");
    return find_name(m, old);
}

/* The tensor is the weight or the bias of the module at base and path. */
static bool is_at(const char *name, const char *base, const char *path)
{
    char stem[NAME_BYTES];
    const char *leaf = strrchr(name, '.');

    snprintf(stem, sizeof(stem), "%s%s", base, path);
    return leaf && strncmp(name, stem, strlen(stem)) == 0 &&
           name + strlen(stem) == leaf &&
           (strcmp(leaf, ".weight") == 0 || strcmp(leaf, ".bias") == 0);
}

/* The width of the model, by its embedding; 0 without one. */
static size_t width(ql_merged *m)
{
    char path[NAME_BYTES];
    const ql_merged_item *embed;

    snprintf(path, sizeof(path), "%s%s", m->arch->names->base,
             m->arch->names->embed);
    embed = find_path(m, path);
    return embed ? embed->cols : 0;
}

/* A head has a row for each class, a pooler one for each column. */
static ql_status check_added(ql_merged *m, const ql_adapter_folder *f,
                             const ql_adapter_whole *w, bool pooler)
{
    const ql_tensor *t = &w->tensor;
    const size_t rank = ql_name_ends(w->name, ".weight") ? 2 : 1;
    const size_t C = width(m);
    const size_t want[2] = {pooler || t->rank == 0 ? C : t->shape[0], C};
    char is[QL_SHAPE_BYTES];
    char needed[QL_SHAPE_BYTES];

    if (t->rank == rank && memcmp(t->shape, want, rank * sizeof(*want)) == 0) {
        return QL_OK;
    }
    QL_FAIL(QL_EMISMATCH,
            "%s: %s is of shape %s, but the model needs %s; the adapter was "
            "made for another model",
            f->path, w->name, ql_shape_print(is, t->shape, t->rank),
            ql_shape_print(needed, want, rank));
}

/* A model may be made a classifier: its head, and a pooler that it lacks, are
 * the adapter's, then. */
static ql_status put_head(ql_merged *m, const ql_adapter_folder *f,
                          const ql_adapter_whole *w)
{
    const ql_names *n = m->arch ? m->arch->names : NULL;
    const bool known = n && m->arch->classifier;
    const bool pooler = known && is_at(w->name, n->base, n->pooler);

    if (!pooler && !(known && is_at(w->name, "", n->head))) {
        QL_FAIL(QL_EMISMATCH,
                "%s: %s is trained whole, but the model has no such tensor",
                f->path, w->name);
    }
    if (!ql_weights_base(m->shards, m->arch->names)[0]) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: %s has no place beside tensors whose names lack \"%s\", "
                "as the model's do: transformers would not find it; train with "
                "--method full, which writes all names",
                f->path, w->name, m->arch->names->base);
    }
    QL_TRY(check_added(m, f, w, pooler));
    QL_TRY(add_item(m, w->name, &w->tensor));
    m->items[m->n - 1].whole = &w->tensor;
    m->items[m->n - 1].requantize = false;
    m->new_head = true;
    return QL_OK;
}

static ql_status put_whole(ql_merged *m, const ql_adapter_folder *f,
                           const ql_adapter_whole *w)
{
    ql_merged_item *item = find_name(m, w->name);
    const ql_tensor *t = &w->tensor;

    item = item ? item : find_old(m, w->name);
    if (!item) {
        return put_head(m, f, w);
    }
    if (item->rank != t->rank ||
        memcmp(item->shape, t->shape, t->rank * sizeof(*t->shape)) != 0) {
        return wrong_shape(item, w->name, t->shape, t->rank);
    }
    item->whole = t;
    item->packed = item->requantize = false;
    return QL_OK;
}

static int by_name(const void *a, const void *b)
{
    const ql_merged_item *x = a;
    const ql_merged_item *y = b;

    return ql_name_order(x->name, y->name);
}

static ql_status put_adapter(ql_merged *m, ql_adapter_folder *f)
{
    QL_TRY(ql_adapter_base_check(f, m->shards));
    QL_TRY(untie(m, f));
    for (size_t i = 0; i < f->n_pairs; i++) {
        QL_TRY(put_pair(m, f, &f->pairs[i]));
    }
    for (size_t i = 0; i < f->n_wholes; i++) {
        QL_TRY(f->wholes[i].repeats ? QL_OK : put_whole(m, f, &f->wholes[i]));
    }
    return QL_OK;
}

static bool names_its_own(const ql_merged *m)
{
    return !m->arch || m->own_code;
}

/* Bytes that a file has before the name of a tensor; SIZE_MAX: it has another
 * name. */
static size_t before_name(const ql_merged *m, const ql_tensor *t)
{
    const char *stored = ql_shards_stored_name(m->shards, t);

    return ql_name_ends(stored, t->name) ? strlen(stored) - strlen(t->name)
                                         : SIZE_MAX;
}

/* What stands before all names of the folder, which *n bytes of the result
 * are. */
static const char *wrapper_of(const ql_merged *m, size_t *n)
{
    const ql_tensor *first = ql_shards_at(m->shards, 0);
    const char *stored = ql_shards_stored_name(m->shards, first);

    *n = before_name(m, first);
    for (size_t i = 1; *n < SIZE_MAX && i < ql_shards_count(m->shards); i++) {
        const ql_tensor *t = ql_shards_at(m->shards, i);

        if (before_name(m, t) != *n ||
            memcmp(ql_shards_stored_name(m->shards, t), stored, *n) != 0) {
            *n = SIZE_MAX;
        }
    }
    *n = *n == SIZE_MAX ? 0 : *n;
    return stored;
}

static ql_status wrap(ql_merged_item *item, const char *wrapper, size_t n)
{
    const size_t bytes = n + strlen(item->name) + 1;

    item->made = ql_alloc(QL_TAG_TEXT, bytes, 1);
    if (!item->made) {
        return QL_ENOMEM;
    }
    snprintf(item->made, bytes, "%.*s%s", (int)n, wrapper, item->name);
    item->name = item->made;
    return QL_OK;
}

static ql_status restore(ql_merged *m)
{
    const char *wrapper;
    size_t n;

    if (!names_its_own(m) || m->n == 0) {
        return QL_OK;
    }
    wrapper = wrapper_of(m, &n);
    for (size_t i = 0; i < m->n; i++) {
        ql_merged_item *item = &m->items[i];

        if (item->name == item->base->name &&
            ql_shards_find(m->shards, item->name) == item->base) {
            item->name = ql_shards_stored_name(m->shards, item->base);
        } else if (n > 0) {
            QL_TRY(wrap(item, wrapper, n));
        }
    }
    return QL_OK;
}

ql_status ql_merged_restore_names(ql_merged *m)
{
    QL_TRY(restore(m));
    qsort(m->items, m->n, sizeof(*m->items), by_name);
    return QL_OK;
}

/* What the configuration tells of the tensors. */
static ql_status read_config(ql_merged *m, const char *dir)
{
    const char *method = "bitsandbytes";
    const char *type = "";
    json_t *root = NULL;
    const json_t *quantization;
    ql_status st;

    QL_TRY_DONE(ql_model_files_config(&root, dir));
    quantization = json_object_get(root, "quantization_config");
    QL_TRY_DONE(ql_json_string(root, "model_type", dir, &type));
    QL_TRY_DONE(ql_json_bool(root, "tie_word_embeddings", dir, &m->tied));
    QL_TRY_DONE(ql_json_string(quantization, "quant_method", dir, &method));
    if (json_is_object(quantization)) {
        m->base.requantize = false; /* what is dense there, is meant to be */
    }
    m->own_code = json_object_get(root, "auto_map") != NULL;
    m->arch = ql_arch_find(type);
    if (!m->arch && m->base.requantize) {
        st = ql_fail(QL_EUNSUPPORTED,
                     "%s: which weights of architecture \"%s\" are quantized "
                     "is not known; merge into the original ones",
                     dir, type);
        goto done;
    }
    if (strcmp(method, "bitsandbytes") != 0) {
        st = ql_fail(QL_EUNSUPPORTED,
                     "%s: weights quantized by \"%s\" cannot be merged into; "
                     "give the original model",
                     dir, method);
    }
done:
    json_decref(root);
    return st;
}

/* Projections go where a model that we know has them; code that comes with the
 * folder reads them where they are. */
static ql_status apply_fusion(ql_merged *m, const char *dir)
{
    ql_config c;
    ql_status st;

    if (names_its_own(m) || ql_config_init(&c, dir) != QL_OK) {
        return QL_OK;
    }
    st = ql_fusion_apply(m->shards, &c);
    ql_config_free(&c);
    return st;
}

ql_status ql_merged_list(ql_merged *m, const char *dir,
                         ql_adapter_folder *adapter)
{
    size_t n;

    QL_TRY(read_config(m, dir));
    QL_TRY(apply_fusion(m, dir));
    n = ql_shards_count(m->shards);
    m->items = ql_calloc(QL_TAG_MISC, n + ADDED, sizeof(*m->items));
    if (!m->items) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        const ql_tensor *t = ql_shards_at(m->shards, i);
        const bool no_head = m->tied && strcmp(t->name, "lm_head.weight") == 0;

        if (!is_part(m->shards, t->name) && !no_head) {
            QL_TRY(add_item(m, t->name, t));
        }
    }
    if (adapter) {
        QL_TRY(put_adapter(m, adapter));
    }
    qsort(m->items, m->n, sizeof(*m->items), by_name);
    return QL_OK;
}
