/* Lines, or bytes, of a text file, gzip-compressed or not (found by content,
 * by zlib). */
#ifndef QL_BASE_LINES_H
#define QL_BASE_LINES_H

#include "src/base/buf.h"

typedef struct ql_lines {
    void *gz; /* zlib's gzFile */
    const char *path;
    ql_buf line;   /* the current line, without its newline */
    size_t number; /* lines read, and so the number of the current one */
    uint64_t size; /* bytes of the file; 0 for what is no regular file */
} ql_lines;

/* max_line: longest line, in bytes. path is borrowed and must outlive l. A
 * named pipe that nobody writes to is empty. Errors: QL_ENOTFOUND, QL_EFORMAT
 * for a folder, QL_EIO, QL_ENOMEM. */
ql_status ql_lines_init(ql_lines *l, const char *path, size_t max_line);
void ql_lines_free(ql_lines *l);

/* Reads the next line into l->line; *more is false at the end. A carriage
 * return before the newline is dropped; a last line without newline counts.
 * Errors name file and line: QL_EFORMAT for a line beyond the ceiling or
 * damaged gzip data, QL_EIO. */
ql_status ql_lines_next(ql_lines *l, bool *more);

/* The next byte, for what does not go by lines; -1 at the end and after a
 * failure, which ql_lines_state tells apart. The byte read last may be put
 * back once, and three may at the start of the file. */
int ql_lines_get(ql_lines *l);
void ql_lines_unget(ql_lines *l, int c);
ql_status ql_lines_state(const ql_lines *l);

/* Bytes of the file that were read so far, as it lies on disk. */
uint64_t ql_lines_at(const ql_lines *l);

#endif
