/* Only the keys that every PEFT of the last years knows are written, since an
 * older one refuses a key that it does not know. */
#include "src/convert/peft.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/note.h"
#include "src/convert/adapter_base.h"
#include "src/convert/adapter_folder.h"
#include "src/convert/adapter_parts.h"
#include "src/convert/adapter_settings.h"
#include "src/convert/trained_pieces.h"
#include "src/format/names.h"
#include "src/model/full.h"
#include "src/model/model_handle.h"

enum {
    NAME_BYTES = 256
};

json_t *ql_peft_number(double x)
{
    return x == floor(x) && fabs(x) < 1e15 ? json_integer((json_int_t)x)
                                           : json_real(x);
}

/* target_modules for an adapter that has no config: the whole paths. */
static json_t *list_paths(const ql_adapter *a)
{
    json_t *list = json_array();

    for (size_t i = 0; i < a->n; i++) {
        char path[NAME_BYTES];

        ql_adapter_path(a, i, path, sizeof(path));
        if (a->entries[i].r > 0) {
            json_array_append_new(list, json_string(path));
        }
    }
    return list;
}

/* Puts in what the adapter's own config says, where it says anything. */
static int add_own(json_t *config, const json_t *own)
{
    static const char *const keys[] = {
        "alpha_pattern",  "exclude_modules",     "init_lora_weights",
        "layers_pattern", "layers_to_transform", "modules_to_save",
        "rank_pattern",   "target_modules",      "task_type",
    };
    int st = 0;

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        json_t *v = json_object_get(own, keys[i]);

        if (v && !json_is_null(v)) {
            st |= json_object_set(config, keys[i], v);
        }
    }
    return st;
}

/* Twice the numbers of a pattern. */
static int double_numbers(json_t *config, const char *key)
{
    json_t *twice = json_object();
    const char *name;
    json_t *v;
    int st = 0;

    json_object_foreach(json_object_get(config, key), name, v)
    {
        st |= json_object_set_new(twice, name,
                                  ql_peft_number(2 * json_number_value(v)));
    }
    return st | json_object_set_new(config, key, twice);
}

/* With what was taken off the base, pairs have twice their rank, and the same
 * scale. */
static int double_ranks(json_t *config, const ql_adapter_options *o)
{
    const double by = o->rslora ? sqrt(2) : 2;
    int st = json_object_set_new(config, "r", json_integer(2 * (int)o->r));

    st |= json_object_set_new(config, "lora_alpha",
                              ql_peft_number(by * o->alpha));
    st |= double_numbers(config, "rank_pattern");
    return st | double_numbers(config, "alpha_pattern");
}

static ql_status save_config(const ql_adapter *a, const char *base,
                             const char *dir)
{
    const ql_adapter_options *o = &a->opt;
    char *path = ql_path_join(dir, "adapter_config.json");
    json_t *config = json_pack(
        "{s{} sn ss* ss sb sb sb sn sn so sf sn ss si s{} sn so ss sb sb}",
        "alpha_pattern", "auto_mapping", "base_model_name_or_path", base,
        "bias", "none", "fan_in_fan_out", (int)a->arch->transposed,
        "inference_mode", 1, "init_lora_weights", 1, "layers_pattern",
        "layers_to_transform", "lora_alpha", ql_peft_number(o->alpha),
        "lora_dropout", o->dropout, "modules_to_save", "peft_type", "LORA", "r",
        (int)o->r, "rank_pattern", "revision", "target_modules", list_paths(a),
        "task_type", a->arch->classifier ? "SEQ_CLS" : "CAUSAL_LM", "use_dora",
        (int)o->dora, "use_rslora", (int)o->rslora);
    ql_status st = QL_ENOMEM;

    if (!config || add_own(config, a->config) != 0 ||
        (a->taken && double_ranks(config, o) != 0)) {
        ql_fail(QL_ENOMEM, "out of memory, or the model's path is not UTF-8");
    } else if (path) {
        st = ql_json_save_ordered(config, path); /* first match counts */
    }
    json_decref(config);
    ql_free(path);
    return st;
}

