/* What differs between layers: who sees a window only, who has which rope. */
#include "src/model/config_parts.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"

/* The numbers that the rules of windows and positions go by. */
typedef struct rules {
    bool learned;  /* positions are learned, and there are no ropes */
    size_t window; /* 0: no layer has one */
    size_t first;  /* max_window_layers */
    size_t pattern;
    size_t nope_interval;
    const json_t *types; /* layer_types, or NULL */
    const json_t *ropes; /* no_rope_layers, or NULL */
} rules;

/* A list that is there must have an entry for each layer. */
static ql_status read_list(const ql_config *c, const json_t *o, const char *key,
                           const char *path, const json_t **list)
{
    *list = json_object_get(o, key);
    if (!*list || json_is_null(*list)) {
        *list = NULL;
        return QL_OK;
    }
    if (!json_is_array(*list) || json_array_size(*list) < c->layers) {
        QL_FAIL(QL_EFORMAT, "%s: \"%s\" must be a list of %zu entries", path,
                key, c->layers);
    }
    return QL_OK;
}

static ql_status read_rules(const ql_config *c, const json_t *o,
                            const char *path, rules *r)
{
    const ql_window_rule rule = c->arch->window;
    bool used = rule == QL_WINDOW_ALL || rule == QL_WINDOW_PATTERN;

    *r = (rules){.learned = c->arch->names->position, .pattern = 1};
    if (rule == QL_WINDOW_UPPER || rule == QL_WINDOW_NOPE) {
        QL_TRY(ql_json_bool(o, "use_sliding_window", path, &used));
    }
    if (rule != QL_WINDOW_NONE) {
        QL_TRY(ql_json_size(o, "sliding_window", path, &r->window));
        QL_TRY(ql_json_size(o, "max_window_layers", path, &r->first));
        QL_TRY(ql_json_size(o, "sliding_window_pattern", path, &r->pattern));
        QL_TRY(ql_json_size(o, "_sliding_window_pattern", path, &r->pattern));
    }
    r->window = used ? r->window : 0;
    QL_TRY(read_list(c, o, "layer_types", path, &r->types));
    if (c->arch->nope) {
        QL_TRY(
            ql_json_size(o, "no_rope_layer_interval", path, &r->nope_interval));
        QL_TRY(read_list(c, o, "no_rope_layers", path, &r->ropes));
    }
    return QL_OK;
}

/* True if layer i has a rope. */
static bool has_rope(const rules *r, size_t i)
{
    if (r->learned) {
        return false;
    }
    if (r->ropes) {
        const json_t *v = json_array_get(r->ropes, i);

        return json_is_true(v) || json_integer_value(v) != 0;
    }
    return r->nope_interval == 0 || (i + 1) % r->nope_interval != 0;
}

/* True if the rule of the architecture gives layer i a window. */
static bool windowed_by_rule(const ql_arch *arch, const rules *r, size_t i)
{
    switch (arch->window) {
    case QL_WINDOW_ALL:
        return true;
    case QL_WINDOW_UPPER:
        return i >= r->first;
    case QL_WINDOW_PATTERN:
        return r->pattern == 0 || (i + 1) % r->pattern != 0;
    case QL_WINDOW_NOPE:
        return !has_rope(r, i);
    case QL_WINDOW_NONE:
        break;
    }
    return false;
}

/* What layer_types says of layer i. */
static ql_status windowed_by_type(const ql_config *c, const rules *r, size_t i,
                                  const char *path, bool *windowed)
{
    const char *type = json_string_value(json_array_get(r->types, i));

    *windowed = type && strcmp(type, "sliding_attention") == 0;
    if (!type || (!*windowed && strcmp(type, "full_attention") != 0) ||
        (*windowed && c->arch->window == QL_WINDOW_NONE)) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: \"layer_types\"[%zu] is \"%s\", which is not supported "
                "for %s",
                path, i, type ? type : "no text", c->arch->model_type);
    }
    if (*windowed && r->window == 0) {
        QL_FAIL(QL_EFORMAT,
                "%s: \"layer_types\"[%zu] is \"%s\", but no "
                "\"sliding_window\" is in use",
                path, i, type);
    }
    return QL_OK;
}

static ql_status read_layer(ql_config *c, const rules *r, size_t i,
                            const char *path)
{
    bool windowed = windowed_by_rule(c->arch, r, i);

    if (r->types) {
        QL_TRY(windowed_by_type(c, r, i, path, &windowed));
    }
    c->layer[i].window = windowed ? r->window : 0;
    c->layer[i].rope = !has_rope(r, i)                   ? -1
                       : windowed && c->arch->local_rope ? 1
                                                         : 0;
    return QL_OK;
}

ql_status ql_config_read_layers(ql_config *c, const json_t *o, const char *path)
{
    rules r;

    c->layer = ql_calloc(QL_TAG_MISC, c->layers, sizeof(*c->layer));
    if (!c->layer) {
        return QL_ENOMEM;
    }
    QL_TRY(read_rules(c, o, path, &r));
    for (size_t i = 0; i < c->layers; i++) {
        QL_TRY(read_layer(c, &r, i, path));
    }
    return QL_OK;
}
