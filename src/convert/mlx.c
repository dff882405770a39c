#include "src/convert/mlx.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/convert/adapter_parts.h"
#include "src/format/names.h"

static const char weights_name[] = "adapters.safetensors";

enum {
    MAX_JSON = 16 << 20
};

static const struct {
    const char *ending;
    ql_adapter_role role;
} endings[] = {
    {".lora_a", QL_ADAPTER_A},
    {".lora_b", QL_ADAPTER_B},
    {".m", QL_ADAPTER_MAGNITUDE},
};

/* Modules that are embeddings: their weight is looked up, not multiplied. */
static const char *const embeddings[] = {"embed_tokens", "wte", "embed_in"};

bool ql_mlx_is(const char *dir)
{
    char *path = ql_path_join(dir, weights_name);
    const bool is = path && ql_path_exists(path);

    ql_free(path);
    return is;
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

/* The transpose of a matrix, in f32 of our own. */
static ql_status turn(ql_adapter_folder *f, ql_tensor *t)
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

static ql_status put_tensor(ql_adapter_folder *f, const ql_tensor *t)
{
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        if (ql_name_ends(t->name, endings[i].ending)) {
            const size_t n = strlen(t->name) - strlen(endings[i].ending);
            ql_tensor own_form = *t;

            if (t->rank == 2) {
                QL_TRY(turn(f, &own_form));
            }
            return ql_adapter_folder_put(f, t->name, n, endings[i].role,
                                         &own_form);
        }
    }
    QL_FAIL(QL_EUNSUPPORTED,
            "%s: %s is not part of a LoRA pair; only adapters of linear "
            "layers and embeddings are read",
            f->path, t->name);
}

static bool is_embedding(const char *path)
{
    const char *dot = strrchr(path, '.');
    const char *leaf = dot ? dot + 1 : path;

    for (size_t i = 0; i < sizeof(embeddings) / sizeof(embeddings[0]); i++) {
        if (strcmp(leaf, embeddings[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* "scale" must be there: that of a version that had another meaning of
 * "alpha" is not guessed. */
static ql_status read_settings(ql_adapter_folder *f, const json_t *root,
                               const char *path)
{
    const json_t *lora = json_object_get(root, "lora_parameters");
    const char *kind = "lora";
    double scale = 0;

    QL_TRY(ql_json_string(root, "fine_tune_type", path, &kind));
    QL_TRY(ql_json_bool(root, "use_dora", path, &f->dora));
    f->dora |= strcmp(kind, "dora") == 0;
    if (strcmp(kind, "lora") != 0 && strcmp(kind, "dora") != 0) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: \"fine_tune_type\" is \"%s\"; only lora and dora are "
                "adapters",
                path, kind);
    }
    if (!json_is_object(lora)) {
        QL_FAIL(QL_EFORMAT, "%s: \"lora_parameters\" is missing", path);
    }
    QL_TRY(ql_json_size(lora, "rank", path, &f->r));
    QL_TRY(ql_json_real(lora, "scale", path, &scale));
    QL_TRY(ql_json_real(lora, "dropout", path, &f->dropout));
    if (!isfinite(scale) || scale <= 0) {
        QL_FAIL(QL_EFORMAT,
                "%s: \"scale\" of \"lora_parameters\" must be a positive "
                "number",
                path);
    }
    f->alpha = scale * (double)f->r;
    f->tied = true; /* MLX adapts the embedding where it is the head, too */
    f->mlx = true;
    return QL_OK;
}

static ql_status read_tensors(ql_adapter_folder *f, const char *path)
{
    const double scale = f->alpha / (double)f->r;

    QL_TRY(ql_adapter_folder_room(f, path));
    for (size_t i = 0; i < ql_safetensors_count(f->file); i++) {
        QL_TRY(put_tensor(f, ql_safetensors_at(f->file, i)));
    }
    for (size_t i = 0; i < f->n_pairs; i++) {
        f->pairs[i].embedding = is_embedding(f->pairs[i].path);
    }
    QL_TRY(ql_adapter_folder_seal(f));
    for (size_t i = 0; i < f->n_pairs; i++) {
        ql_adapter_pair *p = &f->pairs[i];

        if (p->r != f->r) {
            QL_FAIL(QL_EMISMATCH,
                    "%s: %s has rank %zu, but adapter_config.json says %zu",
                    path, p->path, p->r, f->r);
        }
        p->alpha = f->alpha;
        p->scale = scale;
    }
    return QL_OK;
}

ql_status ql_mlx_read(ql_adapter_folder *f, const char *dir)
{
    char *config = ql_path_join(dir, "adapter_config.json");
    char *path = ql_path_join(dir, weights_name);
    json_t *root = NULL;
    ql_status st = QL_ENOMEM;

    if (config && path) {
        QL_TRY_DONE(ql_json_load(&root, config, MAX_JSON));
        QL_TRY_DONE(read_settings(f, root, config));
        if (f->r == 0) {
            st = ql_fail(QL_EFORMAT, "%s: \"rank\" is missing or 0", config);
            goto done;
        }
        st = read_tensors(f, path);
    }
done:
    json_decref(root);
    ql_free(config);
    ql_free(path);
    return st;
}
