#include "tools/cli/exit.h"

#include <stdio.h>

static const int codes[] = {
    [-QL_OK] = CLI_EXIT_OK,
    [-QL_ENOMEM] = CLI_EXIT_NO_ROOM,
    [-QL_EINVAL] = CLI_EXIT_USAGE,
    [-QL_EIO] = CLI_EXIT_FAILED,
    [-QL_EFORMAT] = CLI_EXIT_INPUT,
    [-QL_EUNSUPPORTED] = CLI_EXIT_INPUT,
    [-QL_ENOTFOUND] = CLI_EXIT_INPUT,
    [-QL_ECANCELLED] = CLI_EXIT_INTERRUPTED,
    [-QL_EMISMATCH] = CLI_EXIT_INPUT,
    [-QL_ENUMERIC] = CLI_EXIT_NUMERIC,
    [-QL_ENOSPACE] = CLI_EXIT_NO_ROOM,
};

int cli_exit_code(ql_status st)
{
    const int i = -(int)st;

    if (i < 0 || i >= (int)(sizeof(codes) / sizeof(codes[0]))) {
        return CLI_EXIT_FAILED;
    }
    return codes[i];
}

int cli_fail(const char *command, ql_status st, const char *sentence,
             const char *hint)
{
    fprintf(stderr, "%s: ", command);
    for (const char *s = sentence; *s; s++) {
        /* names in files may carry commands to the terminal */
        putc((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s, stderr);
    }
    putc('\n', stderr);
    if (hint) {
        fprintf(stderr, "%s\n", hint);
    }
    return cli_exit_code(st);
}
