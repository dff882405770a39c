/* Ids in the making, and where in the text each one begins. */
#ifndef QL_TEXT_ENCODING_H
#define QL_TEXT_ENCODING_H

#include "src/base/buf.h"

typedef struct ql_encoding {
    ql_buf ids;    /* int32_t each */
    ql_buf starts; /* size_t each: original offset, empty unless track */
    bool track;
} ql_encoding;

void ql_encoding_init(ql_encoding *e, ql_tag tag, bool track);
void ql_encoding_free(ql_encoding *e);

/* Errors: QL_ENOMEM. */
ql_status ql_encoding_push(ql_encoding *e, int32_t id, size_t start);

/* Takes back all but the first n. */
void ql_encoding_cut(ql_encoding *e, size_t n);

size_t ql_encoding_size(const ql_encoding *e);

/* [size] each. Borrowed until the next push. */
const int32_t *ql_encoding_ids(const ql_encoding *e);
const size_t *ql_encoding_starts(const ql_encoding *e);

/* The first token that begins at byte at or behind it; size if there is
 * none. */
size_t ql_encoding_first(const ql_encoding *e, size_t at);

#endif
