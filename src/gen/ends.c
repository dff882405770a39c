#include "src/gen/ends.h"

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/text/end_ids.h"

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

/* Adds what the model's files say. */
static ql_status add_said(ql_ends *e, const char *dir)
{
    ql_end_ids said;
    ql_status st = ql_end_ids_init(&said, dir);

    for (size_t i = 0; st == QL_OK && i < said.n; i++) {
        st = add(e, said.ids[i]);
    }
    ql_end_ids_free(&said);
    return st;
}

ql_status ql_ends_init(ql_ends *e, const ql_model *m, const ql_tokenizer *tok)
{
    *e = (ql_ends){0};
    QL_TRY(add(e, ql_tokenizer_eos(tok)));
    QL_TRY(add_said(e, m->dir));
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
