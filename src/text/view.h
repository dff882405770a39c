/* Text on its way through the stages of the tokenizer, each byte of which
 * remembers where in the original text it came from. */
#ifndef QL_TEXT_VIEW_H
#define QL_TEXT_VIEW_H

#include "qlora/status.h"

/* A stretch of text. Borrowed from whoever made it. */
typedef struct ql_view {
    const char *s;
    size_t n;
    const uint32_t *at; /* [n] original offsets; NULL: base, base + 1, ... */
    size_t base;
} ql_view;

/* Original offset of byte i < v.n. */
static inline size_t ql_view_at(ql_view v, size_t i)
{
    return v.at ? v.at[i] : v.base + i;
}

/* Bytes [from, to) of a view. */
static inline ql_view ql_view_cut(ql_view v, size_t from, size_t to)
{
    return (ql_view){.s = v.s + from,
                     .n = to - from,
                     .at = v.at ? v.at + from : NULL,
                     .base = v.base + from};
}

/* Text that a stage writes. All zero: empty. */
typedef struct ql_draft {
    char *s;
    uint32_t *at; /* [n] original offsets */
    size_t n;
    size_t cap;
} ql_draft;

void ql_draft_free(ql_draft *d);

/* Empties it and keeps the memory. */
void ql_draft_clear(ql_draft *d);

/* Appends a stretch with its offsets. Errors of all three: QL_ENOMEM;
 * QL_EFORMAT beyond what a text may become. */
ql_status ql_draft_copy(ql_draft *d, ql_view v);

/* Appends n bytes, or a code point, that stand for what is at one original
 * offset. */
ql_status ql_draft_put(ql_draft *d, const char *s, size_t n, size_t offset);
ql_status ql_draft_put_point(ql_draft *d, int32_t c, size_t offset);

/* What was written. Borrowed until the next change. */
ql_view ql_draft_view(const ql_draft *d);

#endif
