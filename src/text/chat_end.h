/* The token by which a chat template ends an answer. */
#ifndef QL_TEXT_CHAT_END_H
#define QL_TEXT_CHAT_END_H

#include "qlora/tokenizer.h"
#include "src/text/chat.h"

/* The first special token but BOS that a template writes behind an answer,
 * which is what training teaches to write there; -1 for none, and where the
 * template refuses a conversation of a question and its answer. tokens: as
 * ql_chat_tokens_read gives them. Errors: QL_ENOMEM. */
ql_status ql_chat_end_find(int32_t *id, const ql_chat_template *t,
                           const json_t *tokens, const ql_tokenizer *tok);

/* The same of the template that ql_chat_source_find finds in a folder, or in
 * dir where first is NULL or has none; -1 for what is no template, too.
 * Errors: those of ql_chat_source_find and ql_chat_tokens_read, but for
 * QL_ENOTFOUND. */
ql_status ql_chat_end_read(int32_t *id, const char *first, const char *dir,
                           const ql_tokenizer *tok);

#endif
