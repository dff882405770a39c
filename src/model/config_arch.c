/* Which architecture a config.json is of, and that it is nothing else. */
#include "src/model/config_parts.h"

#include <string.h>

#include "src/base/fail.h"

/* Keys that must be absent, null, false, 0 or empty: with another value they
 * make of any architecture what is not supported. */
static const struct {
    const char *key, *what;
} refused[] = {
    {"num_local_experts", "a mixture of experts"},
    {"num_experts", "a mixture of experts"},
    {"n_routed_experts", "a mixture of experts"},
    {"vision_config", "a model with a vision tower"},
    {"vision_tower", "a model with a vision tower"},
    {"mm_vision_tower", "a model with a vision tower"},
    {"audio_config", "a model with an audio tower"},
    {"alibi", "a model with ALiBi positions"},
    {"use_bidirectional_attention", "a model that sees behind itself"},
    {"add_cross_attention", "a decoder with cross-attention"},
    {"is_encoder_decoder", "a model of encoder and decoder"},
    {"scale_attn_by_inverse_layer_idx",
     "a model whose attention is scaled by layer"},
    {"attention_chunk_size", "a model that attends in chunks"},
    {"clip_qkv", "a model that clips q, k and v"},
    {"logit_scale", "a model with a factor on its logits"},
    {"use_qk_norm", "a model that has norms of q and k by that key"},
    {"qk_layernorm", "a model that has norms of q and k by that key"},
    {"use_mrope", "a model with positions in several dimensions"},
    {"quantization", "a model quantized for MLX"},
    {"compression_config", "a model packed by compressed-tensors"},
};

/* Keys that only architectures with a scalar on queries know. */
static const char *const caps[] = {"attn_logit_softcapping",
                                   "final_logit_softcapping"};

static bool harmless(const json_t *v)
{
    return !v || json_is_null(v) || json_is_false(v) ||
           (json_is_number(v) && json_number_value(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0);
}

static ql_status refuse_type(const char *type, const char *path)
{
    const char *reason = ql_arch_reason(type);

    if (reason) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: architecture \"%s\" is not supported: it is %s; known "
                "are: %s",
                path, type, reason, ql_arch_list());
    }
    QL_FAIL(QL_EUNSUPPORTED,
            "%s: architecture \"%s\" is not supported; known are: %s", path,
            type, ql_arch_list());
}

/* Whether null is a value of a key that has this default, and not as good as
 * absent: what is off then, or follows from other keys. */
static bool null_counts(const char *key, const json_t *value)
{
    static const char *const keys[] = {"sliding_window", "head_dim",
                                       "attn_logit_softcapping",
                                       "final_logit_softcapping"};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strcmp(keys[i], key) == 0) {
            return true;
        }
    }
    return json_is_boolean(value); /* false */
}

/* What keys mean that are absent. */
static ql_status add_defaults(const ql_arch *arch, json_t *o)
{
    json_t *defaults =
        arch->defaults ? json_loads(arch->defaults, 0, NULL) : NULL;
    bool done = !arch->defaults || defaults;
    const char *key;
    json_t *value;

    json_object_foreach(defaults, key, value)
    {
        const json_t *given = json_object_get(o, key);

        if (!given || (json_is_null(given) && !null_counts(key, value))) {
            done &= json_object_set(o, key, value) == 0;
        }
    }
    json_decref(defaults);
    return done ? QL_OK : QL_ENOMEM;
}

static ql_status refuse_key(const char *key, const char *what, const char *path)
{
    QL_FAIL(QL_EUNSUPPORTED, "%s: \"%s\" is set: %s is not supported", path,
            key, what);
}

/* Features that make another model of any architecture, or of this one. */
static ql_status check_features(const ql_arch *arch, const json_t *o,
                                const char *path)
{
    const char *positions = "";

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (!harmless(json_object_get(o, refused[i].key))) {
            return refuse_key(refused[i].key, refused[i].what, path);
        }
    }
    for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
        if (!arch->query_scalar && !harmless(json_object_get(o, caps[i]))) {
            return refuse_key(caps[i], "a cap on logits in this architecture",
                              path);
        }
    }
    if (json_is_false(json_object_get(o, "scale_attn_weights"))) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: \"scale_attn_weights\" is false: attention without its "
                "scale is not supported",
                path);
    }
    QL_TRY(ql_json_string(o, "position_embedding_type", path, &positions));
    if (strcmp(positions, "alibi") == 0) {
        return refuse_key("position_embedding_type", "ALiBi", path);
    }
    return QL_OK;
}

/* What the head is for, by the name of the class: "LlamaForCausalLM". */
static ql_status check_head(const ql_arch *arch, const json_t *o,
                            const char *path)
{
    static const char *const others[] = {"TokenClassification",
                                         "QuestionAnswering", "MultipleChoice",
                                         "NextSentencePrediction"};
    const json_t *list = json_object_get(o, "architectures");
    const char *name = json_string_value(json_array_get(list, 0));
    const char *head = name ? strstr(name, "For") : NULL;
    bool other = head && !arch->classifier && strcmp(head, "ForCausalLM") != 0;

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        other |= head && strcmp(head + strlen("For"), others[i]) == 0;
    }
    if (other) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: \"architectures\" names %s, whose head is not supported; "
                "%s is known as %s",
                path, name, arch->model_type,
                arch->classifier ? "a classifier of texts"
                                 : "a language model");
    }
    return QL_OK;
}

ql_status ql_config_read_arch(ql_config *c, json_t *o, const char *path)
{
    const char *type = NULL;

    QL_TRY(ql_json_string(o, "model_type", path, &type));
    if (!type) {
        QL_FAIL(QL_EFORMAT, "%s: \"model_type\" is missing", path);
    }
    c->arch = ql_arch_find(type);
    if (!c->arch) {
        return refuse_type(type, path);
    }
    QL_TRY(check_features(c->arch, o, path));
    QL_TRY(check_head(c->arch, o, path));
    return add_defaults(c->arch, o);
}
