/* A conversation on the terminal. */
#ifndef QL_TOOLS_GENERATE_CHAT_H
#define QL_TOOLS_GENERATE_CHAT_H

#include "tools/generate_options.h"

/* Talks until the end of standard input or /exit. Where somebody types, a
 * failure of an answer is told, and the conversation goes on. */
ql_status generate_chat(ql_generator *g, const generate_options *o, bool quiet);

#endif
