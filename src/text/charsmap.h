/* The table of replacements that sentencepiece compiles into a model: a
 * double-array trie (J. Aoe, 1989) of what is looked for, with the place of
 * what is put in among strings that each end in a NUL. */
#ifndef QL_TEXT_CHARSMAP_H
#define QL_TEXT_CHARSMAP_H

#include "src/base/buf.h"
#include "src/text/part.h"
#include "src/text/view.h"

/* All zero: none. */
typedef struct ql_charsmap {
    ql_buf bytes; /* as it is encoded in base 64 */
    size_t units; /* of the trie, 4 bytes each, from byte 4 on */
} ql_charsmap;

/* Reads "precompiled_charsmap" of a part. Errors: QL_EFORMAT, QL_ENOMEM. */
ql_status ql_charsmap_init(ql_charsmap *m, const ql_part *part);
void ql_charsmap_free(ql_charsmap *m);

/* Appends v with what is replaced. Errors: those of ql_draft_put. */
ql_status ql_charsmap_run(const ql_charsmap *m, ql_view v, ql_draft *out);

#endif
