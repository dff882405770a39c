#include "tools/cli/common.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qlora/version.h"
#include "tools/cli/exit.h"
#include "tools/cli/term.h"

static const cli_choice computes[] = {{"auto", QL_COMPUTE_AUTO},
                                      {"fp32", QL_COMPUTE_FP32},
                                      {"bf16", QL_COMPUTE_BF16},
                                      {0}};

const cli_opt *cli_common_opts(cli_common *common)
{
    /* clang-format off */
    const cli_opt opts[] = {
        {.name = "threads", CLI_INT(&common->threads), .max = 1024,
         .value_name = "N", .group = "General",
         .help = "threads to compute with",
         .default_text = "the physical cores this process may use"},
        {.name = "compute", CLI_CHOICE(&common->compute, computes),
         .value_name = "TYPE", .group = "General",
         .help = "type that products compute in: auto (bf16 where the machine "
                 "has it), fp32, bf16"},
        {.name = "isa", CLI_STRING(&common->isa), .value_name = "NAME",
         .group = "General", .help = "instruction set; also QL_ISA",
         .default_text = "the best that this machine runs"},
        {.name = "seed", CLI_SIZE(&common->seed), .value_name = "N",
         .group = "General", .help = "start of all random numbers"},
        {.name = "config", CLI_STRING(&common->config), .value_name = "FILE",
         .group = "General", .transient = true,
         .help = "read settings from a YAML file; the command line wins"},
        {.name = "json", CLI_FLAG(&common->json), .group = "General",
         .transient = true, .help = "results on stdout as JSON lines"},
        {.name = "quiet", CLI_FLAG(&common->quiet), .letter = 'q',
         .group = "General", .transient = true,
         .help = "no progress and no news; warnings and errors stay"},
        {.name = "help", CLI_FLAG(&common->help), .letter = 'h',
         .group = "General", .transient = true, .stops = true,
         .help = "show this text"},
        {.name = "version", CLI_FLAG(&common->version), .group = "General",
         .transient = true, .stops = true,
         .help = "show version, instruction sets and libraries"},
        {0},
    };
    /* clang-format on */

    *common = (cli_common){.seed = 42};
    _Static_assert(sizeof(opts) == sizeof(common->opts), "one row each");
    memcpy(common->opts, opts, sizeof(opts));
    return common->opts;
}

static void note(ql_note_kind kind, const char *text, void *user)
{
    const cli_common *common = user;

    if (kind == QL_NOTE_WARNING || !common->quiet) {
        fprintf(stderr, "%s: %s\n", common->command, text);
    }
}

void cli_common_exact(cli_common *common)
{
    common->exact = true;
    for (cli_opt *row = common->opts; row->name; row++) {
        if (strcmp(row->name, "compute") == 0) {
            row->help = "type that products compute in: auto (fp32, in which "
                        "results are exact), fp32, bf16";
        }
    }
}

/* Cuts off what says that an instruction set is one of bf16; false if nothing
 * does. */
static bool cut_bf16(char *name)
{
    const size_t n = strlen(name);

    if (n < 5 || strcmp(name + n - 4, "bf16") != 0) {
        return false;
    }
    name[n - 4 - (name[n - 5] == '-')] = '\0';
    return true;
}

static ql_status open_runtime(cli_common *common)
{
    const char *named = common->isa ? common->isa : getenv("QL_ISA");
    char isa[32];
    ql_runtime_options opt = {
        .threads = common->threads,
        .compute = common->compute,
        .isa = common->isa,
        .note = note,
        .note_user = common,
    };

    if (common->exact && common->compute == QL_COMPUTE_AUTO) {
        opt.compute = QL_COMPUTE_FP32;
        snprintf(isa, sizeof(isa), "%s", named ? named : "");
        opt.isa = cut_bf16(isa) ? isa : common->isa;
    }
    return ql_runtime_open(&opt);
}

static void print_version(const cli_command *cmd)
{
    printf("%s %s\n", cmd->name, ql_version());
    printf("isa: %s (available: %s)\n", ql_runtime_isa(),
           ql_runtime_isa_list());
    printf("threads: %d\n", ql_runtime_threads());
    printf("libraries: %s\n", ql_runtime_libraries());
}

/* A failure whose sentence is args->error. */
static int usage_fail(cli_args *args, const cli_command *cmd, ql_status st)
{
    char hint[160];

    snprintf(hint, sizeof(hint), "See '%s --help'.", cmd->name);
    return cli_fail(cmd->name, st, args->error, st == QL_EINVAL ? hint : NULL);
}

static ql_status read_args(cli_args *args, const cli_command *cmd,
                           cli_common *common, int argc, char **argv)
{
    ql_status st = cli_args_init(args, cmd);

    if (st == QL_OK) {
        st = cli_args_parse(args, argc, argv);
    }
    if (st == QL_OK && common->config && !args->stopped) {
        st = cli_args_read_settings(args, common->config);
    }
    if (st == QL_OK) {
        st = cli_args_require(args);
    }
    return st;
}

/* The thread and BLAS libraries read their environment when they are loaded,
 * before main. Their defaults do us harm: waiting threads spin for
 * milliseconds, which halves the speed as soon as another program runs beside
 * us, and BLAS starts threads of its own that we never use. So the command
 * starts itself once more with better settings, unless the user made some. */
static void settle_environment(char **argv)
{
    static const char *const settings[][2] = {
        {"GOMP_SPINCOUNT", "10000"}, /* GNU OpenMP: tens of microseconds */
        {"KMP_BLOCKTIME", "0"},      /* LLVM OpenMP */
        {"OPENBLAS_NUM_THREADS", "1"},
    };

    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) {
        return;
    }
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        setenv(settings[i][0], settings[i][1], 0);
    }
    execv("/proc/self/exe", argv); /* where it fails, we just go on */
}

bool cli_start(cli_args *args, const cli_command *cmd, cli_common *common,
               int argc, char **argv, int *code)
{
    ql_status st;

    settle_environment(argv);
    cli_streams_protect();
    st = read_args(args, cmd, common, argc, argv);

    if (st != QL_OK) {
        *code = usage_fail(args, cmd, st);
        cli_args_free(args);
        return false;
    }
    if (common->help) {
        cli_args_usage(args, stdout);
        *code = cli_finish(args, QL_OK, NULL);
        return false;
    }
    common->command = cmd->name;
    st = open_runtime(common);
    if (st == QL_OK && common->version) {
        print_version(cmd);
    }
    if (st != QL_OK || common->version) {
        *code = cli_finish(args, st, NULL);
        return false;
    }
    return true;
}

int cli_finish(cli_args *args, ql_status st, const char *hint)
{
    const char *name = args->command->name;
    const bool lost = fflush(stdout) != 0 || ferror(stdout);
    int code = CLI_EXIT_OK;

    if (lost && (st == QL_OK || (st == QL_ECANCELLED && !cli_interrupted()))) {
        code = cli_fail(name, QL_EIO, "cannot write to stdout", NULL);
    } else if (st != QL_OK) {
        code = cli_fail(name, st, ql_last_error(), hint);
    }
    cli_args_free(args);
    return code;
}
