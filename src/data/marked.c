#include "src/data/marked.h"

#include "src/base/fail.h"
#include "src/text/tokenizer_handle.h"

/* Whether the token of bytes [from, to) is trained; next is the first span
 * that does not end before it. */
static bool is_trained(const ql_marked *m, size_t *next, size_t from, size_t to)
{
    while (*next < m->n && m->spans[*next].to <= from) {
        (*next)++;
    }
    return *next < m->n && m->spans[*next].from < (to > from ? to : from + 1);
}

/* What a text is taken apart by. */
typedef struct taker {
    ql_sample_draft *out;
    const ql_tokenizer *tok;
    const ql_marked *m;
    size_t next; /* span */
} taker;

/* Bytes [from, to) of the text, in which a tokenizer finds what is special. */
static ql_status push_stretch(taker *t, size_t from, size_t to)
{
    ql_encoding e;
    ql_status st = QL_OK;
    size_t n;

    if (from == to) {
        return QL_OK;
    }
    ql_encoding_init(&e, QL_TAG_DATA, true);
    QL_TRY_DONE(ql_tokenizer_append(t->tok, t->m->text + from, to - from,
                                    from == 0, &e));
    n = ql_encoding_size(&e);
    for (size_t i = 0; i < n; i++) {
        const size_t *starts = ql_encoding_starts(&e);
        const size_t end = i + 1 < n ? from + starts[i + 1] : to;

        QL_TRY_DONE(ql_sample_draft_push(
            t->out, ql_encoding_ids(&e) + i, 1,
            is_trained(t->m, &t->next, from + starts[i], end)));
    }
done:
    ql_encoding_free(&e);
    return st;
}

/* A text that was rendered has special tokens in it, as they are written. Some
 * tokenizers look for them in the normalized text only, and miss those that
 * follow a word: "a</s>". They are found here. */
static ql_status push_rendered(ql_sample_draft *out, const ql_tokenizer *tok,
                               const ql_marked *m)
{
    const ql_view v = {.s = m->text, .n = m->len};
    taker t = {.out = out, .tok = tok, .m = m};
    ql_added_search search = {0};

    for (;;) {
        const size_t done = search.to;
        const bool found = ql_added_next(&tok->added.written, v, &search);

        QL_TRY(push_stretch(&t, done, found ? search.from : m->len));
        if (!found) {
            return QL_OK;
        }
        QL_TRY(ql_sample_draft_push(
            out, &search.id, 1,
            is_trained(m, &t.next, search.from, search.to)));
    }
}

/* The text between the tokens that the post-processor puts around it: those
 * behind it end it, and are trained. */
static ql_status push_framed(ql_sample_draft *out, const ql_tokenizer *tok,
                             const ql_marked *m)
{
    const ql_post_row *row = &tok->postprocessor.single;
    const int32_t eos = ql_tokenizer_eos(tok);
    const int32_t *ids;
    bool behind = false;

    for (size_t i = 0; i < row->n; i++) {
        const int32_t id = row->items[i].id;

        if (id < 0) {
            taker t = {.out = out, .tok = tok, .m = m};

            QL_TRY(push_stretch(&t, 0, m->len));
            behind = true;
        } else {
            QL_TRY(ql_sample_draft_push(out, &id, 1, behind));
        }
    }
    ids = (const void *)out->ids.data;
    if (eos < 0 || (out->train.len > 0 && ids[out->train.len - 1] == eos)) {
        return QL_OK;
    }
    return ql_sample_draft_push(out, &eos, 1, true);
}

/* Takes one of two BOS tokens at the start away, and the mark of the first. */
static void mend_start(ql_sample_draft *out, size_t start, int32_t bos)
{
    int32_t *ids = (int32_t *)(void *)out->ids.data + start;
    const size_t n = out->train.len - start;

    if (n >= 2 && bos >= 0 && ids[0] == bos && ids[1] == bos) {
        for (size_t i = 0; i + 1 < n; i++) {
            ids[i] = ids[i + 1];
            out->train.data[start + i] = out->train.data[start + i + 1];
        }
        out->train.len--;
        out->ids.len -= sizeof(*ids);
        out->bos_removed++;
    }
    if (n > 0) {
        out->train.data[start] = 0;
    }
}

ql_status ql_marked_push(ql_sample_draft *out, const ql_tokenizer *tok,
                         ql_marked m, bool framed)
{
    const size_t start = out->train.len;

    QL_TRY((framed ? push_framed : push_rendered)(out, tok, &m));
    mend_start(out, start, ql_tokenizer_bos(tok));
    return QL_OK;
}
