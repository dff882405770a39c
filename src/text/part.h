/* Reading the parts of tokenizer.json that say {"type": NAME, ...}. Errors
 * name the file and the part. */
#ifndef QL_TEXT_PART_H
#define QL_TEXT_PART_H

#include "src/base/json.h"

/* One part as it is read: the object and its place for error sentences. */
typedef struct ql_part {
    const json_t *json;
    const char *where; /* path of the file */
    const char *kind;  /* "normalizer", "decoder", ... */
} ql_part;

/* Its type. Errors: QL_EFORMAT. Borrowed. */
ql_status ql_part_type(const ql_part *p, const char **type);

/* A copy of a string that must be there. Owned. Errors: QL_EFORMAT for
 * another type or a NUL byte; QL_ENOMEM. */
ql_status ql_part_string(const ql_part *p, const char *key, char **out);

/* Calls read(ctx, part) for each part that p stands for: p itself, or, for a
 * Sequence, those in its array named list, in order. Sequences may nest, to a
 * depth that no sound file exceeds. Errors: QL_EFORMAT and those of read. */
typedef ql_status ql_part_fn(void *ctx, const ql_part *p, const char *type);
ql_status ql_part_each(const ql_part *p, const char *list, ql_part_fn *read,
                       void *ctx);

/* QL_EUNSUPPORTED, naming file, kind and what. */
ql_status ql_part_unsupported(const ql_part *p, const char *what);

#endif
