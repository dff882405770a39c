/* From a conversation to the ids that its answer follows. */
#ifndef QL_GEN_CHAT_PROMPT_H
#define QL_GEN_CHAT_PROMPT_H

#include "src/text/styles.h"

/* json: a list of messages, or an object as files of conversations to train
 * have them, see ql_talk_add and ql_talk_frame. what: what errors name. Owned:
 * ql_free(*ids). *opens, if not NULL: the thought that the prompt opens, "" for
 * none. Borrowed from styles. Errors: QL_EFORMAT (no such thing, or the
 * template refuses it), QL_EUNSUPPORTED (of a message, or the template),
 * QL_ENOMEM. */
ql_status ql_chat_prompt(const ql_styles *styles, const ql_tokenizer *tok,
                         const char *json, const char *what, int32_t **ids,
                         size_t *n, const char **opens);

#endif
