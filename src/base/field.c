#include "src/base/field.h"

#include "src/base/fail.h"

ql_status ql_field_string(const json_t *o, const char *key, const char **s,
                          size_t *n)
{
    const json_t *v = json_object_get(o, key);

    if (!v) {
        QL_FAIL(QL_EFORMAT, "\"%s\" is missing", key);
    }
    if (!json_is_string(v)) {
        QL_FAIL(QL_EFORMAT, "\"%s\" must be a string", key);
    }
    *s = json_string_value(v);
    *n = json_string_length(v);
    return QL_OK;
}

const char *ql_field_any(const json_t *o, const char *const *keys)
{
    while (*keys) {
        const json_t *v = json_object_get(o, *keys);

        if (v && !json_is_null(v)) {
            return *keys;
        }
        keys++;
    }
    return NULL;
}

ql_status ql_field_held(bool ok)
{
    return ok ? QL_OK : ql_fail(QL_ENOMEM, "out of memory for a record");
}
