/* Each tensor of the file is taken apart into the path of a module and its
 * role there, which its ending tells. */
#include "src/convert/adapter_folder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/convert/adapter_parts.h"
#include "src/convert/adapter_settings.h"
#include "src/convert/mlx.h"
#include "src/format/names.h"

enum {
    CHUNK = 4096
};

static const char prefix[] = "base_model.model.";
static const char weights_name[] = "adapter_model.safetensors";

/* Files that hold an adapter, too, and what is to be done with them. */
static const struct {
    const char *file;
    const char *what;
} other_files[] = {
    {"adapter_model.bin",
     "a pickle, which may run code and is not read; write it anew, in its "
     "folder: python3 -c \"import torch; from safetensors.torch import "
     "save_file; save_file(torch.load('adapter_model.bin', weights_only=True), "
     "'adapter_model.safetensors')\""},
    {"model.safetensors", "a model, not an adapter; give its folder as the "
                          "model"},
    {"model.safetensors.index.json", "a model, not an adapter; give its folder "
                                     "as the model"},
    {"adapters.npz",
     "of an early MLX, and not read; write it anew, in its folder: python3 -c "
     "\"import mlx.core as mx; mx.save_safetensors('adapters.safetensors', "
     "mx.load('adapters.npz'))\""},
};

/* Endings of the names of PEFT, and what they say. */
static const struct {
    const char *ending;
    ql_adapter_role role;
    bool embedding;
} endings[] = {
    {".lora_A.weight", QL_ADAPTER_A, false},
    {".lora_B.weight", QL_ADAPTER_B, false},
    {".lora_embedding_A", QL_ADAPTER_A, true},
    {".lora_embedding_B", QL_ADAPTER_B, true},
    {".lora_magnitude_vector", QL_ADAPTER_MAGNITUDE, false},
    {".lora_magnitude_vector.weight", QL_ADAPTER_MAGNITUDE, false},
    /* with the name of the adapter, as state_dict() has them */
    {".lora_A.default.weight", QL_ADAPTER_A, false},
    {".lora_B.default.weight", QL_ADAPTER_B, false},
    {".lora_embedding_A.default", QL_ADAPTER_A, true},
    {".lora_embedding_B.default", QL_ADAPTER_B, true},
    {".lora_magnitude_vector.default.weight", QL_ADAPTER_MAGNITUDE, false},
};

static int by_path(const void *a, const void *b)
{
    const ql_adapter_pair *l = a;
    const ql_adapter_pair *r = b;

    return ql_name_order(l->path, r->path);
}

static int by_name(const void *a, const void *b)
{
    const ql_adapter_whole *l = a;
    const ql_adapter_whole *r = b;

    return strcmp(l->name, r->name);
}

/* The pair of a path of n bytes; a new one where there is none. Tensors come
 * in order of name, so it is the last one, if any. */
static ql_adapter_pair *pair_of(ql_adapter_folder *f, const char *path,
                                size_t n)
{
    ql_adapter_pair *p = f->n_pairs > 0 ? &f->pairs[f->n_pairs - 1] : NULL;

    if (p && strlen(p->path) == n && memcmp(p->path, path, n) == 0) {
        return p;
    }
    p = &f->pairs[f->n_pairs];
    *p = (ql_adapter_pair){.path = ql_strndup(QL_TAG_MISC, path, n)};
    if (!p->path) {
        return NULL;
    }
    f->n_pairs++;
    return p;
}

ql_status ql_adapter_folder_put(ql_adapter_folder *f, const char *path,
                                size_t n, ql_adapter_role role,
                                const ql_tensor *t)
{
    ql_adapter_pair *p = pair_of(f, path, n);
    ql_tensor *place;

    if (!p) {
        return QL_ENOMEM;
    }
    place = role == QL_ADAPTER_A   ? &p->a
            : role == QL_ADAPTER_B ? &p->b
                                   : &p->magnitude;
    if (place->name || t->rank != (role == QL_ADAPTER_MAGNITUDE ? 1 : 2)) {
        QL_FAIL(QL_EMISMATCH,
                "%s: %s: not the part of a LoRA pair that its "
                "name says",
                f->path, t->name);
    }
    *place = *t;
    return QL_OK;
}