/* Shape of tensor i in the file. */
static void shape_of(const ql_adapter *a, size_t i, size_t *shape)
{
    const ql_adapter_tensor *t = &a->tensors[i];

    memcpy(shape, t->shape, sizeof(t->shape));
    if (ql_full_turned(a, i)) {
        shape[0] = t->shape[1];
        shape[1] = t->shape[0];
    }
    if (a->taken && t->part == QL_PART_A) {
        shape[0] *= 2;
    } else if (a->taken && t->part == QL_PART_B) {
        shape[1] *= 2;
    }
}

/* Tensor i with what was taken off the base, which is negative, in room of
 * twice its size: A below A, or B beside B. */
static const float *both(const ql_adapter *a, size_t i, float *room)
{
    const ql_adapter_tensor *t = &a->tensors[i];
    const float *own = a->param + t->at;
    const float *taken = a->taken + t->at;
    const size_t r = t->shape[1];

    if (t->part == QL_PART_A) {
        memcpy(room, own, a->sizes[i] * sizeof(float));
        memcpy(room + a->sizes[i], taken, a->sizes[i] * sizeof(float));
        return room;
    }
    for (size_t n = 0; n < t->shape[0]; n++) {
        for (size_t k = 0; k < r; k++) {
            room[n * 2 * r + k] = own[n * r + k];
            room[n * 2 * r + r + k] = -taken[n * r + k];
        }
    }
    return room;
}

static ql_status put_tensor(const ql_adapter *a, size_t i, const char *name,
                            ql_safetensors_writer *w)
{
    const ql_part part = a->tensors[i].part;
    float *room = NULL;
    ql_status st;

    if (ql_full_turned(a, i)) {
        return ql_trained_put_pieces(a, i, QL_DTYPE_F32, name, w);
    }
    if (!a->taken || (part != QL_PART_A && part != QL_PART_B)) {
        return ql_safetensors_writer_put(w, name, a->param + a->tensors[i].at);
    }
    room = ql_alloc(QL_TAG_WORK, 2 * a->sizes[i], sizeof(float));
    st =
        room ? ql_safetensors_writer_put(w, name, both(a, i, room)) : QL_ENOMEM;
    ql_free(room);
    return st;
}

static ql_status write_tensors(const ql_adapter *a, ql_safetensors_writer *w)
{
    char name[NAME_BYTES];

    QL_TRY(ql_safetensors_writer_metadata(w, "format", "pt"));
    for (size_t i = 0; i < a->n_tensors; i++) {
        size_t shape[2];

        ql_adapter_name(a, i, name, sizeof(name));
        shape_of(a, i, shape);
        QL_TRY(ql_safetensors_writer_add(w, name, QL_DTYPE_F32, shape,
                                         a->tensors[i].rank));
    }
    QL_TRY(ql_safetensors_writer_begin(w));
    for (size_t i = 0; i < a->n_tensors; i++) {
        ql_adapter_name(a, i, name, sizeof(name));
        QL_TRY(put_tensor(a, i, name, w));
    }
    return ql_safetensors_writer_commit(w);
}

ql_status ql_peft_save(const ql_adapter *a, const char *base, const char *dir)
{
    ql_status st = QL_ENOMEM;
    ql_safetensors_writer *w = NULL;
    char *path = ql_path_join(dir, "adapter_model.safetensors");

    if (path) {
        QL_TRY_DONE(ql_safetensors_writer_open(&w, path));
        QL_TRY_DONE(write_tensors(a, w));
        st = save_config(a, base, dir);
    }
done:
    ql_safetensors_writer_close(&w);
    ql_free(path);
    return st;
}

/* The whole matrix of this path, or its bias, unless it only repeats the
 * base's. */
static const ql_tensor *find_whole(const ql_adapter_folder *f, const char *path,
                                   bool bias)
{
    char name[NAME_BYTES + 8];

    snprintf(name, sizeof(name), "%s.%s", path, bias ? "bias" : "weight");
    for (size_t i = 0; i < f->n_wholes; i++) {
        if (!f->wholes[i].repeats && strcmp(f->wholes[i].name, name) == 0) {
            return &f->wholes[i].tensor;
        }
    }
    return NULL;
}

/* Whether the settings ask for a site: "all-linear" means blocks only. MLX has
 * no settings that say so. */
