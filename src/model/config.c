/* Old and new spellings are both read. Numbers are held to generous limits so
 * that no later product of sizes can overflow. */
#include "src/model/config_parts.h"

#include <math.h>
#include <string.h>

#include "quant/half.h"
#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/file.h"
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
    {"intermediate_size", offsetof(ql_config, F), 1 << 22, true},
    {"num_attention_heads", offsetof(ql_config, H), 1 << 14, false},
    {"num_key_value_heads", offsetof(ql_config, KV), 1 << 14, true},
    {"head_dim", offsetof(ql_config, D), 1 << 14, true},
    {"vocab_size", offsetof(ql_config, V), 1 << 24, false},
    {"max_position_embeddings", offsetof(ql_config, max_position),
     (size_t)1 << 31, false},
};

static ql_status read_size(ql_config *c, const json_t *o, const want *w,
                           const char *path)
{
    size_t *field = (size_t *)(void *)((char *)c + w->offset);
    const char *key = ql_arch_key(c->arch, w->key);

    QL_TRY(ql_json_size(o, key, path, field));
    if (*field == 0 && !w->optional) {
        QL_FAIL(QL_EFORMAT, "%s: \"%s\" is missing or 0", path, key);
    }
    if (*field > w->max) {
        QL_FAIL(QL_EFORMAT, "%s: \"%s\" is %zu, but at most %zu is sensible",
                path, key, *field, w->max);
    }
    return QL_OK;
}

static ql_status read_sizes(ql_config *c, const json_t *o, const char *path)
{
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        QL_TRY(read_size(c, o, &sizes[i], path));
    }
    if (c->F == 0 && !c->arch->names->position) {
        QL_FAIL(QL_EFORMAT, "%s: \"intermediate_size\" is missing or 0", path);
    }
    c->F = c->F ? c->F : 4 * c->C; /* as GPT-2 has it */
    c->KV = c->KV ? c->KV : c->H;
    if (c->H % c->KV != 0 ||
        (c->arch->qkv == QL_QKV_BY_HEAD && c->H != c->KV)) {
        QL_FAIL(QL_EFORMAT,
                "%s: %zu attention heads cannot share %zu key/value heads",
                path, c->H, c->KV);
    }
    if (c->D == 0 && c->C % c->H != 0) {
        QL_FAIL(QL_EFORMAT, "%s: hidden_size %zu is no multiple of %zu heads",
                path, c->C, c->H);
    }
    c->D = c->D ? c->D : c->C / c->H;
    return QL_OK;
}

static ql_status read_activation(ql_config *c, const json_t *o,
                                 const char *path)
{
    static const struct {
        const char *name;
        ql_act act;
    } names[] = {{"silu", QL_ACT_SILU},
                 {"swish", QL_ACT_SILU},
                 {"gelu", QL_ACT_GELU},
                 {"gelu_python", QL_ACT_GELU},
                 {"gelu_new", QL_ACT_GELU_TANH},
                 {"gelu_fast", QL_ACT_GELU_TANH},
                 {"gelu_pytorch_tanh", QL_ACT_GELU_TANH}};
    const char *name = "silu";

    QL_TRY(ql_json_string(o, ql_arch_key(c->arch, "hidden_act"), path, &name));
    if (c->arch->old_gelu && strcmp(name, "gelu") == 0) {
        name = "gelu_pytorch_tanh";
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i].name, name) == 0) {
            c->act = names[i].act;
            return QL_OK;
        }
    }
    QL_FAIL(QL_EUNSUPPORTED, "%s: activation \"%s\" is not supported", path,
            name);
}