/* An embedding or a head: where they are tied, PEFT changes both alike, though
 * the settings name one of them; and it may save them unasked. */
static bool is_end(const char *path)
{
    static const char *const ends[] = {"embed_tokens", "wte",
                                       "embed_in",     "word_embeddings",
                                       "lm_head",      "embed_out"};
    const char *dot = strrchr(path, '.');
    const char *leaf = dot ? dot + 1 : path;

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        if (strcmp(leaf, ends[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* A tensor that is no part of a pair. */
static ql_status put_whole(ql_adapter_folder *f, const ql_adapter_settings *s,
                           const ql_tensor *t, const char *rest)
{
    static const char base[] = ".base_layer.";
    const char *inner = strstr(rest, base);
    const char *leaf = strrchr(rest, '.');
    ql_adapter_whole *w = &f->wholes[f->n_wholes];
    const size_t n = leaf ? (size_t)(leaf - rest) : 0;
    char *path = ql_strndup(QL_TAG_MISC, rest, n);
    bool saved;
    bool bias;
    bool end;

    if (!path) {
        return QL_ENOMEM;
    }
    saved = ql_adapter_settings_takes(s, path);
    end = is_end(path);
    bias = s->biases && leaf && strcmp(leaf, ".bias") == 0;
    ql_free(path);
    if (!saved && !bias && !inner && !end) {
        QL_FAIL(QL_EMISMATCH,
                "%s: %s is neither part of a LoRA pair nor named in "
                "modules_to_save",
                f->path, t->name);
    }
    *w = (ql_adapter_whole){.tensor = *t,
                            .repeats = inner && !bias,
                            .end = end,
                            .unnamed = !saved && !bias && !inner && !s->tied};
    w->name = ql_strdup(QL_TAG_MISC, rest);
    if (!w->name) {
        return QL_ENOMEM;
    }
    if (inner) { /* "lm_head.base_layer.weight" is "lm_head.weight" */
        const char *leaf_of = inner + strlen(base) - 1;

        memmove(w->name + (inner - rest), leaf_of, strlen(leaf_of) + 1);
    }
    f->n_wholes++;
    return QL_OK;
}

/* Parts of a path that PEFT adds where it wraps a module that is trained whole,
 * and what stands for them in its own names; NULL: what is there is as the base
 * has it. The longer one comes first. */
static const struct {
    const char *part;
    const char *plain;
} wrapped[] = {
    {".original_module.", NULL},
    {".modules_to_save.default.", "."},
    {".modules_to_save.", "."},
};

/* Where all biases are trained, or embeddings saved unasked, PEFT saves what is
 * in a module which is trained whole twice more: as it was, and by the name of
 * what it wraps it in. A state_dict() has it by that name alone. at: where part
 * i of them is. */
static ql_status put_wrapped(ql_adapter_folder *f, const ql_adapter_settings *s,
                             const ql_tensor *t, const char *at, size_t i)
{
    const char *plain = wrapped[i].plain;
    const char *rest = at + strlen(wrapped[i].part);
    const size_t n = (size_t)(at - t->name);
    ql_status st = QL_OK;
    char *name;

    if (!plain) {
        return QL_OK;
    }
    name = ql_strdup(QL_TAG_MISC, t->name);
    if (!name) {
        return QL_ENOMEM;
    }
    snprintf(name + n, strlen(name) + 1 - n, "%s%s", plain, rest); /* shorter */
    if (!ql_safetensors_find(f->file, name)) {
        st = put_whole(f, s, t, name + strlen(prefix));
    }
    ql_free(name);
    return st;
}

static ql_status put_other(ql_adapter_folder *f, const ql_adapter_settings *s,
                           const ql_tensor *t, const char *rest)
{
    for (size_t i = 0; i < sizeof(wrapped) / sizeof(wrapped[0]); i++) {
        const char *at = strstr(rest, wrapped[i].part);

        if (at && ql_adapter_settings_takes(s, rest)) {
            return put_wrapped(f, s, t, at, i);
        }
    }
    return put_whole(f, s, t, rest);
}

static ql_status put_tensor(ql_adapter_folder *f, const ql_adapter_settings *s,
                            const ql_tensor *t)
{
    const bool whole = strncmp(t->name, prefix, strlen(prefix)) == 0;
    const char *rest = t->name + (whole ? strlen(prefix) : 0);

    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        if (ql_name_ends(rest, endings[i].ending)) {
            const size_t n = strlen(rest) - strlen(endings[i].ending);

            QL_TRY(ql_adapter_folder_put(f, rest, n, endings[i].role, t));
            f->pairs[f->n_pairs - 1].embedding |= endings[i].embedding;
            return QL_OK;
        }
    }
    if (!whole) {
        QL_FAIL(QL_EMISMATCH, "%s: %s is not a name that PEFT gives", f->path,
                t->name);
    }
    return put_other(f, s, t, rest);
}

ql_status ql_adapter_folder_room(ql_adapter_folder *f, const char *path)
{
    size_t n;

    f->path = ql_strdup(QL_TAG_MISC, path);
    if (!f->path) {
        return QL_ENOMEM;
    }
    QL_TRY(ql_safetensors_open(&f->file, path));
    n = ql_safetensors_count(f->file);
    f->pairs = ql_calloc(QL_TAG_MISC, n, sizeof(*f->pairs));
    f->wholes = ql_calloc(QL_TAG_MISC, n, sizeof(*f->wholes));
    return f->pairs && f->wholes ? QL_OK : QL_ENOMEM;
}

/* Makes a block live as long as the folder; takes it over in any case. */
static ql_status own(ql_adapter_folder *f, void *block)
{
    void **grown =
        ql_realloc(QL_TAG_MISC, f->owned, f->n_owned + 1, sizeof(void *));

    if (!grown || !block) {
        f->owned = grown ? grown : f->owned;
        ql_free(block);
        return QL_ENOMEM;
    }
    f->owned = grown;
    grown[f->n_owned++] = block;
    return QL_OK;
}

ql_status ql_adapter_folder_turn(ql_adapter_folder *f, ql_tensor *t)
{
    const size_t rows = t->shape[0];
    float *turned = ql_alloc(QL_TAG_ADAPTER, t->elements, sizeof(float));

    QL_TRY(own(f, turned));
    QL_TRY(ql_tensor_turn(turned, t));
    t->dtype = QL_DTYPE_F32;
    t->shape[0] = t->shape[1];
    t->shape[1] = rows;
    t->bytes = t->elements * sizeof(float);
    t->data = (const unsigned char *)turned;
    return QL_OK;
}

ql_status ql_adapter_folder_turn_pair(ql_adapter_folder *f,
                                      const ql_adapter_pair *p,
                                      const char *head)
{
    ql_adapter_pair *q = &f->pairs[f->n_pairs];

    *q = *p;
    q->path = ql_strdup(QL_TAG_MISC, head);
    if (!q->path) {
        return QL_ENOMEM;
    }
    f->n_pairs++;
    q->embedding = false;
    q->in = p->out;
    q->out = p->in;
    q->a = p->b;
    q->b = p->a;
    QL_TRY(ql_adapter_folder_turn(f, &q->a));
    return ql_adapter_folder_turn(f, &q->b);
}

ql_status ql_adapter_folder_repeat(ql_adapter_folder *f, const ql_tensor *w,
                                   const char *head)
{
    ql_adapter_whole *new = &f->wholes[f->n_wholes];
    char name[64];

    snprintf(name, sizeof(name), "%s.weight", head);
    *new =
        (ql_adapter_whole){.name = ql_strdup(QL_TAG_MISC, name), .tensor = *w};
    if (!new->name) {
        return QL_ENOMEM;
    }
    f->n_wholes++;
    return QL_OK;
}

static ql_status check_finite(const ql_adapter_folder *f, const ql_tensor *t)
{
    float x[CHUNK];

    for (size_t i = 0; i < t->elements; i += CHUNK) {
        const size_t left = t->elements - i;
        const ql_tensor part =
            ql_tensor_slice(t, i, left < CHUNK ? left : CHUNK);

        QL_TRY(ql_tensor_to_f32(x, &part));
        for (size_t j = 0; j < part.elements; j++) {
            if (!isfinite(x[j])) {
                QL_FAIL(QL_EFORMAT,
                        "%s: %s: a number is not finite; the adapter is "
                        "damaged or its training diverged",
                        f->path, t->name);
            }
        }
    }
    return QL_OK;
}

/* Both halves are there, of one rank, with a magnitude if asked for. */
static ql_status check_pair(const ql_adapter_folder *f, ql_adapter_pair *p)
{
    const char *missing = !p->a.name ? "lora_A" : !p->b.name ? "lora_B" : NULL;

    if (missing) {
        QL_FAIL(QL_EMISMATCH, "%s: %s must have a %s", f->path, p->path,
                missing);
    }
    p->r = p->a.shape[0];
    p->in = p->a.shape[1];
    p->out = p->b.shape[0];
    if (p->b.shape[1] != p->r) {
        QL_FAIL(QL_EMISMATCH, "%s: %s has rank %zu, but its lora_A has %zu",
                f->path, p->b.name, p->b.shape[1], p->r);
    }
    if (f->dora && p->embedding && (f->mlx || f->tied)) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: %s: DoRA on an embedding is not supported %s", f->path,
                p->path,
                f->mlx ? "in adapters of MLX" : "with \"ensure_weight_tying\"");
    }
    if (!f->dora && p->magnitude.name) {
        QL_FAIL(QL_EMISMATCH,
                "%s: %s is there, but \"use_dora\" of adapter_config.json is "
                "not set",
                f->path, p->magnitude.name);
    }
    if (f->dora && p->magnitude.elements != p->out) {
        QL_FAIL(QL_EMISMATCH,
                "%s: %s must have %zu magnitudes, since \"use_dora\" of "
                "adapter_config.json is set",
                f->path, p->path, p->out);
    }
    QL_TRY(check_finite(f, &p->a));
    QL_TRY(check_finite(f, &p->b));
    return f->dora ? check_finite(f, &p->magnitude) : QL_OK;
}

ql_status ql_adapter_folder_seal(ql_adapter_folder *f)
{
    for (size_t i = 0; i < f->n_pairs; i++) {
        QL_TRY(check_pair(f, &f->pairs[i]));
    }
    for (size_t i = 0; i < f->n_wholes; i++) {
        QL_TRY(check_finite(f, &f->wholes[i].tensor));
    }
    if (f->n_pairs == 0) {
        QL_FAIL(QL_EMISMATCH, "%s: holds no LoRA pair", f->path);
    }
    qsort(f->pairs, f->n_pairs, sizeof(*f->pairs), by_path);
    qsort(f->wholes, f->n_wholes, sizeof(*f->wholes), by_name);
    return QL_OK;
}

static ql_status set_scale(const ql_adapter_folder *f,
                           const ql_adapter_settings *s, ql_adapter_pair *p)
{
    bool asked;
    size_t r;

    QL_TRY(ql_adapter_settings_module(s, p->path, &r, &p->alpha));
    if (p->r != r) {
        QL_FAIL(QL_EMISMATCH,
                "%s: %s has rank %zu, but adapter_config.json says %zu",
                f->path, p->a.name, p->r, r);
    }
    QL_TRY(ql_adapter_settings_targets(s, p->path, &asked));
    if (!asked && !(f->tied && is_end(p->path))) {
        QL_FAIL(QL_EMISMATCH,
                "%s: %s is adapted, but \"target_modules\", "
                "\"exclude_modules\" and \"layers_to_transform\" of "
                "adapter_config.json do not ask for it",
                f->path, p->path);
    }
    p->scale = p->alpha / (f->rslora ? sqrt((double)r) : (double)r);
    return QL_OK;
}

static ql_status read_peft(ql_adapter_folder *f, const ql_adapter_settings *s,
                           const char *path)
{
    f->r = s->r;
    f->alpha = s->alpha;
    f->dropout = s->dropout;
    f->rslora = s->rslora;
    f->dora = s->dora;
    f->fan_in_fan_out = s->fan_in_fan_out;
    f->tied = s->tied;
    QL_TRY(ql_adapter_folder_room(f, path));
    for (size_t i = 0; i < ql_safetensors_count(f->file); i++) {
        QL_TRY(put_tensor(f, s, ql_safetensors_at(f->file, i)));
    }
    QL_TRY(ql_adapter_folder_seal(f));
    for (size_t i = 0; i < f->n_pairs; i++) {
        QL_TRY(set_scale(f, s, &f->pairs[i]));
    }
    return ql_adapter_settings_tell(s);
}

/* Where the file of weights is missing, others may be there. */
static ql_status check_others(const char *dir)
{
    for (size_t i = 0; i < sizeof(other_files) / sizeof(other_files[0]); i++) {
        char *path = ql_path_join(dir, other_files[i].file);
        ql_status st = path ? QL_OK : QL_ENOMEM;

        if (path && ql_path_exists(path)) {
            st = ql_fail(QL_EUNSUPPORTED, "%s: %s", path, other_files[i].what);
        }
        ql_free(path);
        QL_TRY(st);
    }
    return QL_OK;
}

ql_status ql_adapter_folder_init(ql_adapter_folder *f, const char *dir)
{
    ql_adapter_settings s = {0};
    char *path = ql_path_join(dir, weights_name);
    ql_status st = QL_ENOMEM;

    *f = (ql_adapter_folder){0};
    if (path) {
        QL_TRY_DONE(ql_dir_need(dir, "give a folder with a LoRA adapter"));
        if (!ql_path_exists(path)) {
            if (ql_mlx_is(dir)) {
                st = ql_mlx_read(f, dir);
                goto done;
            }
            QL_TRY_DONE(check_others(dir));
        }
        QL_TRY_DONE(ql_adapter_settings_init(&s, dir));
        f->settings = json_incref(s.root);
        st = read_peft(f, &s, path);
    }
done:
    ql_adapter_settings_free(&s);
    ql_free(path);
    if (st != QL_OK) {
        ql_adapter_folder_free(f);
    }
    return st;
}

void ql_adapter_folder_free(ql_adapter_folder *f)
{
    for (size_t i = 0; i < f->n_pairs; i++) {
        ql_free(f->pairs[i].path);
    }
    for (size_t i = 0; i < f->n_wholes; i++) {
        ql_free(f->wholes[i].name);
    }
    for (size_t i = 0; i < f->n_owned; i++) {
        ql_free(f->owned[i]);
    }
    ql_free(f->owned);
    ql_free(f->pairs);
    ql_free(f->wholes);
    ql_free(f->path);
    json_decref(f->settings);
    ql_safetensors_close(&f->file);
    *f = (ql_adapter_folder){0};
}

ql_status ql_adapter_folder_check_tie(const ql_adapter_folder *f)
{
    const char *whole = NULL;
    const char *pair = NULL;

    for (size_t i = 0; i < f->n_wholes; i++) {
        if (f->wholes[i].end && !f->wholes[i].repeats) {
            whole = f->wholes[i].name;
        }
    }
    for (size_t i = 0; i < f->n_pairs; i++) {
        if (is_end(f->pairs[i].path)) {
            pair = f->pairs[i].path;
        }
    }
    if (f->tied && whole && pair) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: %s is trained whole, and %s by a pair, though "
                "\"ensure_weight_tying\" says that they stay one matrix; what "
                "that gives is not defined: name both in \"modules_to_save\", "
                "both in \"target_modules\", or leave that setting out, which "
                "makes them two",
                f->path, whole, pair);
    }
    return QL_OK;
}

const ql_adapter_pair *ql_adapter_folder_pair(const ql_adapter_folder *f,
                                              const char *path)
{
    for (size_t i = 0; i < f->n_pairs; i++) {
        if (strcmp(f->pairs[i].path, path) == 0) {
            return &f->pairs[i];
        }
    }
    return NULL;
}
