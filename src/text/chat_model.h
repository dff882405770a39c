/* The chat template of a model, ready for use: that which the user gave, that
 * of the folder, or the default one; one for conversations with tools, where
 * there is one; and the special tokens that templates see. */
#ifndef QL_TEXT_CHAT_MODEL_H
#define QL_TEXT_CHAT_MODEL_H

#include "qlora/tokenizer.h"
#include "src/text/chat.h"

typedef enum ql_chat_kind {
    QL_CHAT_OWN,    /* the folder's */
    QL_CHAT_GIVEN,  /* the user's */
    QL_CHAT_DEFAULT /* the folder has none */
} ql_chat_kind;

typedef struct ql_chat {
    ql_chat_kind kind;
    char *text; /* of the template for conversations without tools */
    ql_chat_template *plain;
    ql_chat_template *tools; /* NULL: plain serves them, too */
    json_t *tokens;          /* by name: "bos_token": "<s>" */
    struct tm now;           /* what strftime_now tells */
    bool dated;              /* a template asks for it */
} ql_chat;

/* Opens the template for the folder of a tokenizer. given: NULL, or as in
 * ql_chat_source_find. The default template is given the BOS and the end token
 * of the tokenizer, however the folder names them. date: NULL for the clock's
 * time, or "YYYY-MM-DD", to which " HH:MM:SS" may be added. Owned:
 * ql_chat_close, which is fine after a failure too. Errors: those of
 * ql_chat_source_find but for a folder without a template, ql_chat_tokens_read
 * and ql_chat_template_open; QL_EINVAL for what is no date. */
ql_status ql_chat_open(ql_chat *c, const ql_tokenizer *tok, const char *given,
                       const char *date);
void ql_chat_close(ql_chat *c);

/* Renders as ql_chat_render does, by the template for in->tools. in->tokens
 * and in->now are set here. */
ql_status ql_chat_write(const ql_chat *c, ql_chat_input in, ql_buf *text,
                        ql_buf *spans);

/* The default template. It needs no tokens of its own and closes each turn of
 * the assistant with the end token, or a newline if there is none. Borrowed,
 * constant. */
const char *ql_chat_default(void);

#endif
