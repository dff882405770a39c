#include "src/text/end_ids.h"

#include "src/base/fail.h"
#include "src/base/json.h"

enum {
    FILE_BYTES = 1 << 26
};

static const char key[] = "eos_token_id";

static ql_status add(ql_end_ids *e, const json_t *v, const char *path)
{
    if (json_is_null(v)) {
        return QL_OK;
    }
    if (!json_is_integer(v) || json_integer_value(v) > INT32_MAX) {
        QL_FAIL(QL_EFORMAT, "%s: \"%s\" must be the id of a token, or a list",
                path, key);
    }
    if (json_integer_value(v) >= 0) {
        e->ids[e->n++] = (int32_t)json_integer_value(v);
    }
    return QL_OK;
}

static ql_status read_value(ql_end_ids *e, const json_t *v, const char *path)
{
    const size_t n = ql_json_count(v);

    e->ids = ql_alloc(QL_TAG_TEXT, n, sizeof(*e->ids));
    if (!e->ids) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        QL_TRY(add(e, ql_json_item(v, i), path));
    }
    return QL_OK;
}

/* Fills in what a file says, if it says something. */
static ql_status read_file(ql_end_ids *e, const char *dir, const char *name)
{
    json_t *root = NULL;
    char *path = NULL;
    const json_t *v;
    ql_status st = ql_json_load_optional(&root, &path, dir, name, FILE_BYTES);

    v = json_object_get(root, key);
    if (st == QL_OK && v && !json_is_null(v)) {
        st = read_value(e, v, path);
    }
    json_decref(root);
    ql_free(path);
    return st;
}

ql_status ql_end_ids_init(ql_end_ids *e, const char *dir)
{
    ql_status st;

    *e = (ql_end_ids){0};
    st = read_file(e, dir, "generation_config.json");
    if (st == QL_OK && !e->ids) {
        st = read_file(e, dir, "config.json");
    }
    if (st != QL_OK) {
        ql_end_ids_free(e);
    }
    return st;
}

void ql_end_ids_free(ql_end_ids *e)
{
    ql_free(e->ids);
    *e = (ql_end_ids){0};
}
