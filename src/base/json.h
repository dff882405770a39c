/* Thin helpers over jansson: loading with a sentence that names the file and
 * the line, and typed reads that name the key. */
#ifndef QL_BASE_JSON_H
#define QL_BASE_JSON_H

#include <jansson.h>

#include "src/base/buf.h"

/* Parses text that must be one JSON value. where: what the error names, as
 * "data.jsonl:12" or a path. Duplicate keys are refused. Where a whole number
 * is beyond 64 bits, as transformers writes "no limit", all numbers become
 * reals. Owned: json_decref.
 * Errors: QL_EFORMAT, QL_ENOMEM. */
ql_status ql_json_parse(json_t **out, const char *text, size_t len,
                        const char *where);

/* Reads and parses a file of at most max bytes whose root is an object. */
ql_status ql_json_load(json_t **out, const char *path, size_t max);

/* The same of a file in a folder, which need not be there: *out is NULL then.
 * Owned: *path, on failure too; NULL where memory is lacking. */
ql_status ql_json_load_optional(json_t **out, char **path, const char *dir,
                                const char *name, size_t max);

/* Typed reads of object o. A missing or null key leaves *out as it is, so the
 * caller stores the default first; a value of another type is QL_EFORMAT with
 * where and key in the sentence. Numbers: an integer is accepted where a real
 * is wanted; size wants an integer >= 0. Strings are borrowed from o. */
ql_status ql_json_size(const json_t *o, const char *key, const char *where,
                       size_t *out);
ql_status ql_json_real(const json_t *o, const char *key, const char *where,
                       double *out);
ql_status ql_json_bool(const json_t *o, const char *key, const char *where,
                       bool *out);
ql_status ql_json_string(const json_t *o, const char *key, const char *where,
                         const char **out);

/* A value that may be a list: its items, or the value alone. None of NULL and
 * null. */
size_t ql_json_count(const json_t *v);
const json_t *ql_json_item(const json_t *v, size_t i);

/* Appends a double as Python's repr prints it: the shortest digits that give
 * the same double; "1e-05" below 1e-4 and from 1e16 on. */
ql_status ql_json_put_real(ql_buf *out, double x);

/* Appends a value as Python's json.dumps(v, indent=2, sort_keys=True) writes
 * it. Errors: QL_ENOMEM; QL_EFORMAT for text beyond out's ceiling. */
ql_status ql_json_put(ql_buf *out, const json_t *v);

/* Writes a value to a file in that form, with a newline at the end if asked.
 * Errors: as above, QL_EIO, QL_ENOSPACE. */
ql_status ql_json_save(const json_t *v, bool newline, const char *path);

/* The same without a newline at the end, and with the keys of the outermost
 * object sorted alone: those of objects within keep the order in which they
 * were put in, or read, where that has a meaning. */
ql_status ql_json_save_ordered(const json_t *v, const char *path);

#endif
