/* Old and new spellings are both read: torch_dtype and dtype, rope_theta with
 * rope_scaling and rope_parameters. Numbers are held to generous limits so
 * that no later product of sizes can overflow. */
#include "src/model/config.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/note.h"

enum {
    MAX_CONFIG_BYTES = 16 << 20
};

/* A number of config.json that must be there, and its limits. */
typedef struct want {
    const char *key;
    size_t offset; /* in ql_config */
    size_t max;
    bool optional; /* keeps what the field holds */
} want;

static const want sizes[] = {
    {"num_hidden_layers", offsetof(ql_config, layers), 4096, false},
    {"hidden_size", offsetof(ql_config, C), 1 << 20, false},
    {"intermediate_size", offsetof(ql_config, F), 1 << 22, false},
    {"num_attention_heads", offsetof(ql_config, H), 1 << 14, false},
    {"num_key_value_heads", offsetof(ql_config, KV), 1 << 14, true},
    {"head_dim", offsetof(ql_config, D), 1 << 14, true},
    {"vocab_size", offsetof(ql_config, V), 1 << 24, false},
};

static ql_status read_size(ql_config *c, const json_t *o, const want *w,
                           const char *path)
{
    size_t *field = (size_t *)(void *)((char *)c + w->offset);

    QL_TRY(ql_json_size(o, w->key, path, field));
    if (*field == 0 && !w->optional) {
        QL_FAIL(QL_EFORMAT, "%s: \"%s\" is missing or 0", path, w->key);
    }
    if (*field > w->max) {
        QL_FAIL(QL_EFORMAT, "%s: \"%s\" is %zu, but at most %zu is sensible",
                path, w->key, *field, w->max);
    }
    return QL_OK;
}

static ql_status read_sizes(ql_config *c, const json_t *o, const char *path)
{
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        QL_TRY(read_size(c, o, &sizes[i], path));
    }
    c->KV = c->KV ? c->KV : c->H;
    if (c->H % c->KV != 0) {
        QL_FAIL(QL_EFORMAT,
                "%s: %zu attention heads cannot share %zu key/value heads",
                path, c->H, c->KV);
    }
    if (c->D == 0 && c->C % c->H != 0) {
        QL_FAIL(QL_EFORMAT, "%s: hidden_size %zu is no multiple of %zu heads",
                path, c->C, c->H);
    }
    c->D = c->D ? c->D : c->C / c->H;
    if (c->D % 2 != 0) {
        QL_FAIL(QL_EFORMAT, "%s: head_dim %zu is odd", path, c->D);
    }
    return QL_OK;
}

static ql_status read_arch(ql_config *c, const json_t *o, const char *path)
{
    const char *type = NULL;
    const json_t *window;

    QL_TRY(ql_json_string(o, "model_type", path, &type));
    if (!type) {
        QL_FAIL(QL_EFORMAT, "%s: \"model_type\" is missing", path);
    }
    c->arch = ql_arch_find(type);
    if (!c->arch) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: architecture \"%s\" is not supported; known are: %s", path,
                type, ql_arch_list());
    }
    window =
        c->arch->window_key ? json_object_get(o, c->arch->window_key) : NULL;
    if (window && !json_is_null(window) && !json_is_false(window)) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: \"%s\" is set, but sliding-window attention is not "
                "supported",
                path, c->arch->window_key);
    }
    return QL_OK;
}

static ql_status read_activation(const json_t *o, const char *path)
{
    const char *act = "silu";

    QL_TRY(ql_json_string(o, "hidden_act", path, &act));
    if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0) {
        QL_FAIL(QL_EUNSUPPORTED, "%s: activation \"%s\" is not supported", path,
                act);
    }
    return QL_OK;
}

static ql_status read_biases(ql_config *c, const json_t *o, const char *path)
{
    bool attention = false;
    bool mlp = false;

    c->bias = c->arch->bias;
    if (!c->arch->bias_options) {
        return QL_OK;
    }
    QL_TRY(ql_json_bool(o, "attention_bias", path, &attention));
    QL_TRY(ql_json_bool(o, "mlp_bias", path, &mlp));
    c->bias |= attention ? QL_MASK_QKV | QL_MASK_O : 0;
    c->bias |= mlp ? QL_MASK_MLP : 0;
    return QL_OK;
}

static ql_status read_dtype(ql_config *c, const json_t *o, const char *path)
{
    static const struct {
        const char *name;
        ql_dtype dtype;
    } names[] = {{"float32", QL_DTYPE_F32},
                 {"bfloat16", QL_DTYPE_BF16},
                 {"float16", QL_DTYPE_F16}};
    const char *name = "float32";

    QL_TRY(ql_json_string(o, "torch_dtype", path, &name));
    QL_TRY(ql_json_string(o, "dtype", path, &name));
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(names[i].name, name) == 0) {
            c->dtype = names[i].dtype;
            return QL_OK;
        }
    }
    QL_FAIL(QL_EUNSUPPORTED, "%s: dtype \"%s\" is not supported", path, name);
}

