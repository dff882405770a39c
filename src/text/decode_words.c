/* Decoding of tokens that stand for words, between which spaces belong. */
#include <string.h>

#include "src/base/fail.h"
#include "src/text/decoder.h"

/* Spaces that English does not have, and some of its short forms. */
static const char *const english[][2] = {
    {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
    {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
    {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
};

/* Two buffers: what is replaced goes from one to the other. */
typedef struct rewrite {
    ql_buf now;
    ql_buf next;
} rewrite;

static void rewrite_init(rewrite *r)
{
    ql_buf_init(&r->now, QL_TAG_TEXT, SIZE_MAX / 4);
    ql_buf_init(&r->next, QL_TAG_TEXT, SIZE_MAX / 4);
}

static void rewrite_free(rewrite *r)
{
    ql_buf_free(&r->now);
    ql_buf_free(&r->next);
}

static ql_status replace(rewrite *r, const char *from, const char *to)
{
    const ql_buf old = r->now;

    if (!*from) {
        return QL_OK;
    }
    ql_buf_clear(&r->next);
    QL_TRY(
        ql_string_replace((ql_string){old.data, old.len}, from, to, &r->next));
    r->now = r->next;
    r->next = old;
    return QL_OK;
}

static ql_status cleanup(rewrite *r)
{
    for (size_t i = 0; i < sizeof(english) / sizeof(*english); i++) {
        QL_TRY(replace(r, english[i][0], english[i][1]));
    }
    return QL_OK;
}

static bool begins(ql_string t, const char *what)
{
    const size_t n = strlen(what);

    return t.n >= n && memcmp(t.s, what, n) == 0;
}

/* A token with the prefix continues a word. */
static ql_status put_word(const ql_decoder_step *step, ql_string t, bool first,
                          rewrite *r)
{
    const bool within = !first && begins(t, step->from);
    const size_t cut = within ? strlen(step->from) : 0;

    ql_buf_clear(&r->now);
    if (!first && !within) {
        QL_TRY(ql_buf_putc(&r->now, ' '));
    }
    QL_TRY(ql_buf_append(&r->now, t.s + cut, t.n - cut));
    return step->cleanup ? cleanup(r) : QL_OK;
}

ql_status ql_decode_wordpiece(const ql_decoder_step *step, ql_regex_work *w,
                              const ql_strings *in, ql_strings *out)
{
    ql_status st = QL_OK;
    rewrite r;

    (void)w;
    rewrite_init(&r);
    for (size_t i = 0; i < ql_strings_size(in); i++) {
        QL_TRY_DONE(put_word(step, ql_strings_at(in, i), i == 0, &r));
        QL_TRY_DONE(ql_strings_push(out, r.now.data, r.now.len));
    }
done:
    rewrite_free(&r);
    return st;
}

/* The suffix ends a word: a space, but for the last token. */
ql_status ql_decode_suffix(const ql_decoder_step *step, ql_regex_work *w,
                           const ql_strings *in, ql_strings *out)
{
    const size_t n = ql_strings_size(in);

    (void)w;
    for (size_t i = 0; i < n; i++) {
        const char *space = i + 1 < n ? " " : "";

        QL_TRY(ql_string_replace(ql_strings_at(in, i), step->from, space,
                                 &out->text));
        QL_TRY(ql_strings_end(out));
    }
    return QL_OK;
}

static bool same(ql_string a, ql_string b)
{
    return a.n == b.n && memcmp(a.s, b.s, a.n) == 0;
}

/* Tokens that repeat the one before count once. */
ql_status ql_decode_ctc(const ql_decoder_step *step, ql_regex_work *w,
                        const ql_strings *in, ql_strings *out)
{
    ql_status st = QL_OK;
    rewrite r;

    (void)w;
    rewrite_init(&r);
    for (size_t i = 0; i < ql_strings_size(in); i++) {
        const ql_string t = ql_strings_at(in, i);

        if (i > 0 && same(t, ql_strings_at(in, i - 1))) {
            continue;
        }
        ql_buf_clear(&r.now);
        QL_TRY_DONE(ql_buf_append(&r.now, t.s, t.n));
        QL_TRY_DONE(replace(&r, step->from, ""));
        if (step->cleanup) {
            QL_TRY_DONE(cleanup(&r));
            QL_TRY_DONE(replace(&r, step->delimiter, " "));
        }
        if (r.now.len > 0) {
            QL_TRY_DONE(ql_strings_push(out, r.now.data, r.now.len));
        }
    }
done:
    rewrite_free(&r);
    return st;
}
