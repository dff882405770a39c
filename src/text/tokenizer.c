/* The way of a text through the parts: (1) it is cut at the added tokens of
 * the raw set; (2) each stretch between them is normalized on its own and cut
 * at those of the normalized set; (3) each stretch between those is cut into
 * words, and (4) the model encodes each word. */
#include "src/text/tokenizer_handle.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/text/utf8.h"

#define TEXT_BYTES ((size_t)1 << 28)

ql_status ql_tokenizer_open(ql_tokenizer **out, const char *model_dir)
{
    ql_tokenizer *t = ql_calloc(QL_TAG_TEXT, 1, sizeof(*t));
    ql_status st;

    *out = NULL;
    if (!t) {
        return QL_ENOMEM;
    }
    ql_vocab_init(&t->vocab);
    t->dir = ql_strdup(QL_TAG_TEXT, model_dir);
    QL_TRY_DONE(t->dir ? QL_OK : QL_ENOMEM);
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
    ql_pretokenizer_free(&t->pretokenizer);
    ql_subword_free(&t->model);
    ql_postprocessor_free(&t->postprocessor);
    ql_decoder_free(&t->decoder);
    ql_free(t->dir);
    ql_free(t);
}

/* What one encoding carries along. */
typedef struct encoder {
    const ql_tokenizer *tok;
    ql_normal_work normal;
    ql_pre_work pre;
    ql_subword_work model;
    ql_encoding *out;
} encoder;

/* Step 4. */
static ql_status encode_word(void *ctx, ql_view word)
{
    encoder *e = ctx;

    return ql_subword_run(&e->tok->model, &e->tok->vocab, word, &e->model,
                          e->out);
}

/* Step 3. */
static ql_status encode_stretch(encoder *e, ql_view v)
{
    return ql_pretokenizer_run(&e->pre, v);
}

typedef ql_status stretch_fn(encoder *e, ql_view v);

/* Cuts v at the tokens of a set, writes those and hands on what is between
 * them. */
static ql_status cut(encoder *e, const ql_added_set *set, ql_view v,
                     stretch_fn *between)
{
    ql_added_search search = {0};

    for (;;) {
        const size_t done = search.to;
        const bool found = ql_added_next(set, v, &search);
        const size_t end = found ? search.from : v.n;

        if (done < end) {
            QL_TRY(between(e, ql_view_cut(v, done, end)));
        }
        if (!found) {
            return QL_OK;
        }
        QL_TRY(ql_encoding_push(e->out, search.id, ql_view_at(v, search.from)));
    }
}

/* Step 2. */
static ql_status encode_raw(encoder *e, ql_view v)
{
    const ql_tokenizer *t = e->tok;

    QL_TRY(ql_normalizer_run(&t->normalizer, v, &e->normal, &v));
    return cut(e, &t->added.normalized, v, encode_stretch);
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
    ql_normal_work_init(&e.normal);
    ql_subword_work_init(&e.model);
    QL_TRY_DONE(ql_pre_work_init(&e.pre, &tok->pretokenizer));
    e.pre.begins = begins;
    e.pre.word = encode_word;
    e.pre.ctx = &e;
    st = cut(&e, &tok->added.raw, v, encode_raw);
done:
    ql_normal_work_free(&e.normal);
    ql_pre_work_free(&e.pre);
    ql_subword_work_free(&e.model);
    return st;
}

/* A text as it comes in. */
typedef struct input {
    const char *s;
    size_t n;
} input;

/* Ids and types of up to two texts, as a row of the post-processor has
 * them. */
static ql_status encode_row(const ql_tokenizer *tok, const ql_post_row *row,
                            const input texts[2], bool specials, ql_encoding *e,
                            ql_buf *types)
{
    for (size_t i = 0; i < row->n; i++) {
        const ql_post_item item = row->items[i];
        const input text = texts[item.id == QL_POST_B];

        if (item.id < 0) {
            QL_TRY(ql_tokenizer_append(tok, text.s, text.n, true, e));
        } else if (specials) {
            QL_TRY(ql_encoding_push(e, item.id, 0));
        }
        while (types->len < ql_encoding_size(e)) {
            QL_TRY(ql_buf_putc(types, (char)item.type));
        }
    }
    return QL_OK;
}

static ql_status encode(const ql_tokenizer *tok, const ql_post_row *row,
                        const input texts[2], bool specials, int32_t **ids,
                        uint8_t **types, size_t *n)
{
    ql_encoding e;
    ql_buf kinds;
    ql_status st;

    *ids = NULL;
    *types = NULL;
    *n = 0;
    ql_encoding_init(&e, QL_TAG_TEXT, false);
    ql_buf_init(&kinds, QL_TAG_TEXT, SIZE_MAX / 4);
    QL_TRY_DONE(encode_row(tok, row, texts, specials, &e, &kinds));
    *types = (void *)ql_buf_take(&kinds, n);
    QL_TRY_DONE(*types ? QL_OK : QL_ENOMEM);
    *ids = (void *)ql_buf_take(&e.ids, NULL);
    st = *ids ? QL_OK : QL_ENOMEM;
done:
    if (st != QL_OK) {
        ql_free(*types);
        *types = NULL;
        *n = 0;
    }
    ql_encoding_free(&e);
    ql_buf_free(&kinds);
    return st;
}

ql_status ql_tokenizer_encode(const ql_tokenizer *tok, const char *text,
                              size_t len, bool specials, int32_t **ids,
                              size_t *n)
{
    const input texts[2] = {{text, len}, {"", 0}};
    uint8_t *types;
    ql_status st;

    st = encode(tok, &tok->postprocessor.single, texts, specials, ids, &types,
                n);
    ql_free(types);
    return st;
}

ql_status ql_tokenizer_encode_pair(const ql_tokenizer *tok,
                                   const char *const texts[2],
                                   const size_t lens[2], bool specials,
                                   int32_t **ids, uint8_t **types, size_t *n)
{
    const input pair[2] = {{texts[0], lens[0]}, {texts[1], lens[1]}};

    return encode(tok, &tok->postprocessor.pair, pair, specials, ids, types, n);
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
