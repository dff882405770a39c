/* The command line of qlora-generate. */
#ifndef QL_TOOLS_GENERATE_OPTIONS_H
#define QL_TOOLS_GENERATE_OPTIONS_H

#include "qlora/qlora.h"
#include "tools/cli/common.h"

/* What it says, and the table that reads it. */
typedef struct generate_options {
    const char *model, *adapter, *prompt, *pair, *messages, *system;
    const char *chat_template;
    char *template; /* that of the adapter, where it has one of its own */
    bool chat;
    cli_list stop;
    ql_model_options load;
    ql_generate_options g;
    const cli_opt *table;
} generate_options;

/* The options of this process, set to their defaults. Borrowed. */
generate_options *generate_options_defaults(void);

/* Completes what was read. Returns 0; or, after telling what is wrong, an exit
 * code. */
int generate_options_settle(const cli_args *args, const cli_common *common);

/* Gives back what settling took; the options are done with. */
void generate_options_close(void);

#endif