static ql_status read_quantization(ql_config *c, const json_t *o,
                                   const char *path)
{
    const json_t *q = json_object_get(o, "quantization_config");
    const char *method = "unnamed";

    if (!q || json_is_null(q)) {
        return QL_OK;
    }
    if (!json_is_object(q)) {
        QL_FAIL(QL_EFORMAT, "%s: \"quantization_config\" must be an object",
                path);
    }
    QL_TRY(ql_json_string(q, "quant_method", path, &method));
    if (strcmp(method, "bitsandbytes") != 0) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: weights quantized by \"%s\" are not supported; use the "
                "original model or a bitsandbytes 4-bit one",
                path, method);
    }
    QL_TRY(ql_json_bool(q, "_load_in_4bit", path, &c->quantized));
    QL_TRY(ql_json_bool(q, "load_in_4bit", path, &c->quantized));
    if (!c->quantized) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: bitsandbytes 8-bit weights are not supported; use the "
                "original model or a 4-bit one",
                path);
    }
    return QL_OK;
}

/* Reads a list of D / 2 factors into out. */
static ql_status read_factors(const json_t *o, const char *key, double *out,
                              size_t n, const char *path)
{
    const json_t *list = json_object_get(o, key);

    if (!json_is_array(list) || json_array_size(list) != n) {
        QL_FAIL(QL_EFORMAT, "%s: rope \"%s\" must be a list of %zu numbers",
                path, key, n);
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = json_number_value(json_array_get(list, i));
        if (!(out[i] > 0) || !isfinite(out[i])) {
            QL_FAIL(QL_EFORMAT, "%s: rope \"%s\"[%zu] must be positive", path,
                    key, i);
        }
    }
    return QL_OK;
}

static ql_status read_longrope(ql_config *c, const json_t *o, const char *path)
{
    const size_t half = c->rope.dim / 2;

    c->rope_factors = ql_alloc(QL_TAG_MISC, 2 * half, sizeof(double));
    if (!c->rope_factors) {
        return QL_ENOMEM;
    }
    QL_TRY(read_factors(o, "long_factor", c->rope_factors, half, path));
    QL_TRY(read_factors(o, "short_factor", c->rope_factors + half, half, path));
    c->rope.long_factor = c->rope_factors;
    c->rope.short_factor = c->rope_factors + half;
    return QL_OK;
}

static ql_status read_rope_type(ql_rope_spec *r, const json_t *o,
                                const char *path)
{
    static const char *const names[] = {
        [QL_ROPE_DEFAULT] = "default", [QL_ROPE_LINEAR] = "linear",
        [QL_ROPE_DYNAMIC] = "dynamic", [QL_ROPE_YARN] = "yarn",
        [QL_ROPE_LLAMA3] = "llama3",   [QL_ROPE_LONGROPE] = "longrope",
    };
    const char *name = "default";

    QL_TRY(ql_json_string(o, "type", path, &name));
    QL_TRY(ql_json_string(o, "rope_type", path, &name));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            r->type = (ql_rope_type)i;
            return QL_OK;
        }
    }
    QL_FAIL(QL_EUNSUPPORTED, "%s: rope type \"%s\" is not supported", path,
            name);
}

static ql_status read_rope_numbers(ql_rope_spec *r, const json_t *o,
                                   const char *path)
{
    const struct {
        const char *key;
        double *out;
    } reals[] = {
        {"rope_theta", &r->theta},
        {"factor", &r->factor},
        {"attention_factor", &r->attention_factor},
        {"low_freq_factor", &r->low_freq_factor},
        {"high_freq_factor", &r->high_freq_factor},
        {"beta_fast", &r->beta_fast},
        {"beta_slow", &r->beta_slow},
        {"mscale", &r->mscale},
        {"mscale_all_dim", &r->mscale_all_dim},
    };

    for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++) {
        QL_TRY(ql_json_real(o, reals[i].key, path, reals[i].out));
        if (!isfinite(*reals[i].out) || *reals[i].out < 0) {
            QL_FAIL(QL_EFORMAT, "%s: rope \"%s\" must not be negative", path,
                    reals[i].key);
        }
    }
    QL_TRY(ql_json_bool(o, "truncate", path, &r->truncate));
    return ql_json_size(o, "original_max_position_embeddings", path,
                        &r->original);
}

