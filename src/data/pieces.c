#include "src/data/pieces.h"

#include "src/base/fail.h"

void ql_pieces_init(ql_pieces *p, ql_dataset *ds, const ql_tokenizer *tok,
                    size_t length)
{
    *p = (ql_pieces){.ds = ds, .tok = tok, .length = length, .last = -1};
    ql_buf_init(&p->ids, QL_TAG_DATA, SIZE_MAX / 4);
    ql_buf_init(&p->train, QL_TAG_DATA, SIZE_MAX / 4);
}

void ql_pieces_free(ql_pieces *p)
{
    ql_buf_free(&p->ids);
    ql_buf_free(&p->train);
}

static ql_status append(ql_pieces *p, int32_t id, bool train)
{
    QL_TRY(ql_buf_append(&p->ids, &id, sizeof(id)));
    return ql_buf_putc(&p->train, train);
}

/* The token that is put before a text, -1 for none. */
static int32_t lead_of(const ql_tokenizer *tok)
{
    const ql_post_row *row = &tok->postprocessor.single;

    return row->n > 0 ? row->items[0].id : -1;
}

static ql_status begin(ql_pieces *p, size_t line)
{
    const int32_t lead = lead_of(p->tok);

    p->line = line;
    if (lead >= 0) {
        return append(p, lead, false);
    }
    return p->last >= 0 ? append(p, p->last, false) : QL_OK;
}

/* A piece without a token to train is what is left behind the last one, or an
 * empty text. */
static ql_status flush(ql_pieces *p)
{
    const ql_sample s = {.ids = (const void *)p->ids.data,
                         .train = (const void *)p->train.data,
                         .n = p->train.len};
    ql_status st = QL_OK;

    if (s.n > 0) {
        p->train.data[0] = 0;
    }
    for (size_t i = 0; i < s.n; i++) {
        if (s.train[i]) {
            st = ql_dataset_keep(p->ds, s, p->line, false);
            break;
        }
    }
    ql_buf_clear(&p->ids);
    ql_buf_clear(&p->train);
    return st;
}

static ql_status push(ql_pieces *p, int32_t id, size_t line)
{
    const bool first = p->last < 0;

    if (p->train.len == 0) {
        QL_TRY(begin(p, line));
    }
    if (first && p->train.len > 0 && id == ql_tokenizer_bos(p->tok) &&
        id == lead_of(p->tok)) {
        ql_dataset_count(p->ds, offsetof(ql_dataset_report, bos_removed), 1);
    } else {
        QL_TRY(append(p, id, true));
    }
    p->last = id;
    return p->train.len == p->length ? flush(p) : QL_OK;
}

ql_status ql_pieces_push(ql_pieces *p, const char *text, size_t line,
                         const ql_encoding *tokens, size_t from, size_t to)
{
    const size_t *starts = ql_encoding_starts(tokens);
    size_t i = ql_encoding_first(tokens, from);

    for (; i < ql_encoding_size(tokens) && starts[i] < to; i++) {
        for (; from < starts[i]; from++) {
            line += text[from] == '\n';
        }
        QL_TRY(push(p, ql_encoding_ids(tokens)[i], line));
    }
    return QL_OK;
}

ql_status ql_pieces_end(ql_pieces *p)
{
    const int32_t eos = ql_tokenizer_eos(p->tok);

    if (eos >= 0 && p->last >= 0 && p->last != eos) {
        QL_TRY(push(p, eos, p->line));
    }
    return flush(p);
}