static ql_status asked(const ql_adapter_folder *f, ql_site site,
                       const char *path, bool *yes)
{
    const ql_adapter_settings s = {.root = f->settings, .path = f->path};
    const json_t *targets = json_object_get(f->settings, "target_modules");
    const char *name = json_string_value(targets);
    const bool all = name && strcmp(name, "all-linear") == 0;

    *yes = false;
    if (!ql_site_takes_pairs(site)) {
        return QL_OK;
    }
    if (!json_is_array(targets) && !json_is_string(targets)) {
        return QL_OK;
    }
    if (all && site.place != QL_PLACE_BLOCK && site.place != QL_PLACE_POOLER) {
        return QL_OK;
    }
    return ql_adapter_settings_targets(&s, path, yes);
}

static const char *embed_path(const ql_config *c, char path[NAME_BYTES])
{
    ql_site_path(c->arch, (ql_site){.place = QL_PLACE_EMBED}, path, NAME_BYTES);
    return path;
}

/* Where embedding and head are one matrix and shall stay so, the head changes
 * as the embedding does, unless the folder has something of its own for it. */
static bool head_follows(const ql_adapter_folder *f, const ql_config *c)
{
    const char *head = c->arch->names->head;
    char embed[NAME_BYTES];

    embed_path(c, embed);
    return f->tied && c->tied && !ql_adapter_folder_pair(f, head) &&
           !find_whole(f, head, false) &&
           (ql_adapter_folder_pair(f, embed) || find_whole(f, embed, false));
}

/* Makes the head change so: W + s (B A)^T is W + s A^T B^T. There is room,
 * since each tensor has room for a pair and for a whole one. */
static ql_status share_embedding(ql_adapter_folder *f, const ql_config *c)
{
    const char *head = c->arch->names->head;
    const ql_adapter_pair *p;
    char embed[NAME_BYTES];

    embed_path(c, embed);
    p = ql_adapter_folder_pair(f, embed);
    return p ? ql_adapter_folder_turn_pair(f, p, head)
             : ql_adapter_folder_repeat(f, find_whole(f, embed, false), head);
}

/* Adds what the folder changes of a module's matrix. */
static void add_matrix(const ql_adapter_folder *f, ql_site site,
                       const char *path, ql_adapter_item *items, size_t *n)
{
    const ql_adapter_pair *p = ql_adapter_folder_pair(f, path);

    if (p && ql_site_takes_pairs(site)) {
        items[(*n)++] =
            (ql_adapter_item){.site = site, .r = p->r, .alpha = p->alpha};
    } else if (!ql_site_is_norm(site) && find_whole(f, path, false)) {
        items[(*n)++] = (ql_adapter_item){.site = site};
    }
}

/* Adds what it changes of a module's vectors: a bias may have been trained
 * with the pairs, or with all of its module. */
static void add_vectors(const ql_config *c, const ql_adapter_folder *f,
                        ql_site site, const char *path, ql_adapter_item *items,
                        size_t *n)
{
    const bool whole = site.place != QL_PLACE_BLOCK &&
                       site.place != QL_PLACE_HEAD &&
                       find_whole(f, path, false);

    if (whole && ql_site_is_norm(site)) {
        items[(*n)++] = (ql_adapter_item){.site = site};
    }
    site.bias = true;
    if (ql_site_biased(c, site) && (whole || find_whole(f, path, true))) {
        items[(*n)++] = (ql_adapter_item){.site = site};
    }
}

/* What the folder changes of the model, in order of its sites; there is room
 * for two for each. */
static void find_items(const ql_config *c, const ql_adapter_folder *f,
                       ql_adapter_item *items, size_t *n)
{
    const size_t sites = ql_site_count(c);

    for (size_t i = 0; i < 2 * sites; i++) {
        const ql_site site = ql_site_at(c, i % sites);
        char path[NAME_BYTES];

        ql_site_path(c->arch, site, path, sizeof(path));
        if (i < sites) {
            add_matrix(f, site, path, items, n);
        } else {
            add_vectors(c, f, site, path, items, n);
        }
    }
}

/* True if items has the weight, or the bias, of this path. */
static bool has_path(const ql_config *c, const ql_adapter_item *items, size_t n,
                     const char *want, size_t length, bool bias)
{
    for (size_t i = 0; i < n; i++) {
        char path[NAME_BYTES];

        ql_site_path(c->arch, items[i].site, path, sizeof(path));
        if (items[i].site.bias == bias && strlen(path) == length &&
            memcmp(path, want, length) == 0) {
            return true;
        }
    }
    return false;
}

