#include "src/text/part.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"

enum {
    MAX_DEPTH = 8
};

ql_status ql_part_unsupported(const ql_part *p, const char *what)
{
    QL_FAIL(QL_EUNSUPPORTED, "%s: %s: %s is not supported", p->where, p->kind,
            what);
}

ql_status ql_part_type(const ql_part *p, const char **type)
{
    const json_t *v = json_object_get(p->json, "type");

    if (!json_is_string(v)) {
        QL_FAIL(QL_EFORMAT, "%s: %s: must be an object with a \"type\"",
                p->where, p->kind);
    }
    *type = json_string_value(v);
    return QL_OK;
}

static ql_status copy_string(const ql_part *p, const json_t *v, const char *key,
                             char **out)
{
    if (!json_is_string(v) ||
        strlen(json_string_value(v)) != json_string_length(v)) {
        QL_FAIL(QL_EFORMAT, "%s: %s: \"%s\" must be a string", p->where,
                p->kind, key);
    }
    *out = ql_strdup(QL_TAG_TEXT, json_string_value(v));
    return *out ? QL_OK : QL_ENOMEM;
}

ql_status ql_part_string(const ql_part *p, const char *key, char **out)
{
    return copy_string(p, json_object_get(p->json, key), key, out);
}

static ql_status each(const ql_part *p, const char *list, ql_part_fn *read,
                      void *ctx, int depth)
{
    const json_t *items;
    const char *type = "";

    QL_TRY(ql_part_type(p, &type));
    if (strcmp(type, "Sequence") != 0) {
        return read(ctx, p, type);
    }
    items = json_object_get(p->json, list);
    if (!json_is_array(items) || depth == MAX_DEPTH) {
        QL_FAIL(QL_EFORMAT, "%s: %s: %s", p->where, p->kind,
                depth == MAX_DEPTH ? "Sequences are nested too deep"
                                   : "a Sequence must hold a list");
    }
    for (size_t i = 0; i < json_array_size(items); i++) {
        const ql_part item = {json_array_get(items, i), p->where, p->kind};

        QL_TRY(each(&item, list, read, ctx, depth + 1));
    }
    return QL_OK;
}

ql_status ql_part_each(const ql_part *p, const char *list, ql_part_fn *read,
                       void *ctx)
{
    return each(p, list, read, ctx, 0);
}
