/* How far a file or a folder is written: the progress of commands that read a
 * model and write what they make of it. */
#ifndef QL_TOOLS_BYTE_PROGRESS_H
#define QL_TOOLS_BYTE_PROGRESS_H

#include "tools/cli/term.h"

typedef struct byte_progress {
    cli_term term;
    const char *verb; /* "writing" */
} byte_progress;

/* A live line of it, which is the user of the library's callback. False once
 * Ctrl-C was pressed. */
bool byte_progress_show(uint64_t done, uint64_t total, void *user);

#endif