/* Every part of the folder has its place in items. */
static ql_status check_used(const ql_config *c, const ql_adapter_folder *f,
                            const ql_adapter_item *items, size_t n)
{
    for (size_t i = 0; i < f->n_pairs; i++) {
        const char *path = f->pairs[i].path;

        if (!has_path(c, items, n, path, strlen(path), false)) {
            QL_FAIL(QL_EMISMATCH,
                    "%s: the model has no module %s; the adapter was made for "
                    "another one",
                    f->path, path);
        }
    }
    for (size_t i = 0; i < f->n_wholes; i++) {
        const char *name = f->wholes[i].name;
        const char *dot = strrchr(name, '.');

        if (!f->wholes[i].repeats &&
            !has_path(c, items, n, name, dot ? (size_t)(dot - name) : 0,
                      ql_name_ends(name, ".bias"))) {
            QL_FAIL(QL_EUNSUPPORTED,
                    "%s: %s is trained whole, and is nothing that can be here; "
                    "fold it into the model (qlora-export merge)",
                    f->path, name);
        }
    }
    return QL_OK;
}

/* The tensor of the folder that becomes tensor i. */
static const ql_tensor *source(const ql_adapter *a, size_t i,
                               const ql_adapter_folder *f)
{
    const ql_adapter_tensor *t = &a->tensors[i];
    const ql_adapter_pair *p;
    char path[NAME_BYTES];

    ql_adapter_path(a, t->entry, path, sizeof(path));
    if (t->part == QL_PART_WHOLE) {
        return find_whole(f, path, a->entries[t->entry].site.bias);
    }
    p = ql_adapter_folder_pair(f, path);
    return t->part == QL_PART_A   ? &p->a
           : t->part == QL_PART_B ? &p->b
                                  : &p->magnitude;
}

/* A tensor of the embedding or the head fits but for the number of tokens. */
static bool other_vocabulary(const ql_adapter *a, const ql_adapter_tensor *to,
                             const ql_tensor *t)
{
    const ql_adapter_entry *e = &a->entries[to->entry];
    const bool embed = e->site.place == QL_PLACE_EMBED;
    const size_t V = embed ? e->in : e->out;
    const size_t k = to->shape[0] == V ? 0 : 1;

    return (embed || e->site.place == QL_PLACE_HEAD) && to->rank == 2 &&
           t->rank == 2 && to->shape[k] == V && t->shape[k] != V &&
           t->shape[1 - k] == to->shape[1 - k];
}

static ql_status read_tensors(ql_adapter *a, const ql_adapter_folder *f)
{
    for (size_t i = 0; i < a->n_tensors; i++) {
        const ql_adapter_tensor *to = &a->tensors[i];
        const ql_tensor *t = source(a, i, f);
        const bool turned = ql_full_turned(a, i);
        size_t want[2];
        char shape[QL_SHAPE_BYTES];
        char name[NAME_BYTES];

        ql_adapter_name(a, i, name, sizeof(name));
        shape_of(a, i, want);
        if (!t || t->rank != to->rank ||
            memcmp(t->shape, want, to->rank * sizeof(*want)) != 0) {
            QL_FAIL(QL_EMISMATCH,
                    "%s: %s must be there with shape %s; the adapter was made "
                    "for another %s",
                    f->path, name, ql_shape_print(shape, want, to->rank),
                    t && other_vocabulary(a, to, t)
                        ? "vocabulary: where tokens were added for it, the "
                          "model must have them, too"
                        : "model");
        }
        QL_TRY(
            (turned ? ql_tensor_turn : ql_tensor_to_f32)(a->param + to->at, t));
    }
    return QL_OK;
}

/* The path of the one module that a path without its first parts stands for,
 * or with more of them; false where it is the model's, or of none, or of
 * several. */
static bool find_site(const ql_config *c, const char *path,
                      char found[NAME_BYTES])
{
    size_t n = 0;

    for (size_t i = 0; i < ql_site_count(c); i++) {
        char site[NAME_BYTES];

        ql_site_path(c->arch, ql_site_at(c, i), site, sizeof(site));
        if (strcmp(site, path) == 0) {
            return false;
        }
        if (ql_name_same(site, path)) {
            memcpy(found, site, sizeof(site));
            n++;
        }
    }
    return n == 1;
}

