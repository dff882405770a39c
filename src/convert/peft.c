/* Only the keys that every PEFT of the last years knows are written, since an
 * older one refuses a key that it does not know. */
#include "src/convert/peft.h"

#include <math.h>
#include <string.h>

#include "qlora/model.h"
#include "qlora/train.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/model/model_handle.h"

enum {
    MAX_JSON = 16 << 20,
    NAME_BYTES = 256
};

/* Leaf names of the targets, sorted. */
static json_t *list_targets(unsigned targets)
{
    static const ql_module sorted[] = {
        QL_MODULE_DOWN, QL_MODULE_GATE, QL_MODULE_K, QL_MODULE_O,
        QL_MODULE_Q,    QL_MODULE_UP,   QL_MODULE_V,
    };
    json_t *list = json_array();

    for (int i = 0; i < QL_MODULES; i++) {
        if (targets & 1U << sorted[i]) {
            json_array_append_new(list, json_string(ql_module_leaf(sorted[i])));
        }
    }
    return list;
}

/* A number as Python has it: the integer 16, not 16.0, where it is whole. */
static json_t *number(double x)
{
    return x == floor(x) && fabs(x) < 1e15 ? json_integer((json_int_t)x)
                                           : json_real(x);
}

static ql_status save_config(const ql_adapter_options *o, const char *base,
                             const char *dir)
{
    char *path = ql_path_join(dir, "adapter_config.json");
    json_t *config = json_pack(
        "{s{} sn ss* ss sb sb sb sn sn so sf sn ss si s{} sn so ss sb sb}",
        "alpha_pattern", "auto_mapping", "base_model_name_or_path", base,
        "bias", "none", "fan_in_fan_out", 0, "inference_mode", 1,
        "init_lora_weights", 1, "layers_pattern", "layers_to_transform",
        "lora_alpha", number(o->alpha), "lora_dropout", o->dropout,
        "modules_to_save", "peft_type", "LORA", "r", (int)o->r, "rank_pattern",
        "revision", "target_modules", list_targets(o->targets), "task_type",
        "CAUSAL_LM", "use_dora", 0, "use_rslora", (int)o->rslora);
    ql_status st = QL_ENOMEM;

    if (!config) {
        ql_fail(QL_ENOMEM, "out of memory, or the model's path is not UTF-8");
    } else if (path) {
        st = ql_json_save(config, false, path);
    }
    json_decref(config);
    ql_free(path);
    return st;
}

/* Shape and first parameter of A or B of entry i. */
static size_t half(const ql_adapter *a, size_t i, bool b, size_t shape[2])
{
    const ql_adapter_entry *e = &a->entries[i];

    shape[0] = b ? e->out : a->opt.r;
    shape[1] = b ? a->opt.r : e->in;
    return b ? e->b : e->a;
}

static ql_status write_halves(const ql_adapter *a, ql_safetensors_writer *w)
{
    char name[NAME_BYTES];
    size_t shape[2];

    QL_TRY(ql_safetensors_writer_metadata(w, "format", "pt"));
    for (size_t i = 0; i < 2 * a->n; i++) {
        half(a, i / 2, i % 2, shape);
        ql_adapter_name(a, i / 2, i % 2, name, sizeof(name));
        QL_TRY(ql_safetensors_writer_add(w, name, QL_DTYPE_F32, shape, 2));
    }
    QL_TRY(ql_safetensors_writer_begin(w));
    for (size_t i = 0; i < 2 * a->n; i++) {
        const size_t first = half(a, i / 2, i % 2, shape);

        ql_adapter_name(a, i / 2, i % 2, name, sizeof(name));
        QL_TRY(ql_safetensors_writer_put(w, name, a->param + first));
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
        QL_TRY_DONE(write_halves(a, w));
        st = save_config(&a->opt, base, dir);
    }
done:
    ql_safetensors_writer_close(&w);
    ql_free(path);
    return st;
}

