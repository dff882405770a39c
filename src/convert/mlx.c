#include "src/convert/mlx.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/convert/adapter_parts.h"
#include "src/format/names.h"

static const char weights_name[] = "adapters.safetensors";

enum {
    MAX_JSON = 16 << 20,
    MAX_PATH = 1 << 16
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

/* Beginnings of paths that MLX has otherwise than the model's files; a path
 * must hold something, too, where two architectures begin alike. */
static const struct {
    const char *theirs, *holds, *ours;
} beginnings[] = {
    {"model.h.", ".attention.", "gpt_neox.layers."},
    {"model.h.", ".mlp.dense_", "gpt_neox.layers."},
    {"model.h.", "", "transformer.h."},
    {"model.wte", "", "transformer.wte"},
    {"model.embed_in", "", "gpt_neox.embed_in"},
    {"model.embed_out", "", "embed_out"},
};

/* The path of a module, n bytes of MLX's name, as the model's files have it. */
static ql_status put_path(ql_buf *path, const char *name, size_t n)
{
    const char *ours = "";
    size_t skip = 0;

    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
        const size_t m = strlen(beginnings[i].theirs);

        if (strncmp(name, beginnings[i].theirs, m) == 0 &&
            strstr(name, beginnings[i].holds)) {
            ours = beginnings[i].ours;
            skip = m;
            break;
        }
    }
    return ql_buf_printf(path, "%s%.*s", ours, (int)(n - skip), name + skip);
}

static ql_status put_role(ql_adapter_folder *f, const ql_tensor *t, size_t n,
                          ql_adapter_role role)
{
    ql_tensor turned = *t;
    ql_buf path;
    ql_status st;

    ql_buf_init(&path, QL_TAG_TEXT, MAX_PATH);
    QL_TRY_DONE(put_path(&path, t->name, n));
    QL_TRY_DONE(t->rank == 2 ? ql_adapter_folder_turn(f, &turned) : QL_OK);
    st = ql_adapter_folder_put(f, path.data, path.len, role, &turned);
done:
    ql_buf_free(&path);
    return st;
}

static ql_status put_tensor(ql_adapter_folder *f, const ql_tensor *t)
{
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        if (ql_name_ends(t->name, endings[i].ending)) {
            return put_role(f, t, strlen(t->name) - strlen(endings[i].ending),
                            endings[i].role);
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

/* MLX multiplies by "scale" alone, and says "num_layers"; early versions, which
 * said "lora_layers", multiplied by scale * alpha / rank for some time. */
static ql_status check_alpha(const ql_adapter_folder *f, const json_t *root,
                             const json_t *lora, const char *path)
{
    const json_t *alpha = json_object_get(lora, "alpha");

    if (json_is_number(alpha) && !json_object_get(root, "num_layers") &&
        json_number_value(alpha) != (double)f->r) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: \"alpha\" and \"scale\" are both there, and early "
                "versions of MLX multiplied by scale * alpha / rank; set "
                "\"scale\" to what the adapter was trained with, and take "
                "\"alpha\" out",
                path);
    }
    return QL_OK;
}

/* "scale" must be there: what a file without it meant is not guessed. */
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
    QL_TRY(check_alpha(f, root, lora, path));
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
