/* Every key that PEFT has or had is in one table: it is read here, or it only
 * steered the training and is read over, or it changes what the tensors mean
 * and is refused. Keys that are not in it are told. */
#include "src/convert/adapter_settings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/note.h"
#include "src/format/names.h"
#include "src/text/regex.h"

enum {
    MAX_JSON = 16 << 20,
    MAX_RANK = 1 << 14,
    MAX_PATTERN = 1 << 14
};

/* What an adapter does that has a value there; NULL: the key is read, or it
 * means nothing once the training is over. */
static const struct {
    const char *key;
    const char *does;
} known[] = {
    {"alora_invocation_tokens", "acts behind certain tokens only"},
    {"alpha_pattern", NULL},
    {"arrow_config", "mixes several adapters"},
    {"auto_mapping", NULL},
    {"base_model_name_or_path", NULL},
    {"bias", NULL},
    {"corda_config", NULL}, /* as init_lora_weights says */
    {"enable_lora", "adapts parts of fused layers"},
    {"ensure_weight_tying", NULL},
    {"eva_config", NULL},
    {"exclude_modules", NULL},
    {"fan_in_fan_out", NULL},
    {"inference_mode", NULL},
    {"init_lora_weights", NULL},
    {"kasa_config", "has singular values between A and B"},
    {"layer_replication", "repeats layers of the model"},
    {"layers_pattern", NULL}, /* our paths have one number each */
    {"layers_to_transform", NULL},
    {"loftq_config", NULL},
    {"lora_alpha", NULL},
    {"lora_bias", "adds a bias behind B"},
    {"lora_dropout", NULL},
    {"lora_ga_config", NULL},
    {"megatron_config", NULL},
    {"megatron_core", NULL},
    {"merge_weights", NULL},
    {"modules_to_save", NULL},
    {"monteclora_config", "draws its weights"},
    {"peft_type", NULL},
    {"peft_version", NULL},
    {"qalora_group_size", NULL},
    {"r", NULL},
    {"rank_pattern", NULL},
    {"revision", NULL},
    {"runtime_config", NULL},
    {"target_modules", NULL},
    {"target_parameters", "adapts what is no linear layer"},
    {"task_type", NULL},
    {"trainable_token_indices", "changes single rows of the embedding"},
    {"use_bdlora", "has A or B in blocks"},
    {"use_dora", NULL},
    {"use_qalora", "averages the inputs of A"},
    {"use_rslora", NULL},
    {"velora_config", NULL}, /* of the backward pass alone */
};

/* Absent, null, false or empty. */
static bool is_nothing(const json_t *v)
{
    return !v || json_is_null(v) || json_is_false(v) ||
           (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0);
}

static ql_status check_meaning(const ql_adapter_settings *s)
{
    const char *type = "LORA";

    QL_TRY(ql_json_string(s->root, "peft_type", s->path, &type));
    if (strcmp(type, "LORA") != 0) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: \"peft_type\" is \"%s\", but of PEFT's adapters only LORA "
                "is read",
                s->path, type);
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].does &&
            !is_nothing(json_object_get(s->root, known[i].key))) {
            QL_FAIL(QL_EUNSUPPORTED,
                    "%s: \"%s\" is set, so the adapter %s, which is not "
                    "supported; merge it by PEFT (merge_and_unload) and use "
                    "the model that comes out",
                    s->path, known[i].key, known[i].does);
        }
    }
    return QL_OK;
}

static bool is_known(const char *key)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(known[i].key, key) == 0) {
            return true;
        }
    }
    return false;
}

ql_status ql_adapter_settings_tell(const ql_adapter_settings *s)
{
    ql_status st = QL_OK;
    const char *key;
    ql_buf list;
    json_t *v;

    ql_buf_init(&list, QL_TAG_TEXT, MAX_JSON);
    json_object_foreach(s->root, key, v)
    {
        if (!is_known(key) && !is_nothing(v)) {
            QL_TRY_DONE(ql_buf_printf(&list, "%s\"%s\"",
                                      list.len > 0 ? ", " : "", key));
        }
    }
    if (list.len > 0) {
        ql_warn("%s: not known, and left out, as PEFT does: %s", s->path,
                list.data);
    }
done:
    ql_buf_free(&list);
    return st;
}

/* Ways to initialise that leave the base weights alone. The others (pissa,
 * olora, corda, loftq, lora_ga) take from the base what they give to the
 * adapter: the two only belong together in memory, unless PEFT converts them
 * when it saves; then it says true. */
static ql_status check_base(const ql_adapter_settings *s)
{
    static const char *const fine[] = {"gaussian", "eva", "orthogonal"};
    const json_t *v = json_object_get(s->root, "init_lora_weights");

    if (!json_is_string(v)) {
        return QL_OK;
    }
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
        if (strcmp(json_string_value(v), fine[i]) == 0) {
            return QL_OK;
        }
    }
    QL_FAIL(QL_EUNSUPPORTED,
            "%s: \"init_lora_weights\" is \"%s\", which belongs to a changed "
            "base model; save it as plain LoRA (PEFT's save_pretrained with "
            "path_initial_model_for_weight_conversion)",
            s->path, json_string_value(v));
}

