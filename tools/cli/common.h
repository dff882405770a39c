/* What all commands share: their common options, and the way from the command
 * line to a library that is ready.
 *
 *     int main(int argc, char **argv)
 *     {
 *         options o = DEFAULTS;
 *         cli_common common;
 *         const cli_opt opts[] = {..., {0}};
 *         const cli_command cmd = {"qlora-x", "Does x.", "qlora-x A B", opts,
 *                                  cli_common_opts(&common)};
 *         cli_args args;
 *         int code;
 *
 *         if (!cli_start(&args, &cmd, &common, argc, argv, &code)) {
 *             return code;
 *         }
 *         code = cli_finish(&args, run(&o), NULL);
 *         return code;
 *     } */
#ifndef QL_CLI_COMMON_H
#define QL_CLI_COMMON_H

#include "qlora/runtime.h"
#include "tools/cli/opt.h"

enum {
    CLI_COMMON_OPTS = 9
};

typedef struct cli_common {
    int threads; /* 0: the library's choice */
    ql_compute compute;
    const char *isa; /* NULL: QL_ISA, else the best */
    size_t seed;     /* 42 */
    bool json;       /* results as JSON lines */
    bool quiet;      /* no progress, no news */
    bool help;       /* these two are answered by cli_start */
    bool version;
    const char *config;  /* settings file, NULL for none */
    const char *command; /* name of the command, set by cli_start */
    bool exact;          /* see cli_common_exact */
    cli_opt opts[CLI_COMMON_OPTS + 1];
} cli_common;

/* Sets the defaults and the table. Borrowed: lives as long as common. */
const cli_opt *cli_common_opts(cli_common *common);

/* Of a command whose results are to be exact: --compute auto is fp32. An
 * instruction set that computes in bf16 then stands for the one like it that
 * computes in fp32. */
void cli_common_exact(cli_common *common);

/* Reads the command line and the settings file, answers --help and --version,
 * and opens the runtime; its notes go to stderr, with --quiet the warnings
 * only. False if the command ends here, with its exit code in *code. True:
 * args is the caller's, to be ended by cli_finish. */
bool cli_start(cli_args *args, const cli_command *cmd, cli_common *common,
               int argc, char **argv, int *code);

/* Tells a failure (ql_last_error(), then the hint unless NULL), makes sure
 * that stdout took all results, frees args, and returns the exit code. */
int cli_finish(cli_args *args, ql_status st, const char *hint);

#endif
