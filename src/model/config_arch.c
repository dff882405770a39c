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
    {"audio_config", "a model with an audio tower"},
    {"alibi", "a model with ALiBi positions"},
    {"use_bidirectional_attention", "a model that sees behind itself"},
    {"add_cross_attention", "a decoder with cross-attention"},
    {"is_encoder_decoder", "a model of encoder and decoder"},
    {"scale_attn_by_inverse_layer_idx",
     "a model whose attention is scaled by layer"},
};

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

/* What keys mean that are absent. */
static ql_status add_defaults(const ql_arch *arch, json_t *o)
{
    json_t *defaults =
        arch->defaults ? json_loads(arch->defaults, 0, NULL) : NULL;
    const bool done =
        !arch->defaults ||
        (defaults && json_object_update_missing(o, defaults) == 0);

    json_decref(defaults);
    return done ? QL_OK : QL_ENOMEM;
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
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (!harmless(json_object_get(o, refused[i].key))) {
            QL_FAIL(QL_EUNSUPPORTED, "%s: \"%s\" is set: %s is not supported",
                    path, refused[i].key, refused[i].what);
        }
    }
    return add_defaults(c->arch, o);
}
