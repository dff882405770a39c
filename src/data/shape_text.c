/* Records without turns: plain text, and a prompt with its completion.
 *
 * Tokens of a prompt and of what follows it may melt into one another where
 * they meet, so the two are tokenized as one text, and the prompt's part is
 * what this has in common with the prompt tokenized alone. A token that holds
 * the end of the prompt and the start of the completion is thus trained. */
#include "src/base/fail.h"
#include "src/data/shape.h"

/* The end token, unless the tokenizer's own post-processor or the text has
 * put it there. */
static ql_status push_end(const ql_tokenizer *tok, ql_sample_draft *out)
{
    const int32_t eos = ql_tokenizer_eos(tok);
    const size_t n = ql_sample_draft_size(out);
    const int32_t *ids = (const void *)out->ids.data;

    if (eos < 0 || (n > 0 && ids[n - 1] == eos)) {
        return QL_OK;
    }
    return ql_sample_draft_push(out, &eos, 1, true);
}

/* An empty text gives an empty sample, which is then left out. */
ql_status ql_shape_text(const json_t *record, const ql_tokenizer *tok,
                        ql_train_on train_on, ql_sample_draft *out)
{
    const char *text = NULL;
    int32_t *ids = NULL;
    size_t len = 0;
    size_t n = 0;
    ql_status st;

    (void)train_on;
    QL_TRY(ql_shape_string(record, "text", &text, &len));
    if (len == 0) {
        return QL_OK;
    }
    QL_TRY(ql_tokenizer_encode(tok, text, len, true, &ids, &n));
    st = ql_sample_draft_push(out, ids, n, true);
    ql_free(ids);
    QL_TRY(st);
    return push_end(tok, out);
}

static ql_status read_side(const json_t *record, const char *key,
                           const char **s, size_t *n)
{
    if (json_is_array(json_object_get(record, key))) {
        QL_FAIL(QL_EUNSUPPORTED,
                "\"%s\" is a list of messages; write such records as "
                "{\"messages\": [...]}",
                key);
    }
    return ql_shape_string(record, key, s, n);
}

static ql_status join_sides(const json_t *record, ql_buf *text,
                            size_t *prompt_len)
{
    const char *s = "";
    size_t n = 0;

    QL_TRY(read_side(record, "prompt", &s, &n));
    QL_TRY(ql_buf_append(text, s, n));
    *prompt_len = n;
    QL_TRY(read_side(record, "completion", &s, &n));
    return ql_buf_append(text, s, n);
}

/* Appends the tokens of text[len], of which the first prompt_len bytes are
 * the prompt. */
static ql_status push_both(const ql_tokenizer *tok, const ql_buf *text,
                           size_t prompt_len, bool train_prompt,
                           ql_sample_draft *out)
{
    int32_t *prompt = NULL;
    int32_t *both = NULL;
    size_t n_prompt = 0;
    size_t n = 0;
    size_t same = 0;
    ql_status st;

    QL_TRY_DONE(ql_tokenizer_encode(tok, text->data, prompt_len, true, &prompt,
                                    &n_prompt));
    QL_TRY_DONE(
        ql_tokenizer_encode(tok, text->data, text->len, true, &both, &n));
    while (same < n && same < n_prompt && prompt[same] == both[same]) {
        same++;
    }
    QL_TRY_DONE(ql_sample_draft_push(out, both, same, train_prompt));
    st = ql_sample_draft_push(out, both + same, n - same, true);
done:
    ql_free(prompt);
    ql_free(both);
    return st;
}

ql_status ql_shape_prompt(const json_t *record, const ql_tokenizer *tok,
                          ql_train_on train_on, ql_sample_draft *out)
{
    size_t prompt_len = 0;
    ql_status st;
    ql_buf text;

    ql_buf_init(&text, QL_TAG_DATA, SIZE_MAX / 4);
    QL_TRY_DONE(join_sides(record, &text, &prompt_len));
    QL_TRY_DONE(
        push_both(tok, &text, prompt_len, train_on == QL_TRAIN_ON_ALL, out));
    st = push_end(tok, out);
done:
    ql_buf_free(&text);
    return st;
}
