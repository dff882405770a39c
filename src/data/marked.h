/* A text with the parts of it that are trained, as tokens with marks. Marks
 * are set by place in the text, never by the value of a token, for the end
 * token may be part of a prompt. */
#ifndef QL_DATA_MARKED_H
#define QL_DATA_MARKED_H

#include "src/data/draft.h"
#include "src/text/chat.h"

typedef struct ql_marked {
    const char *text; /* [len] */
    size_t len;
    const ql_chat_span *spans; /* [n] that are trained, in order */
    size_t n;
} ql_marked;

/* Appends the tokens of a text; a token is trained if any of its bytes is, so
 * one that holds the end of a prompt and the start of an answer is. The first
 * token never is, for nothing comes before it.
 *
 * framed: with the special tokens that the tokenizer puts around a text, and
 * the end token, which is trained, unless the text has it. A text that was
 * rendered has its special tokens already. Of two BOS tokens at the start one
 * is left out.
 *
 * Errors: those of ql_tokenizer_append. */
ql_status ql_marked_push(ql_sample_draft *out, const ql_tokenizer *tok,
                         ql_marked m, bool framed);

#endif
