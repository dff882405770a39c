/* Lines of a text file, gzip-compressed or not (found by content, by zlib). */
#ifndef QL_BASE_LINES_H
#define QL_BASE_LINES_H

#include "src/base/buf.h"

typedef struct ql_lines {
    void *gz; /* zlib's gzFile */
    const char *path;
    ql_buf line;   /* the current line, without its newline */
    size_t number; /* of the current line, from 1 */
} ql_lines;

/* max_line: longest line, in bytes. path is borrowed and must outlive l.
 * Errors: QL_ENOTFOUND, QL_EIO, QL_ENOMEM. */
ql_status ql_lines_init(ql_lines *l, const char *path, size_t max_line);
void ql_lines_free(ql_lines *l);

/* Reads the next line into l->line; *more is false at the end. A carriage
 * return before the newline is dropped; a last line without newline counts.
 * Errors name file and line: QL_EFORMAT for a line beyond the ceiling or
 * damaged gzip data, QL_EIO. */
ql_status ql_lines_next(ql_lines *l, bool *more);

#endif
