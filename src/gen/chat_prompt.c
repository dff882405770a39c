/* Ids are made as those of training are, see data/marked.c. */
#include "src/gen/chat_prompt.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/base/json.h"
#include "src/text/tokenizer_handle.h"

enum {
    MAX_TEXT = 1 << 28
};

static ql_status check_messages(const json_t *list, const char *what)
{
    if (!json_is_array(list)) {
        QL_FAIL(QL_EFORMAT,
                "%s: must be a list of messages, or an object with "
                "\"messages\"",
                what);
    }
    if (json_array_size(list) == 0) {
        QL_FAIL(QL_EFORMAT, "%s: there are no messages", what);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i);

        if (!json_is_string(json_object_get(m, "role"))) {
            QL_FAIL(QL_EFORMAT,
                    "%s: message %zu must be an object with \"role\" and "
                    "\"content\"",
                    what, i + 1);
        }
        if (!json_object_get(m, "content") &&
            !json_object_get(m, "tool_calls")) {
            QL_FAIL(QL_EFORMAT, "%s: message %zu has no \"content\"", what,
                    i + 1);
        }
    }
    return QL_OK;
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

static ql_status render(const ql_chat *chat, const json_t *root,
                        const char *what, ql_buf *text)
{
    const bool list = json_is_array(root);
    const ql_chat_input in = {
        .messages = list ? root : json_object_get(root, "messages"),
        .tools = list ? NULL : json_object_get(root, "tools"),
        .add_generation_prompt = true};
    ql_status st;

    QL_TRY(check_messages(in.messages, what));
    st = ql_chat_write(chat, in, text, NULL);
    return st == QL_OK ? st : ql_fail_prefix(st, "%s: ", what);
}

ql_status ql_chat_prompt(const ql_chat *chat, const ql_tokenizer *tok,
                         const char *json, const char *what, int32_t **ids,
                         size_t *n)
{
    ql_status st;
    json_t *root = NULL;
    ql_encoding e;
    ql_buf text;

    *ids = NULL;
    ql_buf_init(&text, QL_TAG_TEXT, MAX_TEXT);
    ql_encoding_init(&e, QL_TAG_DATA, false);
    QL_TRY_DONE(ql_json_parse(&root, json, strlen(json), what));
    QL_TRY_DONE(render(chat, root, what, &text));
    QL_TRY_DONE(ql_buf_puts(&text, "")); /* there is data, if no bytes */
    QL_TRY_DONE(tokenize(tok, text.data, text.len, &e));
    QL_TRY_DONE(take_ids(tok, &e, ids, n));
done:
    json_decref(root);
    ql_encoding_free(&e);
    ql_buf_free(&text);
    return st;
}
