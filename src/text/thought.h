/* Thoughts that the prompt for an answer begins, where the turns of the
 * template do not: those of DeepSeek R1 and QwQ, whose prompt ends in
 * "<think>", while the turn of an answer has neither that nor what was
 * thought. */
#ifndef QL_TEXT_THOUGHT_H
#define QL_TEXT_THOUGHT_H

#include "src/base/buf.h"
#include "src/base/json.h"

/* The tag that ends a thought, with the white space around it. */
extern const char ql_thought_closed[];

/* Where in a prompt its last word begins, if that is the tag that opens a
 * thought and white space; n if it is not. */
size_t ql_thought_opened(const char *prompt, size_t n);

/* Gives the turn of a message, text[at ...], the thought that the prompt opens:
 * puts opens there, and behind it what the message has thought, from its
 * content or from what it has beside that; or nothing, closed at once, as the
 * model is to learn that it need not think. Errors: QL_ENOMEM. */
ql_status ql_thought_put(ql_buf *text, size_t at, const char *opens,
                         const json_t *message);

#endif
