/* Exit codes of the commands, and how a failure is told. */
#ifndef QL_CLI_EXIT_H
#define QL_CLI_EXIT_H

#include "qlora/status.h"

typedef enum cli_exit {
    CLI_EXIT_OK = 0,
    CLI_EXIT_FAILED = 1,       /* I/O, or an internal failure */
    CLI_EXIT_USAGE = 2,        /* wrong usage */
    CLI_EXIT_INPUT = 3,        /* bad or unsupported input */
    CLI_EXIT_NO_ROOM = 4,      /* does not fit into memory or on the disk */
    CLI_EXIT_NUMERIC = 5,      /* a loss or gradient is not finite, or a merged
                                  model is not what it was made of */
    CLI_EXIT_INTERRUPTED = 130 /* by Ctrl-C; the state was saved */
} cli_exit;

/* The exit code that stands for a status. */
int cli_exit_code(ql_status st);

/* Writes "command: sentence", and the hint on a line of its own unless it is
 * NULL, to stderr. Returns cli_exit_code(st). */
int cli_fail(const char *command, ql_status st, const char *sentence,
             const char *hint);

#endif
