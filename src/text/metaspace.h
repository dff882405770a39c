/* Metaspace: spaces become a visible mark, and words begin at it. Used as
 * pre-tokenizer and as decoder. */
#ifndef QL_TEXT_METASPACE_H
#define QL_TEXT_METASPACE_H

#include "src/text/part.h"
#include "src/text/view.h"

typedef enum ql_prepend {
    QL_PREPEND_ALWAYS,
    QL_PREPEND_FIRST, /* only where the text begins */
    QL_PREPEND_NEVER
} ql_prepend;

typedef struct ql_metaspace {
    char mark[5]; /* one character and a NUL */
    ql_prepend prepend;
    bool split;
} ql_metaspace;

/* Errors: QL_EFORMAT, QL_EUNSUPPORTED. */
ql_status ql_metaspace_init(ql_metaspace *m, const ql_part *p);

/* Writes v with marks to an empty draft. first: v begins the text. Errors:
 * those of ql_draft_copy. */
ql_status ql_metaspace_run(const ql_metaspace *m, ql_view v, bool first,
                           ql_draft *out);

/* Bytes of the first word of v, v.n > 0. */
size_t ql_metaspace_word(const ql_metaspace *m, ql_view v);

#endif