/* A key counts only for the architectures that know it. */
static ql_status read_biases(ql_config *c, const json_t *o, const char *path)
{
    bool attention = false;
    bool mlp = false;

    if (c->arch->attention_bias) {
        QL_TRY(ql_json_bool(o, "attention_bias", path, &attention));
    }
    if (c->arch->mlp_bias) {
        QL_TRY(ql_json_bool(o, "mlp_bias", path, &mlp));
    }
    c->bias = c->arch->bias;
    c->bias |= attention ? QL_MASK_QKV | QL_MASK_O : 0;
    c->bias |= mlp ? QL_MASK_MLP : 0;
    c->bias &= ql_arch_modules(c->arch);
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
    name += strncmp(name, "torch.", 6) == 0 ? 6 : 0;
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
    const char *method;

    if (!q || json_is_null(q)) {
        return QL_OK;
    }
    if (!json_is_object(q)) {
        QL_FAIL(QL_EFORMAT, "%s: \"quantization_config\" must be an object",
                path);
    }
    /* Folders of bitsandbytes from before others came do not name it. */
    method =
        json_object_get(q, "load_in_4bit") || json_object_get(q, "load_in_8bit")
            ? "bitsandbytes"
            : "unnamed";
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

/* A number that must lie in a range. */
static ql_status read_real(const json_t *o, const char *key, const char *path,
                           double most, double *out)
{
    QL_TRY(ql_json_real(o, key, path, out));
    if (!(*out >= 0) || *out > most) {
        QL_FAIL(QL_EFORMAT, "%s: \"%s\" is absurd", path, key);
    }
    return QL_OK;
}

/* A number in the type that the model's activations have: transformers makes
 * the factor of Gemma's embeddings so. */
static float rounded(double x, ql_dtype dtype)
{
    switch (dtype) {
    case QL_DTYPE_BF16:
        return ql_bf16_to_f32(ql_f32_to_bf16((float)x));
    case QL_DTYPE_F16:
        return ql_f16_to_f32(ql_f32_to_f16((float)x));
    default:
        return (float)x;
    }
}

/* The factors and caps on the way from embedding to logits. */
static ql_status read_scales(ql_config *c, const json_t *o, const char *path)
{
    const double most = 1e6;
    double score = (double)c->D;
    double score_cap = 0;
    double logit_cap = 0;

    if (c->arch->query_scalar) {
        QL_TRY(read_real(o, "query_pre_attn_scalar", path, most, &score));
        QL_TRY(read_real(o, "attn_logit_softcapping", path, most, &score_cap));
        QL_TRY(read_real(o, "final_logit_softcapping", path, most, &logit_cap));
    }
    if (score <= 0) {
        QL_FAIL(QL_EFORMAT, "%s: \"query_pre_attn_scalar\" is 0", path);
    }
    c->score_scale = (float)(1 / sqrt(score));
    c->score_cap = (float)score_cap;
    c->logit_cap = (float)logit_cap;
    c->embed_scale =
        c->arch->scaled_embed ? rounded(sqrt((double)c->C), c->dtype) : 1;
    return QL_OK;
}

/* What only classifiers have. */
static ql_status read_classifier(ql_config *c, const json_t *o,
                                 const char *path)
{
    const char *positions = "absolute";
    bool decoder = false;

    if (!c->arch->classifier) {
        return QL_OK;
    }
    c->tied = false;
    c->types = 2;
    QL_TRY(ql_json_string(o, "position_embedding_type", path, &positions));
    if (strcmp(positions, "absolute") != 0) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: \"position_embedding_type\" %s is not supported; known is "
                "absolute",
                path, positions);
    }
    QL_TRY(ql_json_bool(o, "is_decoder", path, &decoder));
    if (decoder) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: \"is_decoder\" is set: a BERT that writes text is not "
                "supported",
                path);
    }
    QL_TRY(ql_json_size(o, "type_vocab_size", path, &c->types));
    if (c->types == 0 || c->types > 256) {
        QL_FAIL(QL_EFORMAT, "%s: \"type_vocab_size\" is absurd", path);
    }
    return ql_labels_read(&c->labels, o, path);
}

static ql_status read_rest(ql_config *c, const json_t *o, const char *path)
{
    double eps = 1e-6;
    double dropout = 0;

    QL_TRY(read_real(o, ql_arch_key(c->arch, "norm_eps"), path, 1, &eps));
    c->eps = (float)eps;
    QL_TRY(ql_json_bool(o, "tie_word_embeddings", path, &c->tied));
    QL_TRY(read_classifier(c, o, path));
    if (c->arch->parallel) {
        QL_TRY(ql_json_bool(o, "use_parallel_residual", path, &c->parallel));
    }
    QL_TRY(ql_json_real(o, "attention_dropout", path, &dropout));
    if (dropout > 0) {
        ql_warn("attention_dropout of config.json is not applied");
    }
    return QL_OK;
}

static ql_status read_config(ql_config *c, json_t *o, const char *path)
{
    QL_TRY(ql_config_read_arch(c, o, path));
    QL_TRY(read_sizes(c, o, path));
    QL_TRY(read_activation(c, o, path));
    QL_TRY(read_biases(c, o, path));
    QL_TRY(read_dtype(c, o, path));
    QL_TRY(read_quantization(c, o, path));
    QL_TRY(read_scales(c, o, path));
    QL_TRY(ql_config_read_ropes(c, o, path));
    QL_TRY(ql_config_read_layers(c, o, path));
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
    ql_free(c->layer);
    ql_labels_free(&c->labels);
    *c = (ql_config){0};
}

bool ql_config_module(const ql_config *c, ql_module module, size_t *out,
                      size_t *in)
{
    const size_t k = c->KV * c->D;
    const size_t q = c->H * c->D + (c->arch->qkv == QL_QKV_APART ? 0 : 2 * k);
    const size_t shapes[QL_MODULES][2] = {
        [QL_MODULE_Q] = {q, c->C},
        [QL_MODULE_K] = {k, c->C},
        [QL_MODULE_V] = {k, c->C},
        [QL_MODULE_O] = {c->C, c->H * c->D},
        [QL_MODULE_GATE] = {c->arch->fused_gate ? 2 * c->F : c->F, c->C},
        [QL_MODULE_UP] = {c->F, c->C},
        [QL_MODULE_DOWN] = {c->C, c->F},
    };
    const bool there = ql_arch_modules(c->arch) & 1U << module;

    *out = there ? shapes[module][0] : 0;
    *in = there ? shapes[module][1] : 0;
    return there;
}

bool ql_config_gated(const ql_config *c)
{
    return c->arch->names->module[QL_MODULE_GATE] != NULL;
}

bool ql_config_fused_gate(const ql_config *c)
{
    return c->arch->fused_gate;
}

size_t ql_config_head(const ql_config *c)
{
    return c->arch->classifier ? c->labels.n : c->V;
}

size_t ql_config_norm(const ql_config *c, ql_norm_place place)
{
    const bool wide = c->arch->wide_qk_norm;
    const size_t lengths[QL_NORMS] = {
        [QL_NORM_ATTN_IN] = c->C,
        [QL_NORM_ATTN_OUT] = c->C,
        [QL_NORM_MLP_IN] = c->C,
        [QL_NORM_MLP_OUT] = c->C,
        [QL_NORM_Q] = wide ? c->H * c->D : c->D,
        [QL_NORM_K] = wide ? c->KV * c->D : c->D,
    };

    return c->arch->norm[place] ? lengths[place] : 0;
}
