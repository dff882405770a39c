/* The chat template of a model with how it writes turns, and where in a text
 * answers begin. */
#ifndef QL_TEXT_STYLES_H
#define QL_TEXT_STYLES_H

#include "src/text/style.h"

/* Where the turn of the assistant begins that ends a text, by the text before
 * it, which ends in a prompt if the template has one; false if that is not
 * found at the start of the text. */
bool ql_style_start(const ql_style *s, const ql_buf *before, const ql_buf *text,
                    size_t *start);

/* Writes the first n messages to an empty buffer, as samples of them have them:
 * as the template does, and if its prompt for the answer that ends them opens a
 * thought, with that (see text/thought.h). Errors: those of ql_chat_render. */
ql_status ql_style_turns(const ql_style *s, const ql_talk *t, size_t n,
                         ql_buf *text);

/* Appends a conversation up to where its next answer begins, to an empty
 * buffer: what comes before the tokens that are trained. Errors: those of
 * ql_chat_render. */
ql_status ql_style_prompt(const ql_style *s, const ql_talk *t, ql_buf *text);

/* The chat template of a model, with how it writes turns. */
typedef struct ql_styles {
    ql_chat chat;
    ql_style plain; /* of conversations without tools; its chat is NULL until
                       this is open */
    ql_style tools; /* chat is NULL: as those without */
} ql_styles;

/* given and date are as in ql_chat_open. s must stay where it is. Owned:
 * ql_styles_close, which is fine after a failure, and when this was never
 * called and s is zero. Errors: those of ql_chat_open. */
ql_status ql_styles_open(ql_styles *s, const ql_tokenizer *tok,
                         const char *given, const char *date);
void ql_styles_close(ql_styles *s);

/* The style for a conversation. Borrowed. */
const ql_style *ql_styles_of(const ql_styles *s, const ql_talk *t);

#endif
