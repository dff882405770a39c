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

static ql_status push_text(ql_sample_draft *out, const ql_tokenizer *tok,
                           const ql_marked *m)
{
    size_t next = 0;
    ql_encoding e;
    ql_status st;
    size_t n;

    ql_encoding_init(&e, QL_TAG_DATA, true);
    QL_TRY_DONE(ql_tokenizer_append(tok, m->text, m->len, true, &e));
    n = ql_encoding_size(&e);
    for (size_t i = 0; i < n; i++) {
        const size_t *starts = ql_encoding_starts(&e);
        const size_t to = i + 1 < n ? starts[i + 1] : m->len;

        QL_TRY_DONE(ql_sample_draft_push(out, ql_encoding_ids(&e) + i, 1,
                                         is_trained(m, &next, starts[i], to)));
    }
done:
    ql_encoding_free(&e);
    return st;
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
            QL_TRY(push_text(out, tok, m));
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

    QL_TRY((framed ? push_framed : push_text)(out, tok, &m));
    mend_start(out, start, ql_tokenizer_bos(tok));
    return QL_OK;
}
