/* Cutting a text where a pattern or a kind of character is met. */
#ifndef QL_TEXT_SPLIT_H
#define QL_TEXT_SPLIT_H

#include "src/text/pattern.h"
#include "src/text/view.h"

/* What becomes of a delimiter. */
typedef enum ql_split_behavior {
    QL_SPLIT_REMOVED,
    QL_SPLIT_ISOLATED,      /* a piece of its own */
    QL_SPLIT_MERGED_BEFORE, /* a part of the piece before it */
    QL_SPLIT_MERGED_AFTER,  /* a part of the piece after it */
    QL_SPLIT_CONTIGUOUS     /* one piece with those that it touches */
} ql_split_behavior;

typedef bool ql_split_char_fn(int32_t c);

/* All zero: none. */
typedef struct ql_split {
    ql_split_char_fn *is_delimiter; /* NULL: the pattern counts */
    ql_pattern pattern;
    ql_split_behavior behavior;
    bool invert; /* delimiters are what is between the matches */
} ql_split;

/* The behavior of a name in tokenizer.json, in *out. False for no name of
 * one. */
bool ql_split_behavior_named(const char *name, ql_split_behavior *out);

void ql_split_free(ql_split *s);

/* Hands over the pieces of v, v.n > 0, in order, some of which may be empty.
 * Errors: those of ql_regex_find and of piece. */
typedef ql_status ql_split_piece_fn(void *ctx, ql_view piece);
ql_status ql_split_run(const ql_split *s, ql_regex_work *w, ql_view v,
                       ql_split_piece_fn *piece, void *ctx);

#endif