static ql_status check_bias(ql_adapter_settings *s)
{
    const char *bias = "none";

    QL_TRY(ql_json_string(s->root, "bias", s->path, &bias));
    s->biases = strcmp(bias, "all") == 0 || strcmp(bias, "lora_only") == 0;
    if (!s->biases && strcmp(bias, "none") != 0) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: \"bias\" is \"%s\"; known are none, all and lora_only",
                s->path, bias);
    }
    return QL_OK;
}

static ql_status check_numbers(const ql_adapter_settings *s, size_t r,
                               double alpha)
{
    if (r == 0 || r > MAX_RANK) {
        QL_FAIL(QL_EFORMAT, "%s: LoRA rank %zu: must be a number from 1 to %d",
                s->path, r, MAX_RANK);
    }
    if (!isfinite(alpha)) {
        QL_FAIL(QL_EFORMAT, "%s: LoRA alpha %g: must be a finite number",
                s->path, alpha);
    }
    return QL_OK;
}

/* A list of strings, or null; a string, too, if so said. */
static ql_status check_names(const ql_adapter_settings *s, const char *key,
                             bool pattern)
{
    const json_t *v = json_object_get(s->root, key);
    bool sound = !v || json_is_null(v) || json_is_array(v) ||
                 (pattern && json_is_string(v));

    for (size_t i = 0; sound && i < json_array_size(v); i++) {
        sound = json_is_string(json_array_get(v, i));
    }
    if (!sound) {
        QL_FAIL(QL_EFORMAT, "%s: \"%s\" must be a list of strings", s->path,
                key);
    }
    return QL_OK;
}

static ql_status read_keys(ql_adapter_settings *s)
{
    QL_TRY(check_meaning(s));
    QL_TRY(check_base(s));
    QL_TRY(check_bias(s));
    QL_TRY(ql_json_size(s->root, "r", s->path, &s->r));
    QL_TRY(ql_json_real(s->root, "lora_alpha", s->path, &s->alpha));
    QL_TRY(ql_json_real(s->root, "lora_dropout", s->path, &s->dropout));
    QL_TRY(ql_json_bool(s->root, "use_rslora", s->path, &s->rslora));
    QL_TRY(ql_json_bool(s->root, "use_dora", s->path, &s->dora));
    QL_TRY(
        ql_json_bool(s->root, "fan_in_fan_out", s->path, &s->fan_in_fan_out));
    QL_TRY(ql_json_bool(s->root, "ensure_weight_tying", s->path, &s->tied));
    QL_TRY(check_numbers(s, s->r, s->alpha));
    if (!(s->dropout >= 0) || s->dropout >= 1) {
        QL_FAIL(QL_EFORMAT,
                "%s: LoRA dropout %g: must be a number from 0 up to, but not "
                "including, 1",
                s->path, s->dropout);
    }
    QL_TRY(check_names(s, "target_modules", true));
    QL_TRY(check_names(s, "exclude_modules", true));
    return check_names(s, "modules_to_save", false);
}

ql_status ql_adapter_settings_init(ql_adapter_settings *s, const char *dir)
{
    ql_status st = QL_ENOMEM;

    *s = (ql_adapter_settings){.r = 8, .alpha = 8};
    s->path = ql_path_join(dir, "adapter_config.json");
    if (s->path) {
        QL_TRY_DONE(ql_json_load(&s->root, s->path, MAX_JSON));
        st = read_keys(s);
    }
done:
    if (st != QL_OK) {
        ql_adapter_settings_free(s);
    }
    return st;
}

void ql_adapter_settings_free(ql_adapter_settings *s)
{
    json_decref(s->root);
    ql_free(s->path);
    *s = (ql_adapter_settings){0};
}

/* A pattern, after what form puts before and behind it, stands for the whole
 * path. */
static ql_status matches(const ql_adapter_settings *s, const char *kind,
                         const char *form, const char *pattern,
                         const char *path, bool *yes)
{
    const ql_part part = {.where = s->path, .kind = kind};
    ql_regex_work work = {0};
    ql_regex regex = {0};
    ql_status st;
    ql_buf text;
    size_t from;
    size_t to;

    ql_buf_init(&text, QL_TAG_TEXT, MAX_PATTERN);
    QL_TRY_DONE(ql_buf_puts(&text, form));
    QL_TRY_DONE(ql_buf_printf(&text, "(?:%s)\\z", pattern));
    QL_TRY_DONE(ql_regex_compile(&regex, text.data, text.len, &part));
    QL_TRY_DONE(
        ql_regex_find(&regex, &work, path, strlen(path), 0, &from, &to));
    *yes = from == 0;
done:
    ql_regex_work_free(&work);
    ql_regex_free(&regex);
    ql_buf_free(&text);
    return st;
}

