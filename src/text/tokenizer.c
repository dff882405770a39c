/* The way of a text through the parts: (1) it is cut at the added tokens of
 * the raw set; (2) each stretch between them is normalized on its own and cut
 * at those of the normalized set; (3) each stretch between those is cut into
 * words, and (4) the model encodes each word. */
#include "src/text/tokenizer_handle.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/text/utf8.h"

#define TEXT_BYTES ((size_t)1 << 30)

ql_status ql_tokenizer_open(ql_tokenizer **out, const char *model_dir)
{
    ql_tokenizer *t = ql_calloc(QL_TAG_TEXT, 1, sizeof(*t));
    ql_status st;

    *out = NULL;
    if (!t) {
        return QL_ENOMEM;
    }
    ql_vocab_init(&t->vocab);
    QL_TRY_DONE(ql_dir_need(model_dir, "give a Hugging Face model folder"));
    QL_TRY_DONE(ql_tokenizer_read(t, model_dir));
    QL_TRY_DONE(ql_tokenizer_read_config(t, model_dir));
    *out = t;
    t = NULL;
done:
    ql_tokenizer_close(&t);
    return st;
}

void ql_tokenizer_close(ql_tokenizer **tok)
{
    ql_tokenizer *t = *tok;

    *tok = NULL;
    if (!t) {
        return;
    }
    ql_vocab_free(&t->vocab);
    ql_added_free(&t->added);
    ql_normalizer_free(&t->normalizer);
    ql_bpe_free(&t->bpe);
    ql_postprocessor_free(&t->postprocessor);
    ql_decoder_free(&t->decoder);
    ql_free(t->chat_template);
    ql_free(t);
}

/* What one encoding carries along. */
typedef struct encoder {
    const ql_tokenizer *tok;
    ql_draft drafts[3]; /* two of the normalizer, one of the pre-tokenizer */
    ql_bpe_work work;
    ql_encoding *out;
} encoder;

/* Steps 3 and 4. first: the stretch begins the document, in all three. */
static ql_status encode_stretch(encoder *e, ql_view v, bool first)
{
    const ql_tokenizer *t = e->tok;
    size_t n;

    if (v.n == 0) {
        return QL_OK;
    }
    QL_TRY(ql_pretokenizer_run(&t->pretokenizer, v, first, &e->drafts[2], &v));
    for (size_t i = 0; i < v.n; i += n) {
        const ql_view rest = ql_view_cut(v, i, v.n);

        n = ql_pretokenizer_word(&t->pretokenizer, rest);
        QL_TRY(ql_bpe_run(&t->bpe, &t->vocab, ql_view_cut(rest, 0, n), &e->work,
                          e->out));
    }
    return QL_OK;
}

typedef ql_status stretch_fn(encoder *e, ql_view v, bool first);

/* Cuts v at the tokens of a set, writes those and hands on what is between
 * them. */
static ql_status cut(encoder *e, const ql_added_set *set, ql_view v, bool first,
                     stretch_fn *between)
{
    size_t pos = 0;
    ql_added_match m;

    do {
        m = ql_added_find(set, v, pos);
        QL_TRY(between(e, ql_view_cut(v, pos, m.from), first && pos == 0));
        if (m.id >= 0) {
            QL_TRY(ql_encoding_push(e->out, m.id, ql_view_at(v, m.from)));
        }
        pos = m.to;
    } while (m.id >= 0);
    return QL_OK;
}

/* Step 2. */
static ql_status encode_raw(encoder *e, ql_view v, bool first)
{
    const ql_tokenizer *t = e->tok;

    QL_TRY(ql_normalizer_run(&t->normalizer, v, e->drafts, &v));
    return cut(e, &t->added.normalized, v, first, encode_stretch);
}

