#include "src/base/json.h"

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/file.h"

ql_status ql_json_parse(json_t **out, const char *text, size_t len,
                        const char *where)
{
    json_error_t e;

    *out = json_loadb(text, len,
                      JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL,
                      &e);
    if (*out) {
        return QL_OK;
    }
    if (json_error_code(&e) == json_error_out_of_memory) {
        QL_FAIL(QL_ENOMEM, "%s: out of memory", where);
    }
    QL_FAIL(QL_EFORMAT, "%s: not valid JSON: %s (line %d, column %d)", where,
            e.text, e.line, e.column);
}

ql_status ql_json_load(json_t **out, const char *path, size_t max)
{
    ql_status st;
    char *text = NULL;
    size_t len = 0;

    *out = NULL;
    QL_TRY(ql_file_read(path, max, &text, &len));
    st = ql_json_parse(out, text, len, path);
    ql_free(text);
    if (st == QL_OK && !json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        QL_FAIL(QL_EFORMAT, "%s: must be a JSON object", path);
    }
    return st;
}

/* The value of a key that is there and not null, else NULL. */
static const json_t *given(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);

    return json_is_null(v) ? NULL : v;
}

static ql_status wrong(const char *where, const char *key, const char *want)
{
    QL_FAIL(QL_EFORMAT, "%s: \"%s\" must be %s", where, key, want);
}

ql_status ql_json_size(const json_t *o, const char *key, const char *where,
                       size_t *out)
{
    const json_t *v = given(o, key);

    if (!v) {
        return QL_OK;
    }
    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        return wrong(where, key, "a whole number, not negative");
    }
    *out = (size_t)json_integer_value(v);
    return QL_OK;
}

ql_status ql_json_real(const json_t *o, const char *key, const char *where,
                       double *out)
{
    const json_t *v = given(o, key);

    if (!v) {
        return QL_OK;
    }
    if (!json_is_number(v)) {
        return wrong(where, key, "a number");
    }
    *out = json_number_value(v);
    return QL_OK;
}

ql_status ql_json_bool(const json_t *o, const char *key, const char *where,
                       bool *out)
{
    const json_t *v = given(o, key);

    if (!v) {
        return QL_OK;
    }
    if (!json_is_boolean(v)) {
        return wrong(where, key, "true or false");
    }
    *out = json_is_true(v);
    return QL_OK;
}

ql_status ql_json_string(const json_t *o, const char *key, const char *where,
                         const char **out)
{
    const json_t *v = given(o, key);

    if (!v) {
        return QL_OK;
    }
    if (!json_is_string(v)) {
        return wrong(where, key, "a string");
    }
    *out = json_string_value(v);
    return QL_OK;
}
