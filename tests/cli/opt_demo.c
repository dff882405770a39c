/* A command that does nothing but read its options and write them down: what
 * the cases of this folder look at besides the real commands. */
#include "tools/cli/exit.h"
#include "tools/cli/opt.h"

static struct {
    const char *model;
    int rank;
    bool packing;
    const char *config;
    bool help;
} o = {.rank = 16, .packing = true};

/* clang-format off */
static const cli_opt opts[] = {
    {.name = "model", CLI_STRING(&o.model), .required = true,
     .value_name = "DIR", .help = "folder of the model"},
    {.name = "lora-r", CLI_INT(&o.rank), .min = 1, .max = 4096,
     .aliases = "lora-rank", .value_name = "N", .help = "rank of the adapters",
     .group = "Adapter"},
    {.name = "packing", CLI_FLAG(&o.packing), .group = "Data",
     .help = "several records in one sequence"},
    {.name = "config", CLI_STRING(&o.config), .value_name = "FILE",
     .transient = true, .help = "read settings from a file"},
    {.name = "help", CLI_FLAG(&o.help), .letter = 'h', .transient = true,
     .stops = true, .help = "show this text"},
    {0},
};
/* clang-format on */

static const cli_command command = {
    .name = "opt_demo",
    .about = "Writes down the settings it was given.",
    .example = "opt_demo --model DIR",
    .opts = opts,
};

int main(int argc, char **argv)
{
    cli_args args;
    ql_status st = cli_args_init(&args, &command);
    int code;

    if (st == QL_OK) {
        st = cli_args_parse(&args, argc, argv);
    }
    if (st == QL_OK && o.config) {
        st = cli_args_read_settings(&args, o.config);
    }
    if (st == QL_OK) {
        st = cli_args_require(&args);
    }
    code = cli_exit_code(st);
    if (st != QL_OK) {
        code = cli_fail(command.name, st, args.error, "See 'opt_demo --help'.");
    } else if (o.help) {
        cli_args_usage(&args, stdout);
    } else {
        cli_args_write_settings(&args, stdout);
    }
    cli_args_free(&args);
    return code;
}