ql_status ql_tokenizer_append(const ql_tokenizer *tok, const char *text,
                              size_t len, bool begins, ql_encoding *out)
{
    const ql_view v = {.s = text, .n = len};
    const size_t valid = ql_utf8_check(text, len);
    encoder e = {.tok = tok, .out = out};
    ql_status st;

    if (len > TEXT_BYTES) {
        QL_FAIL(QL_EFORMAT, "a text of %zu bytes is too long to tokenize", len);
    }
    if (valid < len) {
        QL_FAIL(QL_EFORMAT, "the text is not UTF-8 at byte %zu", valid);
    }
    for (size_t i = 0; i < 3; i++) {
        ql_draft_init(&e.drafts[i], out->track);
    }
    st = cut(&e, &tok->added.raw, v, begins, encode_raw);
    for (size_t i = 0; i < 3; i++) {
        ql_draft_free(&e.drafts[i]);
    }
    ql_bpe_work_free(&e.work);
    return st;
}

/* Special tokens [from, to) of the post-processor. */
static ql_status push_specials(const ql_postprocessor *p, size_t from,
                               size_t to, ql_encoding *e)
{
    for (size_t i = from; i < to; i++) {
        QL_TRY(ql_encoding_push(e, p->ids[i], 0));
    }
    return QL_OK;
}

ql_status ql_tokenizer_encode(const ql_tokenizer *tok, const char *text,
                              size_t len, bool specials, int32_t **ids,
                              size_t *n)
{
    const ql_postprocessor *p = &tok->postprocessor;
    ql_encoding e;
    ql_status st;

    *ids = NULL;
    *n = 0;
    ql_encoding_init(&e, QL_TAG_TEXT, false);
    if (specials) {
        QL_TRY_DONE(push_specials(p, 0, p->before, &e));
    }
    QL_TRY_DONE(ql_tokenizer_append(tok, text, len, true, &e));
    if (specials) {
        QL_TRY_DONE(push_specials(p, p->before, p->before + p->after, &e));
    }
    *n = ql_encoding_size(&e);
    *ids = (void *)ql_buf_take(&e.ids, NULL);
    st = *ids ? QL_OK : QL_ENOMEM;
done:
    ql_encoding_free(&e);
    return st;
}

static ql_status push_contents(const ql_tokenizer *tok, const int32_t *ids,
                               size_t n, bool skip_specials, ql_strings *out)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        const char *s = ql_vocab_get(&tok->vocab, ids[i], &len);

        if (!s) {
            QL_FAIL(QL_EINVAL, "no token has the id %d", ids[i]);
        }
        if (!skip_specials || !ql_added_is_special(&tok->added, ids[i])) {
            QL_TRY(ql_strings_push(out, s, len));
        }
    }
    return QL_OK;
}

ql_status ql_tokenizer_decode(const ql_tokenizer *tok, const int32_t *ids,
                              size_t n, bool skip_specials, char **text,
                              size_t *len)
{
    ql_strings tokens;
    ql_buf out;
    ql_status st;

    *text = NULL;
    ql_strings_init(&tokens);
    ql_buf_init(&out, QL_TAG_TEXT, SIZE_MAX / 4);
    QL_TRY_DONE(push_contents(tok, ids, n, skip_specials, &tokens));
    QL_TRY_DONE(ql_decoder_run(&tok->decoder, &tokens, &out));
    *text = ql_buf_take(&out, len);
    st = *text ? QL_OK : QL_ENOMEM;
done:
    ql_strings_free(&tokens);
    ql_buf_free(&out);
    return st;
}

int32_t ql_tokenizer_id(const ql_tokenizer *tok, const char *content)
{
    return ql_vocab_find(&tok->vocab, content, strlen(content));
}

int32_t ql_tokenizer_bos(const ql_tokenizer *tok)
{
    return tok->bos;
}

int32_t ql_tokenizer_eos(const ql_tokenizer *tok)
{
    return tok->eos;
}

const char *ql_tokenizer_token(const ql_tokenizer *tok, int32_t id)
{
    return ql_vocab_get(&tok->vocab, id, NULL);
}

size_t ql_tokenizer_size(const ql_tokenizer *tok)
{
    return tok->vocab.size;
}

const char *ql_tokenizer_chat_template(const ql_tokenizer *tok)
{
    return tok->chat_template;
}
