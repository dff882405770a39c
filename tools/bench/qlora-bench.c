/* qlora-bench: what products and training reach on this machine. */
#include <string.h>

#include "src/base/fail.h"
#include "tools/bench/bench_attention.h"
#include "tools/bench/bench_kernels.h"
#include "tools/bench/bench_train.h"
#include "tools/cli/term.h"

/* The subcommands. */
static const struct {
    const char *name;
    ql_status (*run)(const bench_options *o, const cli_common *common);
} commands[] = {
    {"kernels", bench_kernels},
    {"attention", bench_attention},
    {"train", bench_train},
};

enum {
    COMMANDS = sizeof(commands) / sizeof(commands[0])
};

/* Fails if an option of another subcommand was given. */
static ql_status check_groups(const cli_args *args, const bench_options *o)
{
    for (const cli_opt *row = o->table; row->name; row++) {
        if (row->group && strcmp(row->group, o->what) != 0 &&
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

int main(int argc, char **argv)
{
    const bench_options *o = bench_options_defaults();
    cli_common common;
    const cli_command cmd = {
        "qlora-bench",
        "Measures the 4-bit products, attention and the training here.",
        "qlora-bench train --shape 220m --profile", o->table,
        cli_common_opts(&common)};
    cli_args args;
    int code;

    if (!cli_start(&args, &cmd, &common, argc, argv, &code)) {
        return code;
    }
    return cli_finish(&args, run(&args, o, &common), NULL);
}