static ql_status rename_to(char **name, const char *path, const char *rest)
{
    char text[NAME_BYTES + 8];
    char *fresh;

    snprintf(text, sizeof(text), "%s%s", path, rest);
    fresh = ql_strdup(QL_TAG_MISC, text);
    if (!fresh) {
        return QL_ENOMEM;
    }
    ql_free(*name);
    *name = fresh;
    return QL_OK;
}

/* Names become the model's: what was trained on the model without its head, as
 * AutoModel has it, lacks the first part of them. */
static ql_status adopt_names(ql_adapter_folder *f, const ql_config *c)
{
    char found[NAME_BYTES];

    for (size_t i = 0; i < f->n_pairs; i++) {
        if (find_site(c, f->pairs[i].path, found) &&
            !ql_adapter_folder_pair(f, found)) {
            QL_TRY(rename_to(&f->pairs[i].path, found, ""));
        }
    }
    for (size_t i = 0; i < f->n_wholes; i++) {
        char *name = f->wholes[i].name;
        const char *leaf = strrchr(name, '.');
        const bool bias = leaf && strcmp(leaf, ".bias") == 0;
        char path[NAME_BYTES];

        snprintf(path, sizeof(path), "%.*s", leaf ? (int)(leaf - name) : 0,
                 name);
        if ((bias || ql_name_ends(name, ".weight")) &&
            find_site(c, path, found) && !find_whole(f, found, bias)) {
            QL_TRY(rename_to(&f->wholes[i].name, found,
                             bias ? ".bias" : ".weight"));
        }
    }
    return QL_OK;
}

/* What modules_to_save names of a site is there; a head that shall stay one
 * with the embedding is there with it. */
static ql_status check_saved(const ql_adapter_folder *f, const ql_config *c,
                             ql_site site, const char *path)
{
    const ql_adapter_settings s = {.root = f->settings, .path = f->path};
    const bool bias = ql_site_biased(c, site);

    if (!ql_adapter_settings_saves(&s, path) ||
        ql_adapter_folder_pair(f, path) ||
        (site.place == QL_PLACE_HEAD && head_follows(f, c))) {
        return QL_OK;
    }
    if (!find_whole(f, path, false) || (bias && !find_whole(f, path, true))) {
        QL_FAIL(QL_EMISMATCH,
                "%s: %s.%s must be there, for \"modules_to_save\" of "
                "adapter_config.json names it; the file is not complete",
                f->path, path, find_whole(f, path, false) ? "bias" : "weight");
    }
    return QL_OK;
}

ql_status ql_peft_fit(ql_adapter_folder *f, const ql_config *c)
{
    QL_TRY(adopt_names(f, c));
    if (f->fan_in_fan_out && !c->arch->transposed) {
        ql_warn("%s: \"fan_in_fan_out\" is left out, as PEFT does: the model "
                "stores no weight that way",
                f->path);
    }
    for (size_t i = 0; i < ql_site_count(c); i++) {
        const ql_site site = ql_site_at(c, i);
        char path[NAME_BYTES];
        bool yes;

        ql_site_path(c->arch, site, path, sizeof(path));
        QL_TRY(asked(f, site, path, &yes));
        if (yes && !ql_adapter_folder_pair(f, path) &&
            !(site.place == QL_PLACE_HEAD && head_follows(f, c))) {
            QL_FAIL(QL_EMISMATCH,
                    "%s: %s.lora_A must be there, for adapter_config.json "
                    "asks for it; the adapter was made for another model",
                    f->path, path);
        }
        QL_TRY(check_saved(f, c, site, path));
    }
    return QL_OK;
}

/* A pattern for modules that stands for the names of the folder, and not for
 * the model's, with which it would be written. */
static ql_status check_pattern(const ql_adapter_folder *f, ql_adapter *a)
{
    const ql_adapter_settings s = {.root = f->settings, .path = f->path};

    for (size_t i = 0; i < a->n; i++) {
        char path[NAME_BYTES];
        bool yes = true;

        ql_adapter_path(a, i, path, sizeof(path));
        if (f->settings && a->entries[i].r > 0 && !a->fixed) {
            QL_TRY(ql_adapter_settings_targets(&s, path, &yes));
        }
        if (!yes) {
            a->fixed = "has a pattern in \"target_modules\" that does not "
                       "stand for the model's names";
        }
    }
    return QL_OK;
}

