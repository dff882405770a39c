/* qlora-generate --messages: answers the conversations of a file. */
#ifndef QL_TOOLS_GENERATE_MESSAGES_H
#define QL_TOOLS_GENERATE_MESSAGES_H

#include "tools/generate_options.h"

/* Answers each by itself, as it comes; for programs in one line each. One that
 * cannot be answered is told, and counted in *unanswered. Errors: those of
 * ql_conversations_open and _next, and of the model. */
ql_status generate_messages(ql_generator *g, const generate_options *o,
                            const cli_common *common, size_t *unanswered);

#endif
