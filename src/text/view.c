#include "src/text/view.h"

#include "src/base/fail.h"

/* A stage may make text longer; beyond this a hostile file is at work. */
#define DRAFT_BYTES ((size_t)1 << 30)

void ql_draft_init(ql_draft *d, bool track)
{
    d->track = track;
    ql_buf_init(&d->text, QL_TAG_TEXT, DRAFT_BYTES);
    ql_buf_init(&d->at, QL_TAG_TEXT, DRAFT_BYTES * sizeof(size_t));
}

void ql_draft_free(ql_draft *d)
{
    ql_buf_free(&d->text);
    ql_buf_free(&d->at);
}

void ql_draft_clear(ql_draft *d)
{
    ql_buf_clear(&d->text);
    ql_buf_clear(&d->at);
}

ql_status ql_draft_copy(ql_draft *d, ql_view v)
{
    for (size_t i = 0; d->track && i < v.n; i++) {
        const size_t at = ql_view_at(v, i);

        QL_TRY(ql_buf_append(&d->at, &at, sizeof(at)));
    }
    return ql_buf_append(&d->text, v.s, v.n);
}

ql_status ql_draft_put(ql_draft *d, const char *s, size_t n, size_t offset)
{
    for (size_t i = 0; d->track && i < n; i++) {
        QL_TRY(ql_buf_append(&d->at, &offset, sizeof(offset)));
    }
    return ql_buf_append(&d->text, s, n);
}

ql_view ql_draft_view(const ql_draft *d)
{
    return (ql_view){.s = d->text.data ? d->text.data : "",
                     .n = d->text.len,
                     .at = d->track ? (const void *)d->at.data : NULL};
}