/* Keys that must be absent, null, false, empty or have one harmless value. */
static const struct {
    const char *key;
    const char *harmless; /* string value that is fine, or NULL */
} refused[] = {
    {"use_dora", NULL},
    {"use_qalora", NULL},
    {"use_bdlora", NULL},
    {"layer_replication", NULL},
    {"target_parameters", NULL},
    {"trainable_token_indices", NULL},
    {"kasa_config", NULL},
    {"velora_config", NULL},
    {"monteclora_config", NULL},
    {"arrow_config", NULL},
    {"alora_invocation_tokens", NULL},
    {"lora_bias", NULL},
    {"modules_to_save", NULL},
    {"rank_pattern", NULL},
    {"alpha_pattern", NULL},
    {"layers_to_transform", NULL},
    {"exclude_modules", NULL},
    {"fan_in_fan_out", NULL},
    {"bias", "none"},
    {"peft_type", "LORA"},
};

static bool harmless(const json_t *v, const char *fine)
{
    if (!v || json_is_null(v) || json_is_false(v)) {
        return true;
    }
    if (json_is_string(v)) {
        return fine && strcmp(json_string_value(v), fine) == 0;
    }
    return (json_is_object(v) && json_object_size(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0);
}

/* Ways to initialise that leave the base weights alone. The others (pissa,
 * olora, corda, loftq, lora_ga) take from the base what they give to the
 * adapter: the two only belong together in memory. */
static ql_status check_base(const json_t *o, const char *path)
{
    static const char *const fine[] = {"gaussian", "eva", "orthogonal"};
    const json_t *v = json_object_get(o, "init_lora_weights");

    if (!json_is_string(v)) {
        return QL_OK;
    }
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
        if (strcmp(json_string_value(v), fine[i]) == 0) {
            return QL_OK;
        }
    }
    QL_FAIL(QL_EUNSUPPORTED,
            "%s: \"init_lora_weights\" is \"%s\", which changes the base "
            "model; convert the adapter to plain LoRA",
            path, json_string_value(v));
}

static ql_status check_meaning(const json_t *o, const char *path)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (!harmless(json_object_get(o, refused[i].key),
                      refused[i].harmless)) {
            QL_FAIL(QL_EUNSUPPORTED,
                    "%s: \"%s\" is set, which is not supported", path,
                    refused[i].key);
        }
    }
    return QL_OK;
}

/* A list entry may be a whole path; its last part is what we know. */
static ql_status read_targets(const json_t *v, const char *path, unsigned *mask)
{
    size_t n = json_array_size(v);

    *mask = 0;
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(v, i));
        const char *dot = name ? strrchr(name, '.') : NULL;
        unsigned one = 0;

        if (!name) {
            QL_FAIL(QL_EFORMAT, "%s: \"target_modules\" must be strings", path);
        }
        name = dot ? dot + 1 : name;
        if (ql_targets_parse(&name, 1, &one) != QL_OK) {
            return ql_fail_prefix(QL_EUNSUPPORTED, "%s: ", path);
        }
        *mask |= one;
    }
    if (json_is_string(v) && strcmp(json_string_value(v), "all-linear") == 0) {
        *mask = (1U << QL_MODULES) - 1;
    }
    if (*mask == 0) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: \"target_modules\" must be a list of names", path);
    }
    return QL_OK;
}

static ql_status read_config(const char *dir, ql_adapter_options *opt)
{
    char *path = ql_path_join(dir, "adapter_config.json");
    ql_status st = QL_ENOMEM;
    json_t *o = NULL;

    *opt = (ql_adapter_options){.r = 8, .alpha = 8};
    if (path) {
        QL_TRY_DONE(ql_json_load(&o, path, MAX_JSON));
        QL_TRY_DONE(check_meaning(o, path));
        QL_TRY_DONE(check_base(o, path));
        QL_TRY_DONE(ql_json_size(o, "r", path, &opt->r));
        QL_TRY_DONE(ql_json_real(o, "lora_alpha", path, &opt->alpha));
        QL_TRY_DONE(ql_json_real(o, "lora_dropout", path, &opt->dropout));
        QL_TRY_DONE(ql_json_bool(o, "use_rslora", path, &opt->rslora));
        QL_TRY_DONE(read_targets(json_object_get(o, "target_modules"), path,
                                 &opt->targets));
        if (ql_adapter_options_check(opt) != QL_OK) {
            st = ql_fail_prefix(QL_EFORMAT, "%s: ", path);
        }
    }
done:
    json_decref(o);
    ql_free(path);
    return st;
}

