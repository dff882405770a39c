#include "src/gen/ends.h"

#include "src/base/fail.h"
#include "src/base/json.h"

enum {
    FILE_BYTES = 1 << 26
};

static const char key[] = "eos_token_id";

static ql_status add(ql_ends *e, int32_t id)
{
    int32_t *ids;

    if (id < 0 || ql_ends_has(e, id)) {
        return QL_OK;
    }
    ids = ql_realloc(QL_TAG_TEXT, e->ids, e->n + 1, sizeof(*ids));
    if (!ids) {
        return QL_ENOMEM;
    }
    e->ids = ids;
    e->ids[e->n++] = id;
    return QL_OK;
}

static ql_status add_value(ql_ends *e, const json_t *v, const char *path)
{
    if (!json_is_integer(v) || json_integer_value(v) > INT32_MAX) {
        QL_FAIL(QL_EFORMAT, "%s: \"%s\" must be the id of a token, or a list",
                path, key);
    }
    return add(e, (int32_t)json_integer_value(v));
}

/* What a file says; *said is false where it says nothing. */
static ql_status read_file(ql_ends *e, const char *dir, const char *name,
                           bool *said)
{
    json_t *root = NULL;
    char *path = NULL;
    const json_t *v;
    ql_status st = ql_json_load_optional(&root, &path, dir, name, FILE_BYTES);

    v = json_object_get(root, key);
    *said = v && !json_is_null(v);
    for (size_t i = 0; st == QL_OK && i < ql_json_count(v); i++) {
        st = add_value(e, ql_json_item(v, i), path);
    }
    json_decref(root);
    ql_free(path);
    return st;
}

/* Rows that only pad the matrix, and ids that no token has. */
static ql_status find_holes(ql_ends *e, size_t V, const ql_tokenizer *tok)
{
    size_t n = 0;

    for (size_t i = 0; i < V; i++) {
        n += !ql_tokenizer_token(tok, (int32_t)i);
    }
    e->holes = ql_alloc(QL_TAG_TEXT, n, sizeof(*e->holes));
    if (!e->holes) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < V; i++) {
        if (!ql_tokenizer_token(tok, (int32_t)i)) {
            e->holes[e->n_holes++] = (int32_t)i;
        }
    }
    return QL_OK;
}

ql_status ql_ends_init(ql_ends *e, const ql_model *m, const ql_tokenizer *tok)
{
    bool said;

    *e = (ql_ends){0};
    QL_TRY(add(e, ql_tokenizer_eos(tok)));
    QL_TRY(read_file(e, m->dir, "generation_config.json", &said));
    if (!said) {
        QL_TRY(read_file(e, m->dir, "config.json", &said));
    }
    return find_holes(e, m->config.V, tok);
}

void ql_ends_free(ql_ends *e)
{
    ql_free(e->ids);
    ql_free(e->holes);
    *e = (ql_ends){0};
}

bool ql_ends_has(const ql_ends *e, int32_t id)
{
    for (size_t i = 0; i < e->n; i++) {
        if (e->ids[i] == id) {
            return true;
        }
    }
    return false;
}
