/* A file of plain text as samples: the tokens are those of the whole text,
 * though parts of it are tokenized by all threads at once. */
#ifndef QL_DATA_PLAIN_H
#define QL_DATA_PLAIN_H

#include "src/data/pieces.h"
#include "src/data/reader.h"

typedef struct ql_plain {
    ql_pieces pieces;
    ql_buf text;  /* that which was read */
    size_t done;  /* bytes of it that are samples already */
    size_t line;  /* of the first byte that is not done */
    bool severed; /* which sees nothing of what is */
} ql_plain;

/* Samples of length tokens at most go to ds. Borrowed: ds and tok. Owned:
 * ql_plain_free. */
void ql_plain_init(ql_plain *p, ql_dataset *ds, const ql_tokenizer *tok,
                   size_t length);
void ql_plain_free(ql_plain *p);

/* Reads some megabytes and gives away the samples that are complete. *more is
 * false when the text is done. Errors name file and line: those of
 * ql_reader_fill, QL_EFORMAT for what is not UTF-8. */
ql_status ql_plain_next(ql_plain *p, ql_reader *r, bool *more);

#endif