/* The weight of this path is trained whole. */
static bool has_whole(const ql_adapter *a, const char *want)
{
    for (size_t i = 0; i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];
        char path[NAME_BYTES];

        ql_adapter_path(a, i, path, sizeof(path));
        if (!e->site.bias && e->r == 0 && strcmp(path, want) == 0) {
            return true;
        }
    }
    return false;
}

/* Why what was read can be used, and not trained on; NULL: it can. */
static const char *reason(const ql_adapter *a, const ql_adapter_folder *f,
                          bool shared)
{
    for (size_t i = 0; i < f->n_wholes; i++) {
        if (f->wholes[i].unnamed && !f->wholes[i].repeats) {
            return "has an embedding or a head that is not the model's, and "
                   "that \"modules_to_save\" does not name";
        }
    }
    for (size_t i = 0; i < a->n; i++) {
        const ql_site site = a->entries[i].site;
        char path[NAME_BYTES];

        ql_adapter_path(a, i, path, sizeof(path));
        if (site.bias && site.place != QL_PLACE_HEAD && !has_whole(a, path)) {
            return "changes biases of the model";
        }
    }
    return shared ? "changes the embedding and the head, which are one matrix, "
                    "by the same numbers"
                  : NULL;
}

static ql_status read_folder(ql_adapter *a, const ql_config *c,
                             ql_adapter_folder *f)
{
    const ql_adapter_options opt = {.r = f->r,
                                    .alpha = f->alpha,
                                    .dropout = f->dropout,
                                    .rslora = f->rslora,
                                    .dora = f->dora};
    ql_adapter_item *items =
        ql_calloc(QL_TAG_MISC, ql_site_count(c), 2 * sizeof(*items));
    size_t n = 0;
    const bool shared = head_follows(f, c);
    ql_status st = QL_ENOMEM;

    QL_TRY_DONE(items ? QL_OK : QL_ENOMEM);
    QL_TRY_DONE(c->tied ? ql_adapter_folder_check_tie(f) : QL_OK);
    QL_TRY_DONE(shared ? share_embedding(f, c) : QL_OK);
    find_items(c, f, items, &n);
    QL_TRY_DONE(check_used(c, f, items, n));
    QL_TRY_DONE(ql_adapter_init(a, c, &opt, items, n, 0, false));
    a->config = json_incref(f->settings);
    a->fixed = reason(a, f, shared);
    QL_TRY_DONE(check_pattern(f, a));
    st = read_tensors(a, f);
done:
    ql_free(items);
    return st;
}

static ql_status load(ql_adapter *a, const ql_config *c, const ql_weights *w,
                      const char *dir)
{
    ql_adapter_folder f;
    const char *lacks;
    ql_status st;

    *a = (ql_adapter){0};
    QL_TRY(ql_adapter_folder_init(&f, dir));
    QL_TRY_DONE(ql_peft_fit(&f, c));
    QL_TRY_DONE(w ? ql_adapter_base_check(&f, w->shards) : QL_OK);
    QL_TRY_DONE(read_folder(a, c, &f));
    lacks = w ? ql_adapter_lacks(a, w) : NULL;
    if (lacks) {
        st = ql_fail(QL_EMISMATCH,
                     "%s: the model has no %s, and the adapter brings none "
                     "(\"modules_to_save\"): it was trained on a model that "
                     "has one, or on one that began at random",
                     f.path, lacks);
    }
done:
    ql_adapter_folder_free(&f);
    if (st != QL_OK) {
        ql_adapter_free(a);
    }
    return st;
}

ql_status ql_peft_load(ql_adapter *a, const ql_config *c, const char *dir)
{
    return load(a, c, NULL, dir);
}

ql_status ql_peft_load_onto(ql_adapter *a, const ql_model *model,
                            const char *dir)
{
    return load(a, &model->config, &model->weights, dir);
}

ql_status ql_model_load_adapter(ql_model *model, const char *dir)
{
    ql_adapter fresh;

    QL_TRY(ql_peft_load_onto(&fresh, model, dir));
    ql_adapter_free(&model->adapter);
    model->adapter = fresh;
    ql_model_use_adapter(model, NULL);
    return QL_OK;
}