/* The value of the first key that matches, NULL if none does. */
static ql_status find_pattern(const ql_adapter_settings *s, const char *kind,
                              const char *path, const json_t **value)
{
    json_t *patterns = json_object_get(s->root, kind);
    const char *key;
    json_t *v;

    *value = NULL;
    if (patterns && !json_is_null(patterns) && !json_is_object(patterns)) {
        QL_FAIL(QL_EFORMAT, "%s: \"%s\" must be an object", s->path, kind);
    }
    json_object_foreach(patterns, key, v)
    {
        bool yes = false;

        QL_TRY(matches(s, kind, "\\A(?:.*\\.)?", key, path, &yes));
        if (yes) {
            *value = v;
            return QL_OK;
        }
    }
    return QL_OK;
}

ql_status ql_adapter_settings_module(const ql_adapter_settings *s,
                                     const char *path, size_t *r, double *alpha)
{
    const json_t *v;

    *r = s->r;
    *alpha = s->alpha;
    QL_TRY(find_pattern(s, "rank_pattern", path, &v));
    if (v) {
        *r = json_is_integer(v) && json_integer_value(v) > 0
                 ? (size_t)json_integer_value(v)
                 : 0;
    }
    QL_TRY(find_pattern(s, "alpha_pattern", path, &v));
    if (v && !json_is_number(v)) {
        QL_FAIL(QL_EFORMAT,
                "%s: \"alpha_pattern\" must give numbers, and "
                "gives %s another thing",
                s->path, path);
    }
    *alpha = v ? json_number_value(v) : *alpha;
    return check_numbers(s, *r, *alpha);
}

/* A list of names, or one pattern, stands for the path. */
static ql_status listed(const ql_adapter_settings *s, const char *key,
                        const char *path, bool *yes)
{
    const json_t *v = json_object_get(s->root, key);

    *yes = false;
    if (json_is_string(v)) {
        return matches(s, key, "\\A", json_string_value(v), path, yes);
    }
    for (size_t i = 0; !*yes && i < json_array_size(v); i++) {
        *yes = ql_name_ends_path(path, json_string_value(json_array_get(v, i)));
    }
    return QL_OK;
}

/* The number of the layer: the last part of the path that is one and is
 * followed by another; -1 if there is none. */
static long long layer_of(const char *path)
{
    long long layer = -1;

    for (const char *dot = strchr(path, '.'); dot; dot = strchr(dot + 1, '.')) {
        char *end;
        const long long n = strtoll(dot + 1, &end, 10);

        if (end > dot + 1 && *end == '.') {
            layer = n;
        }
    }
    return layer;
}

/* layers_to_transform is a number or a list of them. */
static bool in_layers(const ql_adapter_settings *s, const char *path)
{
    const json_t *v = json_object_get(s->root, "layers_to_transform");
    const long long layer = layer_of(path);

    if (json_is_integer(v)) {
        return json_integer_value(v) == layer;
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        if (json_integer_value(json_array_get(v, i)) == layer) {
            return true;
        }
    }
    return json_array_size(v) == 0;
}

ql_status ql_adapter_settings_targets(const ql_adapter_settings *s,
                                      const char *path, bool *yes)
{
    const json_t *v = json_object_get(s->root, "target_modules");
    const char *name = json_string_value(v);
    bool excluded;

    QL_TRY(listed(s, "target_modules", path, yes));
    QL_TRY(listed(s, "exclude_modules", path, &excluded));
    *yes |= !v || json_is_null(v) || (name && strcmp(name, "all-linear") == 0);
    *yes = *yes && !excluded && in_layers(s, path);
    return QL_OK;
}

bool ql_adapter_settings_is_in(const char *path, const char *name)
{
    const size_t m = strlen(name);

    for (size_t n = strlen(path); n > 0 && m > 0; n--) {
        if ((path[n] == '\0' || path[n] == '.') && n >= m &&
            memcmp(path + n - m, name, m) == 0) {
            return true;
        }
    }
    return false;
}

bool ql_adapter_settings_saves(const ql_adapter_settings *s, const char *path)
{
    const json_t *v = json_object_get(s->root, "modules_to_save");

    for (size_t i = 0; i < json_array_size(v); i++) {
        const char *name = json_string_value(json_array_get(v, i));

        if (ql_adapter_settings_is_in(path, name)) {
            return true;
        }
    }
    return false;
}

bool ql_adapter_settings_takes(const ql_adapter_settings *s, const char *path)
{
    const char *task = json_string_value(json_object_get(s->root, "task_type"));

    return ql_adapter_settings_saves(s, path) ||
           (task && strcmp(task, "SEQ_CLS") == 0 &&
            (ql_adapter_settings_is_in(path, "classifier") ||
             ql_adapter_settings_is_in(path, "score")));
}
