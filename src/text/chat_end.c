/* As in go_template and style, the text is looked at, not the template. */
#include "src/text/chat_end.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/text/chat_file.h"
#include "src/text/tokenizer_handle.h"

enum {
    MAX_TEXT = 1 << 24
};

/* A message that no template has in a text of its own. */
static const char answer[] = "qzaxzq";

/* The text of a conversation that ends in an answer. */
static ql_status render(const ql_chat_template *t, const json_t *tokens,
                        ql_buf *text)
{
    json_t *list = json_pack("[{ss ss} {ss ss}]", "role", "user", "content",
                             "qzuxzq", "role", "assistant", "content", answer);
    const ql_chat_input in = {.messages = list, .tokens = tokens};
    ql_status st = list ? ql_chat_render(t, &in, text, NULL)
                        : ql_fail(QL_ENOMEM, "out of memory");

    json_decref(list);
    return st == QL_OK ? ql_buf_puts(text, "") : st; /* data, if no bytes */
}

/* The first special token of what follows the last answer in a text. */
static int32_t first_special(const ql_tokenizer *tok, const char *text)
{
    const char *end = NULL;

    for (const char *at = text; (at = strstr(at, answer));) {
        at += sizeof(answer) - 1;
        end = at;
    }
    while (end && *end) {
        const size_t n = ql_added_special_at(&tok->added, end, strlen(end));
        const int32_t id = n > 0 ? ql_vocab_find(&tok->vocab, end, n) : -1;

        if (id >= 0 && id != tok->bos) {
            return id;
        }
        end += n > 0 ? n : 1;
    }
    return -1;
}

ql_status ql_chat_end_find(int32_t *id, const ql_chat_template *t,
                           const json_t *tokens, const ql_tokenizer *tok)
{
    ql_buf text;
    ql_status st;

    ql_buf_init(&text, QL_TAG_TEXT, MAX_TEXT);
    st = render(t, tokens, &text);
    *id = st == QL_OK ? first_special(tok, text.data) : -1;
    ql_buf_free(&text);
    return st == QL_ENOMEM ? st : QL_OK;
}

static ql_status find(ql_chat_source *source, const char *first,
                      const char *dir)
{
    ql_status st = QL_ENOTFOUND;

    if (first) {
        st = ql_chat_source_find(source, first, NULL, false);
    }
    if (st == QL_ENOTFOUND) {
        ql_chat_source_free(source);
        st = ql_chat_source_find(source, dir, NULL, false);
    }
    return st;
}

ql_status ql_chat_end_read(int32_t *id, const char *first, const char *dir,
                           const ql_tokenizer *tok)
{
    ql_chat_source source = {0};
    ql_chat_template *t = NULL;
    json_t *tokens = NULL;
    ql_status st;

    *id = -1;
    QL_TRY_DONE(find(&source, first, dir));
    QL_TRY_DONE(ql_chat_tokens_read(&tokens, dir));
    st = ql_chat_template_open(&t, source.text, source.len, source.where);
    if (st == QL_OK) {
        st = ql_chat_end_find(id, t, tokens, tok);
    } else if (st != QL_ENOMEM) {
        st = QL_OK;
    }
done:
    ql_chat_template_close(&t);
    json_decref(tokens);
    ql_chat_source_free(&source);
    return st == QL_ENOTFOUND ? QL_OK : st;
}
