/* Old and new spellings are both read: rope_theta with rope_scaling, and
 * rope_parameters, which may hold one object for each type of layer. */
#include "src/model/config_parts.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"

/* Reads a list of factors into out. */
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

static ql_status read_longrope(ql_config *c, ql_rope_spec *r, const json_t *o,
                               const char *path)
{
    const size_t half = r->dim / 2;

    ql_free(c->rope_factors);
    c->rope_factors = ql_alloc(QL_TAG_MISC, 2 * half, sizeof(double));
    if (!c->rope_factors) {
        return QL_ENOMEM;
    }
    QL_TRY(read_factors(o, "long_factor", c->rope_factors, half, path));
    QL_TRY(read_factors(o, "short_factor", c->rope_factors + half, half, path));
    r->long_factor = c->rope_factors;
    r->short_factor = c->rope_factors + half;
    return QL_OK;
}

static ql_status read_rope_type(const ql_config *c, ql_rope_spec *r,
                                const json_t *o, const char *path)
{
    static const struct {
        const char *name;
        ql_rope_type type;
    } types[] = {
        {"default", QL_ROPE_DEFAULT}, {"linear", QL_ROPE_LINEAR},
        {"dynamic", QL_ROPE_DYNAMIC}, {"yarn", QL_ROPE_YARN},
        {"llama3", QL_ROPE_LLAMA3},   {"longrope", QL_ROPE_LONGROPE},
        {"su", QL_ROPE_LONGROPE}, /* as the first Phi-3 had it */
    };
    const char *name = "default";

    QL_TRY(ql_json_string(o, "type", path, &name));
    if (c->arch->old_longrope && strcmp(name, "yarn") == 0) {
        name = "longrope";
    }
    QL_TRY(ql_json_string(o, "rope_type", path, &name));
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].name, name) == 0) {
            r->type = types[i].type;
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
    const double factor =
        r->type == QL_ROPE_YARN && r->original ? ql_rope_stretch(r) : r->factor;

    if (!(r->theta > 1)) {
        QL_FAIL(QL_EFORMAT, "%s: \"rope_theta\" must be greater than 1", path);
    }
    if (scaled && factor < 1) {
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

/* What a rope's scaling object says. original: what stands beside it, and
 * counts more; 0: nothing (source: transformers 5, standardize_rope_params). */
static ql_status read_scaling(ql_config *c, ql_rope_spec *r, const json_t *o,
                              size_t original, const char *path)
{
    r->original = 0;
    if (json_is_object(o)) {
        QL_TRY(read_rope_type(c, r, o, path));
        QL_TRY(read_rope_numbers(r, o, path));
    } else if (o && !json_is_null(o)) {
        QL_FAIL(QL_EFORMAT, "%s: \"rope_scaling\" must be an object", path);
    }
    r->original = original > 0 ? original : r->original;
    if (r->original == 0 && r->type == QL_ROPE_LLAMA3) {
        r->original = r->max_position;
    }
    QL_TRY(check_rope(r, path));
    return r->type == QL_ROPE_LONGROPE ? read_longrope(c, r, o, path) : QL_OK;
}

/* The scaling object of the layers of a type: of all, where not said apart. */
static const json_t *scaling_of(const json_t *o, const char *type, bool *apart)
{
    const json_t *scaling = json_object_get(o, "rope_scaling");
    const json_t *own;

    if (!scaling || json_is_null(scaling) ||
        (json_is_object(scaling) && json_object_size(scaling) == 0)) {
        scaling = json_object_get(o, "rope_parameters");
    }
    own = json_object_get(scaling, type);
    *apart = own != NULL;
    return own ? own : scaling;
}

/* Dimensions of a head that are turned. */
static ql_status read_rotated(const ql_config *c, const json_t *o,
                              const json_t *scaling, const char *path,
                              size_t *dim)
{
    const char *key = ql_arch_key(c->arch, "partial_rotary_factor");
    double part = 1;

    QL_TRY(ql_json_real(o, key, path, &part));
    QL_TRY(ql_json_real(scaling, "partial_rotary_factor", path, &part));
    if (part != 1 && !c->arch->partial_rotary) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: \"%s\" %g is not supported for %s, only 1", path, key,
                part, c->arch->model_type);
    }
    *dim = part > 0 && part <= 1 ? (size_t)((double)c->D * part) : 0;
    if (part == 1 && *dim % 2 != 0) {
        QL_FAIL(QL_EFORMAT, "%s: head_dim %zu is odd", path, c->D);
    }
    if (*dim == 0 || *dim % 2 != 0) {
        QL_FAIL(QL_EFORMAT,
                "%s: \"%s\" %g of head_dim %zu is no even number of "
                "dimensions",
                path, key, part, c->D);
    }
    return QL_OK;
}

/* The rope of windowed layers, which has no scaling of the old spelling. */
static ql_status read_local(ql_config *c, const json_t *o, const char *path)
{
    const json_t *parameters = json_object_get(o, "rope_parameters");
    ql_rope_spec *r = &c->rope[1];

    *r = c->rope[0];
    r->type = QL_ROPE_DEFAULT;
    QL_TRY(ql_json_real(o, "rope_local_base_freq", path, &r->theta));
    return read_scaling(c, r, json_object_get(parameters, "sliding_attention"),
                        0, path);
}

ql_status ql_config_read_ropes(ql_config *c, const json_t *o, const char *path)
{
    bool apart;
    const json_t *scaling = scaling_of(o, "full_attention", &apart);
    ql_rope_spec *r = &c->rope[0];
    size_t original = 0;

    if (c->arch->names->position) {
        return QL_OK;
    }
    *r = (ql_rope_spec){.theta = 10000,
                        .max_position = c->max_position,
                        .beta_fast = 32,
                        .beta_slow = 1,
                        .truncate = true};
    QL_TRY(
        ql_json_real(o, ql_arch_key(c->arch, "rope_theta"), path, &r->theta));
    QL_TRY(
        ql_json_size(o, "original_max_position_embeddings", path, &original));
    QL_TRY(read_rotated(c, o, scaling, path, &r->dim));
    apart = apart || c->arch->local_rope; /* as the old spelling is read, too */
    QL_TRY(read_scaling(c, r, scaling, apart ? 0 : original, path));
    return c->arch->local_rope ? read_local(c, o, path) : QL_OK;
}
