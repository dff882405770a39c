/* qlora-bench: what products and training reach on this machine. */
#include <string.h>

#include "src/base/fail.h"
#include "tools/bench/bench_attention.h"
#include "tools/bench/bench_generate.h"
#include "tools/bench/bench_job.h"
#include "tools/bench/bench_kernels.h"
#include "tools/bench/bench_large.h"
#include "tools/bench/bench_memory.h"
#include "tools/bench/bench_quality.h"
#include "tools/bench/bench_train.h"
#include "tools/cli/term.h"

/* The subcommands. */
static const struct {
    const char *name;
    ql_status (*run)(const bench_options *o, const cli_common *common);
} commands[] = {
    {"kernels", bench_kernels}, {"attention", bench_attention},
    {"train", bench_train},     {"large", bench_large},
    {"memory", bench_memory},   {"quality", bench_quality},
    {"job", bench_job},         {"generate", bench_generate},
};

enum {
    COMMANDS = sizeof(commands) / sizeof(commands[0])
};

/* Fails if an option of another subcommand was given. */
static ql_status check_groups(const cli_args *args, const bench_options *o)
{
    for (const cli_opt *row = o->table; row->name; row++) {
        if (!bench_options_belongs(row, o->what) &&
            cli_args_given(args, row->name)) {
            QL_FAIL(QL_EINVAL, "--%s is an option of %s, not of %s", row->name,
                    row->group, o->what);
        }
    }
    return QL_OK;
}

static ql_status run(const cli_args *args, const bench_options *o,
                     const cli_common *common)
{
    char list[80] = "";
    size_t used = 0;

    cli_signals_catch();
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, o->what) == 0) {
            QL_TRY(check_groups(args, o));
            return commands[i].run(o, common);
        }
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
                                 i ? ", " : "", commands[i].name);
    }
    QL_FAIL(QL_EINVAL, "\"%s\" is not measured; choose one of: %s", o->what,
            list);
}

/* The command line, for what is told of a measurement. */
static void keep_command(char *text, size_t bytes, int argc, char **argv)
{
    size_t used = (size_t)snprintf(text, bytes, "qlora-bench");

    for (int i = 1; i < argc && used < bytes; i++) {
        used += (size_t)snprintf(text + used, bytes - used, " %s", argv[i]);
    }
}

int main(int argc, char **argv)
{
    static char command[1024];
    bench_options *o = bench_options_defaults();
    cli_common common;
    const cli_command cmd = {
        "qlora-bench",
        "Measures the 4-bit products, attention and the training here.",
        "qlora-bench train --shape 220m --profile", o->table,
        cli_common_opts(&common)};
    cli_args args;
    int code;

    keep_command(command, sizeof(command), argc, argv);
    o->command = command;
    if (!cli_start(&args, &cmd, &common, argc, argv, &code)) {
        return code;
    }
    return cli_finish(&args, run(&args, o, &common), NULL);
}
