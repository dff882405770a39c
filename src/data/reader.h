/* Files of records: JSON lines, a JSON list, or plain text, gzip-compressed or
 * not. */
#ifndef QL_DATA_READER_H
#define QL_DATA_READER_H

#include "qlora/dataset.h"
#include "src/base/lines.h"

typedef enum ql_reader_kind {
    QL_READER_LINES, /* a record is a line that is not blank */
    QL_READER_LIST,  /* a record is an element of the list */
    QL_READER_TEXT   /* it has no records */
} ql_reader_kind;

typedef struct ql_reader {
    ql_lines lines;
    ql_reader_kind kind;
    bool done; /* the list is closed */
    bool odd;  /* a text by its name, but it looks like records */
} ql_reader;

/* Finds the kind out: plain text is what is named .txt or .txt.gz, unless
 * another format is forced, and what does not look like records where text is.
 * A byte order mark is passed over. path is borrowed and must outlive r. Owned:
 * ql_reader_free, which is fine after a failure too. Errors: those of
 * ql_lines_init; QL_EFORMAT for damaged gzip data, and for files of other
 * kinds, named. */
ql_status ql_reader_open(ql_reader *r, const char *path, ql_format format);
void ql_reader_free(ql_reader *r);

/* Appends the next record, as it is written in the file, to out; *line is
 * where it begins. *more is false at the end. After a failure reading cannot go
 * on. Errors name file and line: QL_EFORMAT for damaged gzip data, a record of
 * more than 64 MiB, and what is no list; QL_EIO; QL_ENOMEM. */
ql_status ql_reader_next(ql_reader *r, ql_buf *out, size_t *line, bool *more);

/* Appends bytes of the text until out has len of them. *more is false when the
 * text has no more. Errors: as above. */
ql_status ql_reader_fill(ql_reader *r, ql_buf *out, size_t len, bool *more);

#endif