/* Refuses what a type's formula would divide by. */
static ql_status check_rope(const ql_rope_spec *r, const char *path)
{
    const bool scaled =
        r->type != QL_ROPE_DEFAULT && r->type != QL_ROPE_LONGROPE;

    if (!(r->theta > 1)) {
        QL_FAIL(QL_EFORMAT, "%s: \"rope_theta\" must be greater than 1", path);
    }
    if (r->max_position == 0 || r->max_position > (size_t)1 << 31) {
        QL_FAIL(QL_EFORMAT,
                "%s: \"max_position_embeddings\" is missing or absurd", path);
    }
    if (scaled && r->factor < 1) {
        QL_FAIL(QL_EFORMAT, "%s: rope \"factor\" must be at least 1", path);
    }
    if (r->type == QL_ROPE_LLAMA3 &&
        (!(r->low_freq_factor > 0) ||
         !(r->high_freq_factor > r->low_freq_factor) || r->original == 0)) {
        QL_FAIL(QL_EFORMAT,
                "%s: rope type llama3 needs low_freq_factor < "
                "high_freq_factor and original_max_position_embeddings",
                path);
    }
    return QL_OK;
}

static ql_status read_rope(ql_config *c, const json_t *o, const char *path)
{
    const json_t *scaling = json_object_get(o, "rope_scaling");
    ql_rope_spec *r = &c->rope;

    if (!scaling || json_is_null(scaling)) {
        scaling = json_object_get(o, "rope_parameters");
    }
    *r = (ql_rope_spec){.theta = 10000,
                        .dim = c->D,
                        .beta_fast = 32,
                        .beta_slow = 1,
                        .truncate = true};
    QL_TRY(ql_json_real(o, "rope_theta", path, &r->theta));
    QL_TRY(ql_json_size(o, "max_position_embeddings", path, &r->max_position));
    QL_TRY(ql_json_size(o, "original_max_position_embeddings", path,
                        &r->original));
    if (json_is_object(scaling)) {
        QL_TRY(read_rope_type(r, scaling, path));
        QL_TRY(read_rope_numbers(r, scaling, path));
    } else if (scaling && !json_is_null(scaling)) {
        QL_FAIL(QL_EFORMAT, "%s: \"rope_scaling\" must be an object", path);
    }
    QL_TRY(check_rope(r, path));
    return r->type == QL_ROPE_LONGROPE ? read_longrope(c, scaling, path)
                                       : QL_OK;
}

static ql_status read_rest(ql_config *c, const json_t *o, const char *path)
{
    double eps = 1e-6;
    double dropout = 0;
    double rotary = 1;

    QL_TRY(ql_json_real(o, "partial_rotary_factor", path, &rotary));
    QL_TRY(ql_json_real(json_object_get(o, "rope_parameters"),
                        "partial_rotary_factor", path, &rotary));
    if (rotary != 1) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: \"partial_rotary_factor\" %g is not supported, only 1",
                path, rotary);
    }
    QL_TRY(ql_json_real(o, "rms_norm_eps", path, &eps));
    if (!(eps >= 0) || eps > 1) {
        QL_FAIL(QL_EFORMAT, "%s: \"rms_norm_eps\" is absurd", path);
    }
    c->eps = (float)eps;
    QL_TRY(ql_json_bool(o, "tie_word_embeddings", path, &c->tied));
    QL_TRY(ql_json_real(o, "attention_dropout", path, &dropout));
    if (dropout > 0) {
        ql_note("attention_dropout of config.json is not applied");
    }
    return QL_OK;
}

static ql_status read_config(ql_config *c, const json_t *o, const char *path)
{
    QL_TRY(read_arch(c, o, path));
    QL_TRY(read_sizes(c, o, path));
    QL_TRY(read_activation(o, path));
    QL_TRY(read_biases(c, o, path));
    QL_TRY(read_dtype(c, o, path));
    QL_TRY(read_quantization(c, o, path));
    QL_TRY(read_rope(c, o, path));
    return read_rest(c, o, path);
}

ql_status ql_config_init(ql_config *c, const char *dir)
{
    ql_status st;
    char *path = ql_path_join(dir, "config.json");
    json_t *o = NULL;

    *c = (ql_config){0};
    if (!path) {
        return QL_ENOMEM;
    }
    QL_TRY_DONE(ql_json_load(&o, path, MAX_CONFIG_BYTES));
    st = read_config(c, o, path);
done:
    json_decref(o);
    ql_free(path);
    if (st != QL_OK) {
        ql_config_free(c);
    }
    return st;
}

void ql_config_free(ql_config *c)
{
    ql_free(c->rope_factors);
    *c = (ql_config){0};
}

void ql_config_module(const ql_config *c, ql_module module, size_t *out,
                      size_t *in)
{
    const size_t shapes[QL_MODULES][2] = {
        [QL_MODULE_Q] = {c->H * c->D, c->C},
        [QL_MODULE_K] = {c->KV * c->D, c->C},
        [QL_MODULE_V] = {c->KV * c->D, c->C},
        [QL_MODULE_O] = {c->C, c->H * c->D},
        [QL_MODULE_GATE] = {c->F, c->C},
        [QL_MODULE_UP] = {c->F, c->C},
        [QL_MODULE_DOWN] = {c->C, c->F},
    };

    *out = shapes[module][0];
    *in = shapes[module][1];
}