/* Before memory for the rank that is asked for: the file must have it. */
static ql_status check_rank(const ql_safetensors *file, size_t r,
                            const char *path)
{
    static const char half_a[] = ".lora_A.weight";

    for (size_t i = 0; i < ql_safetensors_count(file); i++) {
        const ql_tensor *t = ql_safetensors_at(file, i);
        const char *end = strstr(t->name, half_a);

        if (end && strlen(end) == strlen(half_a) && t->rank == 2 &&
            t->shape[0] != r) {
            QL_FAIL(QL_EMISMATCH,
                    "%s: %s has rank %zu, but adapter_config.json says \"r\" "
                    "is %zu",
                    path, t->name, t->shape[0], r);
        }
    }
    return QL_OK;
}

static ql_status check_finite(const ql_adapter *a, const char *path)
{
    for (size_t i = 0; i < a->count; i++) {
        if (!isfinite(a->param[i])) {
            QL_FAIL(QL_EFORMAT,
                    "%s: a number is not finite; the adapter is damaged or "
                    "its training diverged",
                    path);
        }
    }
    return QL_OK;
}

static ql_status read_halves(ql_adapter *a, const ql_safetensors *file,
                             const char *path)
{
    char name[NAME_BYTES];
    size_t shape[2];

    for (size_t i = 0; i < 2 * a->n; i++) {
        const size_t first = half(a, i / 2, i % 2, shape);
        const ql_tensor *t;

        ql_adapter_name(a, i / 2, i % 2, name, sizeof(name));
        t = ql_safetensors_find(file, name);
        if (!t || t->rank != 2 || t->shape[0] != shape[0] ||
            t->shape[1] != shape[1]) {
            QL_FAIL(QL_EMISMATCH,
                    "%s: %s must be there with shape [%zu, %zu]; the adapter "
                    "was made for another model",
                    path, name, shape[0], shape[1]);
        }
        QL_TRY(ql_tensor_to_f32(a->param + first, t));
    }
    if (ql_safetensors_count(file) != 2 * a->n) {
        QL_FAIL(QL_EMISMATCH,
                "%s: %zu tensors, but adapter_config.json and the model call "
                "for %zu",
                path, ql_safetensors_count(file), 2 * a->n);
    }
    return check_finite(a, path);
}

ql_status ql_peft_load(ql_adapter *a, const ql_config *c, const char *dir)
{
    char *path = ql_path_join(dir, "adapter_model.safetensors");
    ql_status st = QL_ENOMEM;
    ql_safetensors *file = NULL;
    ql_adapter_options opt;

    *a = (ql_adapter){0};
    if (path) {
        QL_TRY_DONE(ql_dir_need(dir, "give a folder with a LoRA adapter"));
        QL_TRY_DONE(read_config(dir, &opt));
        QL_TRY_DONE(ql_safetensors_open(&file, path));
        QL_TRY_DONE(check_rank(file, opt.r, path));
        QL_TRY_DONE(ql_adapter_init(a, c, &opt, 0, false));
        st = read_halves(a, file, path);
    }
done:
    ql_safetensors_close(&file);
    ql_free(path);
    if (st != QL_OK) {
        ql_adapter_free(a);
    }
    return st;
}

ql_status ql_model_load_adapter(ql_model *model, const char *dir)
{
    ql_adapter fresh;

    QL_TRY(ql_peft_load(&fresh, &model->config, dir));
    ql_adapter_free(&model->adapter);
    model->adapter = fresh;
    ql_model_use_adapter(model, NULL);
    return QL_OK;
}
