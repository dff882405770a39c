#include "src/text/view.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/text/utf8.h"

/* A stage may make text longer; beyond this a hostile file is at work. */
#define DRAFT_BYTES ((size_t)1 << 28)

void ql_draft_free(ql_draft *d)
{
    ql_free(d->s);
    ql_free(d->at);
    *d = (ql_draft){0};
}

void ql_draft_clear(ql_draft *d)
{
    d->n = 0;
}

/* Room for n more bytes. */
static ql_status reserve(ql_draft *d, size_t n)
{
    size_t cap = d->cap ? d->cap : 256;
    void *p;

    if (n <= d->cap - d->n) {
        return QL_OK;
    }
    if (n > DRAFT_BYTES - d->n) {
        QL_FAIL(QL_EFORMAT, "the text becomes longer than %zu bytes",
                DRAFT_BYTES);
    }
    while (cap - d->n < n) {
        cap *= 2;
    }
    p = ql_realloc(QL_TAG_TEXT, d->s, cap, 1);
    if (!p) {
        return QL_ENOMEM;
    }
    d->s = p;
    p = ql_realloc(QL_TAG_TEXT, d->at, cap, sizeof(*d->at));
    if (!p) {
        return QL_ENOMEM;
    }
    d->at = p;
    d->cap = cap;
    return QL_OK;
}

ql_status ql_draft_copy(ql_draft *d, ql_view v)
{
    if (v.n == 0) {
        return QL_OK;
    }
    QL_TRY(reserve(d, v.n));
    memcpy(d->s + d->n, v.s, v.n);
    for (size_t i = 0; i < v.n; i++) {
        d->at[d->n + i] = (uint32_t)ql_view_at(v, i);
    }
    d->n += v.n;
    return QL_OK;
}

ql_status ql_draft_put(ql_draft *d, const char *s, size_t n, size_t offset)
{
    if (n == 0) {
        return QL_OK;
    }
    QL_TRY(reserve(d, n));
    memcpy(d->s + d->n, s, n);
    for (size_t i = 0; i < n; i++) {
        d->at[d->n + i] = (uint32_t)offset;
    }
    d->n += n;
    return QL_OK;
}

ql_status ql_draft_put_point(ql_draft *d, int32_t c, size_t offset)
{
    char s[4];
    const size_t n = ql_utf8_put(c, s);

    return ql_draft_put(d, s, n, offset);
}

ql_view ql_draft_view(const ql_draft *d)
{
    return (ql_view){.s = d->n ? d->s : "", .n = d->n, .at = d->at};
}
