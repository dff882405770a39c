/* A plain text as samples of a given length, of which no token is lost.
 *
 * Each piece begins with a token that is not trained, so that all others can
 * be: the BOS token where the tokenizer puts one before a text, else the last
 * token of the piece before. */
#ifndef QL_DATA_PIECES_H
#define QL_DATA_PIECES_H

#include "src/data/dataset_handle.h"
#include "src/text/tokenizer_handle.h"

typedef struct ql_pieces {
    ql_dataset *ds; /* borrowed, as is tok */
    const ql_tokenizer *tok;
    size_t length;
    ql_buf ids;   /* int32_t each: of the piece at hand */
    ql_buf train; /* uint8_t each */
    size_t line;  /* where the piece at hand begins */
    int32_t last; /* token; -1 at first */
} ql_pieces;

void ql_pieces_init(ql_pieces *p, ql_dataset *ds, const ql_tokenizer *tok,
                    size_t length);
void ql_pieces_free(ql_pieces *p);

/* Goes on with the tokens that start in bytes [from, to) of a stretch of the
 * text; from is in that line. Errors: QL_ENOMEM. */
ql_status ql_pieces_push(ql_pieces *p, const char *text, size_t line,
                         const ql_encoding *tokens, size_t from, size_t to);

/* Ends the text, with the end token if the tokenizer has one. */
ql_status ql_pieces_end(ql_pieces *p);

#endif
