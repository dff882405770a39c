#include "src/text/styles.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/text/thought.h"

bool ql_style_start(const ql_style *s, const ql_buf *before, const ql_buf *text,
                    size_t *start)
{
    const size_t head = strlen(s->head);
    size_t n = before->len;

    if (!s->prompts && !ql_buf_begins(text, before->data, n) &&
        ql_buf_ends(before, n, s->trailer)) {
        n -= strlen(s->trailer);
    }
    *start = n;
    if (!ql_buf_begins(text, before->data, n)) {
        return false;
    }
    if (!s->prompts && head <= text->len - n &&
        memcmp(text->data + n, s->head, head) == 0) {
        *start += head;
    }
    return true;
}

/* Where the thought belongs that the prompt, in before, opens; SIZE_MAX if the
 * turn that ends the text has it, or was not asked for so. */
static size_t find_thought(const ql_style *s, const ql_buf *before,
                           const ql_buf *text)
{
    const size_t n = strlen(s->opens);

    return n > 0 && ql_buf_ends(before, before->len, s->opens) &&
                   !ql_buf_begins(text, before->data, before->len) &&
                   ql_buf_begins(text, before->data, before->len - n)
               ? before->len - n
               : SIZE_MAX;
}

/* A template that refuses to ask opens no thought. */
static ql_status put_thought(const ql_style *s, const ql_talk *t, size_t n,
                             ql_buf *text)
{
    size_t at;
    ql_buf before;
    ql_status st;

    ql_buf_init(&before, QL_TAG_DATA, SIZE_MAX / 4);
    st = ql_style_write(s, t, n, true, &before, NULL);
    if (st == QL_OK) {
        at = find_thought(s, &before, text);
        st = at < SIZE_MAX ? ql_thought_put(text, at, s->opens,
                                            json_array_get(t->messages, n))
                           : QL_OK;
    }
    ql_buf_free(&before);
    return st == QL_ENOMEM ? st : QL_OK;
}

ql_status ql_style_turns(const ql_style *s, const ql_talk *t, size_t n,
                         ql_buf *text)
{
    QL_TRY(ql_style_write(s, t, n, false, text, NULL));
    return n > 0 && *s->opens &&
                   strcmp(ql_talk_role(t, n - 1), "assistant") == 0
               ? put_thought(s, t, n - 1, text)
               : QL_OK;
}

/* Puts the conversation with a word for an answer in *text, up to the word's
 * turn; leaves what is there where that is not to be found. */
static ql_status prompt_by_word(const ql_style *s, const ql_talk *t,
                                ql_buf *text)
{
    const size_t n = json_array_size(t->messages);
    ql_talk more = *t;
    size_t start;
    ql_buf answered;
    ql_status st;

    ql_buf_init(&answered, QL_TAG_DATA, SIZE_MAX / 4);
    more.messages = json_copy(t->messages);
    QL_TRY_DONE(ql_field_held(
        more.messages &&
        json_array_append_new(more.messages,
                              json_pack("{s:s, s:s}", "role", "assistant",
                                        "content", ql_style_word)) == 0));
    st = ql_style_write(s, &more, n + 1, false, &answered, NULL);
    if (st == QL_OK && ql_style_start(s, text, &answered, &start)) {
        ql_buf_clear(text);
        st = ql_buf_append(text, answered.data, start);
    }
    st = st == QL_ENOMEM ? st : QL_OK;
done:
    json_decref(more.messages);
    ql_buf_free(&answered);
    return st;
}

ql_status ql_style_prompt(const ql_style *s, const ql_talk *t, ql_buf *text)
{
    QL_TRY(
        ql_style_write(s, t, json_array_size(t->messages), true, text, NULL));
    return s->known && !s->prompts ? prompt_by_word(s, t, text) : QL_OK;
}

ql_status ql_styles_open(ql_styles *s, const ql_tokenizer *tok,
                         const char *given, const char *date)
{
    QL_TRY(ql_chat_open(&s->chat, tok, given, date));
    QL_TRY(ql_style_init(&s->plain, &s->chat, false, tok));
    return s->chat.tools ? ql_style_init(&s->tools, &s->chat, true, tok)
                         : QL_OK;
}

void ql_styles_close(ql_styles *s)
{
    ql_style_free(&s->plain);
    ql_style_free(&s->tools);
    ql_chat_close(&s->chat);
}

const ql_style *ql_styles_of(const ql_styles *s, const ql_talk *t)
{
    return t->tools && s->tools.chat ? &s->tools : &s->plain;
}
