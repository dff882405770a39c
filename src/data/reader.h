/* Files of records: JSON lines, a JSON list, or plain text (a name that ends
 * in .txt), gzip-compressed or not. */
#ifndef QL_DATA_READER_H
#define QL_DATA_READER_H

#include "src/base/lines.h"

typedef enum ql_reader_kind {
    QL_READER_LINES, /* a record is a line that is not blank */
    QL_READER_LIST,  /* a record is an element of the list */
    QL_READER_TEXT   /* a record is a stretch of the text, about a mebibyte,
                        that ends with a line if lines are not longer */
} ql_reader_kind;

typedef struct ql_reader {
    ql_lines lines;
    ql_reader_kind kind;
    bool begun; /* the kind is known, and the list is open */
    bool done;  /* the list is closed */
} ql_reader;

/* path is borrowed and must outlive r. Owned: ql_reader_free, which is fine
 * after a failure too. Errors: those of ql_lines_init. */
ql_status ql_reader_init(ql_reader *r, const char *path);
void ql_reader_free(ql_reader *r);

/* Appends the next record, as it is written in the file, to out; *line is
 * where it begins. *more is false at the end. After a failure reading cannot go
 * on. Errors name file and line: QL_EFORMAT for damaged gzip data, a record of
 * more than 64 MiB, and what is no list; QL_EIO; QL_ENOMEM. */
ql_status ql_reader_next(ql_reader *r, ql_buf *out, size_t *line, bool *more);

#endif
