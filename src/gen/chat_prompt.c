/* Conversations are read and ids are made as those of training are, see
 * data/form.c and data/marked.c. */
#include "src/gen/chat_prompt.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/base/field.h"
#include "src/base/json.h"
#include "src/text/tokenizer_handle.h"

enum {
    MAX_TEXT = 1 << 28
};

/* Where conversations are in an object, as data/form.c has it. Behind all but
 * the first, roles must be ones that we know. */
static const char *const keys[] = {"messages", "conversations", "conversation",
                                   NULL};

static ql_status read_turns(ql_talk *t, const json_t *turns, const char *key)
{
    if (!json_is_array(turns)) {
        QL_FAIL(QL_EFORMAT, "must be a list of messages, or an object with "
                            "\"messages\" or \"conversations\"");
    }
    if (json_array_size(turns) == 0) {
        QL_FAIL(QL_EFORMAT, "there are no messages");
    }
    return ql_talk_add_all(t, turns, key, false, key != keys[0]);
}

static ql_status read_talk(ql_talk *t, const json_t *root)
{
    const char *key;

    if (!json_is_object(root)) {
        return read_turns(t, root, keys[0]);
    }
    key = ql_field_any(root, keys);
    key = key ? key : keys[0];
    QL_TRY(read_turns(t, json_object_get(root, key), key));
    return ql_talk_frame(t, root);
}

/* A stretch between special tokens. */
static ql_status append(const ql_tokenizer *tok, const char *text, size_t from,
                        size_t to, ql_encoding *e)
{
    return from < to
               ? ql_tokenizer_append(tok, text + from, to - from, from == 0, e)
               : QL_OK;
}

/* Special tokens stand in a rendered text as they are written. */
static ql_status tokenize(const ql_tokenizer *tok, const char *text, size_t len,
                          ql_encoding *e)
{
    const ql_view v = {.s = text, .n = len};
    ql_added_search search = {0};

    for (;;) {
        const size_t done = search.to;

        if (!ql_added_next(&tok->added.written, v, &search)) {
            return append(tok, text, done, len, e);
        }
        QL_TRY(append(tok, text, done, search.from, e));
        QL_TRY(ql_encoding_push(e, search.id, search.from));
    }
}

/* The ids, without the first of two BOS tokens. */
static ql_status take_ids(const ql_tokenizer *tok, const ql_encoding *e,
                          int32_t **ids, size_t *n)
{
    const int32_t bos = ql_tokenizer_bos(tok);
    const int32_t *all = ql_encoding_ids(e);
    const size_t size = ql_encoding_size(e);
    const bool twice = size >= 2 && bos >= 0 && all[0] == bos && all[1] == bos;

    *n = size - twice;
    *ids = ql_alloc(QL_TAG_DATA, *n, sizeof(**ids));
    if (!*ids) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < *n; i++) {
        (*ids)[i] = all[i + twice];
    }
    return QL_OK;
}

static ql_status render(const ql_styles *styles, const json_t *root,
                        ql_buf *text, const char **opens)
{
    ql_style_lacks lacks = {0};
    const ql_style *style;
    ql_talk t;
    ql_status st;

    QL_TRY_DONE(ql_talk_init(&t));
    QL_TRY_DONE(read_talk(&t, root));
    style = ql_styles_of(styles, &t);
    QL_TRY_DONE(ql_style_fit(style, &t, &lacks));
    QL_TRY_DONE(ql_style_prompt(style, &t, text));
    QL_TRY_DONE(ql_buf_puts(text, "")); /* there is data, if no bytes */
    *opens = ql_buf_ends(text, text->len, style->opens) ? style->opens : "";
done:
    ql_talk_free(&t);
    return st;
}

ql_status ql_chat_prompt(const ql_styles *styles, const ql_tokenizer *tok,
                         const char *json, const char *what, int32_t **ids,
                         size_t *n, const char **opens)
{
    const char *opened;
    ql_status st;
    json_t *root = NULL;
    ql_encoding e;
    ql_buf text;

    *ids = NULL;
    ql_buf_init(&text, QL_TAG_TEXT, MAX_TEXT);
    ql_encoding_init(&e, QL_TAG_DATA, false);
    QL_TRY_DONE(ql_json_parse(&root, json, strlen(json), what));
    st = render(styles, root, &text, opens ? opens : &opened);
    if (st != QL_OK) {
        ql_fail_prefix(st, "%s: ", what);
        goto done;
    }
    QL_TRY_DONE(tokenize(tok, text.data, text.len, &e));
    QL_TRY_DONE(take_ids(tok, &e, ids, n));
done:
    json_decref(root);
    ql_encoding_free(&e);
    ql_buf_free(&text);
    return st;
}
