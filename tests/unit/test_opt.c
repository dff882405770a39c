/* The commands' option tables: what a command line means, what is refused and
 * how, the usage text, and settings that survive a round through a file. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/check/check.h"
#include "tools/cli/exit.h"
#include "tools/cli/opt.h"
#include "tools/cli/term.h"

typedef enum mode {
    MODE_AUTO,
    MODE_ON,
    MODE_OFF
} mode;

static const cli_choice mode_names[] = {{"auto", MODE_AUTO}, {"on", MODE_ON},
                                        {"off", MODE_OFF},   {"true", MODE_ON},
                                        {"false", MODE_OFF}, {0}};

enum {
    ROWS = 20
};

/* A command with one option of each kind, and what the options set. */
typedef struct fixture {
    bool packing;
    int rank;
    int steps;
    size_t length;
    uint64_t memory;
    double rate;
    const char *model;
    mode checkpointing;
    cli_list modules;
    cli_list data;
    bool quiet;
    bool help;
    cli_opt opts[ROWS];
    cli_opt common[3];
    cli_command cmd;
    cli_args args;
} fixture;

static const char *default_modules[] = {"q_proj", "v_proj"};

static void fill_opts(fixture *f)
{
    /* clang-format off */
    const cli_opt opts[] = {
        {.name = "model", CLI_STRING(&f->model), .required = true,
         .aliases = "model-name-or-path", .value_name = "DIR",
         .help = "folder of the model"},
        {.name = "data", CLI_FILES(&f->data), .value_name = "FILE...",
         .letter = 'd', .aliases = "dataset", .help = "training data",
         .group = "Data"},
        {.name = "packing", CLI_FLAG(&f->packing), .group = "Data",
         .help = "put several records into one sequence, as many as there is "
                 "room for, without looking from one to the other"},
        {.name = "max-length", CLI_SIZE(&f->length), .group = "Data",
         .value_name = "N", .help = "tokens of a record",
         .aliases = "max-seq-length cutoff-len"},
        {.name = "lora-r", CLI_INT(&f->rank), .group = "Adapter", .min = 1,
         .max = 4096, .aliases = "lora-rank", .letter = 'r',
         .value_name = "N", .help = "rank"},
        {.name = "lora-target-modules", CLI_LIST(&f->modules),
         .group = "Adapter", .value_name = "NAMES", .help = "layers to adapt"},
        {.name = "max-steps", CLI_INT(&f->steps), .group = "Length",
         .aliases = "iters", .value_name = "N", .help = "optimizer steps"},
        {.name = "learning-rate", CLI_REAL(&f->rate), .group = "Optimizer",
         .aliases = "lr", .max = CLI_NO_LIMIT, .value_name = "X",
         .help = "largest step size"},
        {.name = "memory", CLI_BYTES(&f->memory), .group = "Memory",
         .value_name = "BYTES", .default_text = "what is free",
         .help = "memory to use"},
        {.name = "gradient-checkpointing",
         CLI_CHOICE(&f->checkpointing, mode_names), .group = "Memory",
         .aliases = "grad-checkpoint lean=on", .bare = "on",
         .value_name = "WHEN", .help = "recompute instead of keeping"},
        {0},
    };
    const cli_opt common[] = {
        {.name = "quiet", CLI_FLAG(&f->quiet), .letter = 'q',
         .transient = true, .help = "say nothing"},
        {.name = "help", CLI_FLAG(&f->help), .stops = true, .letter = 'h',
         .transient = true, .help = "show this text"},
        {0},
    };
    /* clang-format on */

    memcpy(f->opts, opts, sizeof(opts));
    memcpy(f->common, common, sizeof(common));
}

static void open_fixture(fixture *f)
{
    *f = (fixture){.packing = true,
                   .rank = 16,
                   .steps = -1,
                   .length = 1024,
                   .rate = 2e-4,
                   .modules = {default_modules, 2}};
    fill_opts(f);
    f->cmd =
        (cli_command){"qlora-demo", "Shows options.",
                      "qlora-demo --model DIR --data FILE", f->opts, f->common};
    assert_int_equal(cli_args_init(&f->args, &f->cmd), QL_OK);
}

enum {
    WORDS = 16
};

/* Parses a line split at blanks; the copy of the line lives in line. */
static ql_status parse(fixture *f, char *line, const char *text)
{
    char *argv[WORDS + 2] = {line};
    int argc = 1;
    char *rest = line;
    char *word;

    snprintf(line, 512, "%s", text);
    while ((word = strtok_r(rest, " ", &rest)) && argc <= WORDS) {
        argv[argc++] = word;
    }
    return cli_args_parse(&f->args, argc, argv);
}

/* A line that must be taken; f stays open. */
static void accept(fixture *f, const char *text)
{
    static char line[512];

    open_fixture(f);
    if (parse(f, line, text) != QL_OK) {
        fail_msg("%s: %s", text, f->args.error);
    }
}

/* A line that must be refused with a sentence that has this text in it. */
static void refuse(const char *text, const char *sentence)
{
    char line[512];
    fixture f;

    open_fixture(&f);
    if (parse(&f, line, text) != QL_EINVAL) {
        fail_msg("%s: is taken", text);
    }
    if (!strstr(f.args.error, sentence)) {
        fail_msg("%s: \"%s\" is not in \"%s\"", text, sentence, f.args.error);
    }
    cli_args_free(&f.args);
}

static void opt__defaults_stay(void **state)
{
    fixture f;

    (void)state;
    accept(&f, "");
    assert_true(f.packing);
    assert_int_equal(f.rank, 16);
    assert_int_equal(f.modules.n, 2);
    assert_false(cli_args_given(&f.args, "lora-r"));
    cli_args_free(&f.args);
}

static void opt__values_follow_a_blank_or_an_equals_sign(void **state)
{
    fixture f;

    (void)state;
    accept(&f, "--lora-r 8 --learning-rate=1e-3 --model=a=b --max-steps -1");
    assert_int_equal(f.rank, 8);
    assert_true(f.rate == 1e-3);
    assert_string_equal(f.model, "a=b");
    assert_int_equal(f.steps, -1);
    assert_true(cli_args_given(&f.args, "lora_r"));
    cli_args_free(&f.args);
    accept(&f, "-r8 -d - -q --model=--odd");
    assert_int_equal(f.rank, 8);
    assert_string_equal(f.data.items[0], "-");
    assert_true(f.quiet);
    assert_string_equal(f.model, "--odd");
    cli_args_free(&f.args);
    accept(&f, "-r 4 --model=");
    assert_int_equal(f.rank, 4);
    assert_string_equal(f.model, "");
    cli_args_free(&f.args);
}

static void opt__dashes_and_underscores_are_the_same(void **state)
{
    fixture f;

    (void)state;
    accept(&f, "--lora_r 8 --max_seq-length=7 --no_packing");
    assert_int_equal(f.rank, 8);
    assert_int_equal(f.length, 7);
    assert_false(f.packing);
    cli_args_free(&f.args);
}

static void opt__aliases(void **state)
{
    fixture f;

    (void)state;
    accept(&f, "--lora-rank 3 --iters 9 --lr 1 --cutoff_len 5 --dataset x");
    assert_int_equal(f.rank, 3);
    assert_int_equal(f.steps, 9);
    assert_true(f.rate == 1);
    assert_int_equal(f.length, 5);
    assert_string_equal(f.data.items[0], "x");
    cli_args_free(&f.args);
    accept(&f, "--lean --lora-rank 4");
    assert_int_equal(f.checkpointing, MODE_ON);
    assert_int_equal(f.rank, 4);
    cli_args_free(&f.args);
    refuse("--lean=off", "--lean takes no value");
}

static void expect_packing(const char *text, bool packing)
{
    fixture f;

    accept(&f, text);
    assert_int_equal(f.packing, packing);
    cli_args_free(&f.args);
}

static void opt__booleans_in_every_spelling(void **state)
{
    (void)state;
    expect_packing("--packing", true);
    expect_packing("--no-packing", false);
    expect_packing("--packing false", false);
    expect_packing("--packing=False", false);
    expect_packing("--no-packing --packing True", true);
    expect_packing("--packing --lora-r 2", true);
    refuse("--packing=maybe", "--packing cannot be 'maybe': it takes true or");
    refuse("--no-packing=true", "--no-packing takes no value");
    refuse("--no-lora-r", "unknown option --no-lora-r");
    refuse("--no-help", "unknown option --no-help");
    refuse("--no-lean", "unknown option --no-lean");
}

static void expect_mode(const char *text, mode want)
{
    fixture f;

    accept(&f, text);
    assert_int_equal(f.checkpointing, want);
    cli_args_free(&f.args);
}

static void opt__choices(void **state)
{
    (void)state;
    expect_mode("--gradient-checkpointing off", MODE_OFF);
    expect_mode("--gradient-checkpointing=True", MODE_ON);
    expect_mode("--grad-checkpoint --packing", MODE_ON);
    expect_mode("--grad-checkpoint", MODE_ON);
    expect_mode("--no-gradient-checkpointing", MODE_OFF);
    refuse("--gradient-checkpointing=never",
           "--gradient-checkpointing cannot be 'never': it takes auto, on or "
           "off");
}

static void expect_bytes(const char *text, uint64_t want)
{
    fixture f;

    accept(&f, text);
    assert_true(f.memory == want);
    cli_args_free(&f.args);
}

static void opt__bytes(void **state)
{
    (void)state;
    expect_bytes("--memory 5GB", UINT64_C(5000000000));
    expect_bytes("--memory 512MiB", UINT64_C(512) << 20);
    expect_bytes("--memory 4G", UINT64_C(4) << 30);
    expect_bytes("--memory 1.5gib", UINT64_C(3) << 29);
    expect_bytes("--memory 1000", 1000);
    expect_bytes("--memory 7B", 7);
    expect_bytes("--memory 18446744073709551615", UINT64_MAX);
    refuse("--memory 18446744073709551616", "--memory cannot be");
    refuse("--memory 17179869184GiB", "a size such as 5GB");
    refuse("--memory 17179869184.0GiB", "a size such as 5GB");
    refuse("--memory 5XB", "a size such as 5GB");
    refuse("--memory 1.2.3GB", "a size such as 5GB");
    refuse("--memory GB", "a size such as 5GB");
    refuse("--memory -1", "a size such as 5GB");
    refuse("--memory=", "a size such as 5GB");
}

static void opt__numbers_are_checked_to_the_end(void **state)
{
    static const char *const wrong[] = {"--lora-r 0",
                                        "--lora-r 4097",
                                        "--lora-r 8x",
                                        "--lora-r=",
                                        "--lora-r 1.0",
                                        "--lora-r 99999999999",
                                        "--lora-r 0x10",
                                        "--lora-r=+-1",
                                        "--max-length -5",
                                        "--max-length 1e3",
                                        "--max-length=",
                                        "--learning-rate nan",
                                        "--learning-rate 1e999",
                                        "--learning-rate inf",
                                        "--learning-rate -1",
                                        "--learning-rate 0x1p3",
                                        "--learning-rate 1,5",
                                        "--learning-rate=",
                                        "--learning-rate=.",
                                        "--max-length 18446744073709551616",
                                        "--max-steps 2147483648",
                                        "--max-steps -2147483649"};
    fixture f;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        refuse(wrong[i], "cannot be '");
    }
    refuse("--lora-r 0", "--lora-r cannot be '0': it takes a whole number from "
                         "1 to 4096");
    refuse("--lora_rank x", "--lora_rank cannot be 'x'");
    refuse("--lr=-1", "a number of at least 0");
    accept(&f, "--max-steps -2147483648 --lr .5 --max-length "
               "18446744073709551615 --lora-r +4096");
    assert_int_equal(f.steps, -2147483647 - 1);
    assert_true(f.rate == 0.5);
    assert_true(f.length == SIZE_MAX);
    assert_int_equal(f.rank, 4096);
    cli_args_free(&f.args);
}

static void opt__lists(void **state)
{
    fixture f;

    (void)state;
    accept(&f, "--lora-target-modules a,b,,c --data x,y.txt z.txt --packing "
               "--data last -d more");
    assert_int_equal(f.modules.n, 3);
    assert_string_equal(f.modules.items[2], "c");
    assert_int_equal(f.data.n, 4);
    assert_string_equal(f.data.items[0], "x,y.txt");
    assert_string_equal(f.data.items[1], "z.txt");
    assert_string_equal(f.data.items[3], "more");
    cli_args_free(&f.args);
    accept(&f, "--lora-target-modules a --lora-target-modules b c,d");
    assert_int_equal(f.modules.n, 4);
    cli_args_free(&f.args);
    refuse("--data --packing", "--data needs a value, but --packing follows");
    refuse("--data", "--data needs a value");
}

static void opt__unknown_ones_get_a_suggestion(void **state)
{
    (void)state;
    refuse("--lora-rnak 8", "unknown option --lora-rnak; did you mean "
                            "--lora-rank?");
    refuse("--learnig_rate=1", "did you mean --learning-rate?");
    refuse("--gradient", "did you mean --gradient-checkpointing?");
    refuse("--xyzzy", "unknown option --xyzzy");
    refuse("--=3", "unknown option --");
    refuse("-z", "unknown option -z");
    refuse("-qq", "-q takes no value");
    refuse("stray", "unexpected argument 'stray'");
    refuse("-- --packing", "unexpected argument '--packing'");
}

static void opt__required_ones_must_be_given(void **state)
{
    fixture f;

    (void)state;
    accept(&f, "");
    assert_int_equal(cli_args_require(&f.args), QL_EINVAL);
    assert_string_equal(f.args.error, "--model is missing: folder of the "
                                      "model");
    cli_args_free(&f.args);
    accept(&f, "--model x");
    assert_int_equal(cli_args_require(&f.args), QL_OK);
    cli_args_free(&f.args);
    accept(&f, "-h --never --read");
    assert_true(f.help && f.args.stopped);
    assert_int_equal(cli_args_require(&f.args), QL_OK);
    cli_args_free(&f.args);
}

static void opt__positional_arguments(void **state)
{
    const char *model = NULL;
    const char *out = NULL;
    cli_list rest = {NULL, 0};
    cli_list skip = {NULL, 0};
    const cli_opt opts[] = {
        {.name = "model",
         CLI_STRING(&model),
         .positional = true,
         .value_name = "MODEL",
         .help = "input",
         .required = true},
        {.name = "OUT",
         CLI_STRING(&out),
         .positional = true,
         .help = "output",
         .required = true},
        {.name = "rest",
         CLI_FILES(&rest),
         .positional = true,
         .value_name = "FILE...",
         .help = "more"},
        {.name = "skip", CLI_LIST(&skip), .value_name = "A,B", .help = "skip"},
        {0}};
    const cli_command cmd = {.name = "x", .about = "X.", .opts = opts};
    char words[][10] = {"x", "--skip", "a,b", "in", "--", "--out", "r1", "r2"};
    char *argv[8];
    cli_args args;

    (void)state;
    for (size_t i = 0; i < 8; i++) {
        argv[i] = words[i];
    }
    assert_int_equal(cli_args_init(&args, &cmd), QL_OK);
    assert_int_equal(cli_args_parse(&args, 4, argv), QL_OK);
    assert_int_equal(cli_args_require(&args), QL_EINVAL);
    assert_string_equal(args.error, "OUT is missing: output");
    cli_args_free(&args);
    skip = (cli_list){NULL, 0};
    assert_int_equal(cli_args_init(&args, &cmd), QL_OK);
    assert_int_equal(cli_args_parse(&args, 8, argv), QL_OK);
    assert_string_equal(model, "in");
    assert_string_equal(out, "--out");
    assert_int_equal(skip.n, 2);
    assert_int_equal(rest.n, 2);
    assert_string_equal(rest.items[1], "r2");
    cli_args_free(&args);
}

/* What print writes, as a text that the caller frees. */
static char *printed(const cli_args *args,
                     void (*print)(const cli_args *, FILE *))
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);

    assert_non_null(out);
    print(args, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        fail_msg("\"%s\" is not in:\n%s", part, text);
    }
}

static void usage__shows_groups_and_defaults_in_80_columns(void **state)
{
    fixture f;
    char *text;

    (void)state;
    accept(&f, "--lora-r 7 --no-packing"); /* defaults are shown all the same */
    text = printed(&f.args, cli_args_usage);
    assert_int_equal(
        strncmp(text, "Shows options.\n\n  qlora-demo --model", 35), 0);
    assert_has(text, "Usage: qlora-demo --model DIR [OPTION...]\n");
    assert_has(text, "\nData:\n  -d, --data FILE...          training data\n"
                     "      --[no-]packing          put several");
    assert_has(text, "[on]");
    assert_has(text, "  -r, --lora-r N              rank [16]\n");
    assert_has(text, "layers to adapt [q_proj,v_proj]");
    assert_has(text, "[0.0002]");
    assert_has(text, "[what is free]");
    assert_has(text, "      --gradient-checkpointing [WHEN]\n"
                     "                              recompute instead of "
                     "keeping: auto, on, off\n"
                     "                              [auto]\n");
    assert_has(text, "\nOptions:\n");
    assert_has(text, "  -h, --help                  show this text\n");
    for (const char *line = text; *line;) {
        const size_t n = strcspn(line, "\n");

        assert_true(n <= 80 && (n == 0 || line[n - 1] != ' '));
        line += n + (line[n] == '\n');
    }
    free(text);
    cli_args_free(&f.args);
}

/* Puts text into a file of that name in the scratch folder. */
static const char *write_file(const char *name, const char *text)
{
    const char *path = check_tmp_path(name);
    FILE *out = fopen(path, "wb");

    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
    return path;
}

static void settings__survive_a_round_through_a_file(void **state)
{
    fixture a;
    fixture b;
    char *text;
    char *again;

    (void)state;
    accept(&a, "--lora-r 8 --lr 1e-8 --memory 5GB --grad-checkpoint off "
               "--lora-target-modules x,true --no-packing --quiet");
    a.model = "a \"b\": c\\d\n# \xc3\xa4";
    text = printed(&a.args, cli_args_write_settings);
    assert_has(text, "lora_r: 8\n");
    assert_has(text, "learning_rate: 1.0e-08\n");
    assert_has(text, "memory: 5GB\n");
    assert_has(text, "gradient_checkpointing: \"off\"\n");
    assert_has(text, "lora_target_modules: [x, \"true\"]\n");
    assert_has(text, "data: []\n");
    assert_has(text, "packing: false\n");
    assert_has(text, "model: \"a \\\"b\\\": c\\\\d\\x0a# \xc3\xa4\"\n");
    assert_null(strstr(text, "quiet"));
    accept(&b, "");
    check_ok(cli_args_read_settings(&b.args, write_file("a.yaml", text)));
    again = printed(&b.args, cli_args_write_settings);
    assert_string_equal(again, text);
    assert_string_equal(b.model, a.model);
    assert_true(b.rate == 1e-8);
    assert_int_equal(cli_args_require(&b.args), QL_OK);
    free(text);
    free(again);
    cli_args_free(&a.args);
    cli_args_free(&b.args);
}

static void settings__yield_to_the_command_line(void **state)
{
    const char *path = write_file("b.yaml", "# a comment\n"
                                            "lora-rank: 4\n"
                                            "max_length: '77'\n"
                                            "lora_target_modules: [a, 'b,c']\n"
                                            "data: one.jsonl\n"
                                            "memory: null\n"
                                            "packing: False\n");
    fixture f;

    (void)state;
    accept(&f, "--lora-r 8 --data x.jsonl");
    check_ok(cli_args_read_settings(&f.args, path));
    assert_int_equal(f.rank, 8);
    assert_int_equal(f.length, 77);
    assert_int_equal(f.modules.n, 2);
    assert_string_equal(f.modules.items[1], "b,c");
    assert_int_equal(f.data.n, 1);
    assert_string_equal(f.data.items[0], "x.jsonl");
    assert_int_equal(f.memory, 0);
    assert_false(f.packing);
    assert_false(cli_args_given(&f.args, "memory"));
    assert_true(cli_args_given(&f.args, "packing"));
    cli_args_free(&f.args);
}

/* Numbers stay numbers, whatever else is a text, as in a trainer's YAML. */
static void settings__take_a_mapping_as_json(void **state)
{
    const char *text = "model:\n"
                       "  num_cycles: 3\n"
                       "  min_lr: 2e-5\n"
                       "  decay_type: 1-sqrt\n"
                       "  mode: \"7\"\n"
                       "lora_r: 5\n";
    fixture f;

    (void)state;
    for (int given = 0; given < 2; given++) {
        accept(&f, given ? "--model m" : "--max-length 3");
        f.opts[0].json = true;
        check_ok(cli_args_read_settings(&f.args, write_file("m.yaml", text)));
        assert_int_equal(f.rank, 5);
        assert_string_equal(
            f.model, given ? "m"
                           : "{\"num_cycles\": 3, \"min_lr\": "
                             "2.0000000000000002e-05, "
                             "\"decay_type\": \"1-sqrt\", \"mode\": \"7\"}");
        cli_args_free(&f.args);
    }
    accept(&f, "--max-length 3");
    f.opts[0].json = true;
    assert_int_equal(cli_args_read_settings(
                         &f.args, write_file("n.yaml", "model: {a: [1]}\n")),
                     QL_EINVAL);
    assert_has(f.args.error, "one value each only");
    cli_args_free(&f.args);
}

static void refuse_settings(const char *text, ql_status want,
                            const char *sentence)
{
    const char *path = write_file("bad.yaml", text);
    fixture f;

    accept(&f, "--max-length 3");
    if (cli_args_read_settings(&f.args, path) != want) {
        fail_msg("%s: not %s (%s)", text, ql_status_name(want), f.args.error);
    }
    assert_has(f.args.error, sentence);
    cli_args_free(&f.args);
}

static void settings__refuse_with_file_and_line(void **state)
{
    (void)state;
    refuse_settings("lora_r: 8\n\nlora_rnak: 9\n", QL_EINVAL,
                    "bad.yaml:3: unknown setting 'lora_rnak'; did you mean "
                    "'lora-rank'?");
    refuse_settings("quiet: true\n", QL_EINVAL,
                    "bad.yaml:1: unknown setting 'quiet'");
    refuse_settings("lean: true\n", QL_EINVAL, "unknown setting 'lean'");
    refuse_settings("zzzzzz: 1\n", QL_EINVAL, "unknown setting 'zzzzzz'");
    refuse_settings("lora_r: 8\nlora-r: 9\n", QL_EINVAL,
                    "bad.yaml:2: 'lora-r' is set a second time");
    refuse_settings("lora_r: 8x\n", QL_EINVAL,
                    "bad.yaml:1: lora-r cannot be '8x': it takes a whole");
    refuse_settings("max_length: x\n", QL_EINVAL, "max-length cannot be 'x'");
    refuse_settings("lora_r: [1]\n", QL_EINVAL, "takes one value, not a list");
    refuse_settings("lora_r: {a: 1}\n", QL_EINVAL, "bad.yaml:1: a value must");
    refuse_settings("data: [[a]]\n", QL_EINVAL, "may hold texts only");
    refuse_settings("data: *x\n", QL_EINVAL, "a value must be");
    refuse_settings("? [a]\n: b\n", QL_EINVAL, "must have a name");
    refuse_settings("- a\n", QL_EINVAL, "one list of");
    refuse_settings("model: a\n---\nmodel: b\n", QL_EINVAL, "bad.yaml:3: the");
    refuse_settings("model: \"a\\0b\"\n", QL_EINVAL, "NUL");
    refuse_settings("lora_r: 8\nmodel: \"a\n", QL_EFORMAT, "not YAML");
    refuse_settings("lora_r: 8\n\tmodel: x\n", QL_EFORMAT, "bad.yaml:2: not");
    refuse_settings("model: \xff\n", QL_EFORMAT, "not YAML");
}

static void settings__files_that_cannot_be_read(void **state)
{
    fixture f;

    (void)state;
    accept(&f, "");
    assert_int_equal(
        cli_args_read_settings(&f.args, check_tmp_path("missing.yaml")),
        QL_ENOTFOUND);
    assert_has(f.args.error, "missing.yaml: No such file");
    assert_int_equal(cli_args_read_settings(&f.args, check_tmp()), QL_EIO);
    check_ok(cli_args_read_settings(&f.args, write_file("empty.yaml", "")));
    cli_args_free(&f.args);
}

static void exit__codes_of_every_status(void **state)
{
    (void)state;
    assert_int_equal(cli_exit_code(QL_OK), 0);
    assert_int_equal(cli_exit_code(QL_EIO), 1);
    assert_int_equal(cli_exit_code(QL_EINVAL), 2);
    assert_int_equal(cli_exit_code(QL_EFORMAT), 3);
    assert_int_equal(cli_exit_code(QL_EUNSUPPORTED), 3);
    assert_int_equal(cli_exit_code(QL_ENOTFOUND), 3);
    assert_int_equal(cli_exit_code(QL_EMISMATCH), 3);
    assert_int_equal(cli_exit_code(QL_ENOMEM), 4);
    assert_int_equal(cli_exit_code(QL_ENOSPACE), 4);
    assert_int_equal(cli_exit_code(QL_ENUMERIC), 5);
    assert_int_equal(cli_exit_code(QL_ECANCELLED), 130);
    assert_int_equal(cli_exit_code((ql_status)-99), 1);
    assert_int_equal(cli_exit_code((ql_status)1), 1);
}

static void term__formats(void **state)
{
    char t[CLI_TEXT_BYTES];

    (void)state;
    assert_string_equal(cli_format_bytes(t, 0), "0 B");
    assert_string_equal(cli_format_bytes(t, 1023), "1023 B");
    assert_string_equal(cli_format_bytes(t, 1288490189), "1.2 GiB");
    assert_string_equal(cli_format_bytes(t, (1 << 20) - 1), "1.0 MiB");
    assert_string_equal(cli_format_bytes(t, UINT64_MAX), "16.0 EiB");
    assert_string_equal(cli_format_duration(t, 7.4), "0:07");
    assert_string_equal(cli_format_duration(t, 59.6), "1:00");
    assert_string_equal(cli_format_duration(t, 5025), "1:23:45");
    assert_string_equal(cli_format_duration(t, 183845), "2d 03:04:05");
    assert_string_equal(cli_format_duration(t, (double)NAN), "-:--");
    assert_string_equal(cli_format_duration(t, -1), "-:--");
    assert_string_equal(cli_format_count(t, 0), "0");
    assert_string_equal(cli_format_count(t, 999), "999");
    assert_string_equal(cli_format_count(t, 1234567), "1,234,567");
    assert_string_equal(cli_format_count(t, UINT64_MAX),
                        "18,446,744,073,709,551,615");
}

static void term__live_line_is_for_terminals(void **state)
{
    char text[200] = "";
    FILE *out = tmpfile();
    cli_term t;
    size_t n;

    (void)state;
    assert_non_null(out);
    cli_term_init(&t, out, false);
    assert_false(t.tty);
    assert_int_equal(setenv("COLUMNS", "21", 1), 0);
    assert_int_equal(cli_term_width(&t), 21);
    cli_term_live(&t, "nobody sees this");
    cli_term_line(&t, "plain");
    t.tty = true;
    cli_term_live(&t, "twenty letters fit in here");
    cli_term_live(&t, "short");
    cli_term_line(&t, "done");
    rewind(out);
    n = fread(text, 1, sizeof(text) - 1, out);
    text[n] = '\0';
    fclose(out);
    assert_string_equal(text, "plain\n\rtwenty letters fit i"
                              "\rshort               \rshort"
                              "\r     \rdone\n");
}

static void term__first_signal_sets_a_flag(void **state)
{
    (void)state;
    assert_false(cli_interrupted());
    cli_signals_catch();
    raise(SIGTERM);
    assert_true(cli_interrupted());
}

static void term__second_signal_ends_the_process(void **state)
{
    int status = 0;
    const pid_t child = fork();

    (void)state;
    if (child == 0) {
        cli_signals_catch();
        raise(SIGINT);
        raise(SIGINT);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opt__defaults_stay),
        cmocka_unit_test(opt__values_follow_a_blank_or_an_equals_sign),
        cmocka_unit_test(opt__dashes_and_underscores_are_the_same),
        cmocka_unit_test(opt__aliases),
        cmocka_unit_test(opt__booleans_in_every_spelling),
        cmocka_unit_test(opt__choices),
        cmocka_unit_test(opt__bytes),
        cmocka_unit_test(opt__numbers_are_checked_to_the_end),
        cmocka_unit_test(opt__lists),
        cmocka_unit_test(opt__unknown_ones_get_a_suggestion),
        cmocka_unit_test(opt__required_ones_must_be_given),
        cmocka_unit_test(opt__positional_arguments),
        cmocka_unit_test(usage__shows_groups_and_defaults_in_80_columns),
        cmocka_unit_test(settings__survive_a_round_through_a_file),
        cmocka_unit_test(settings__yield_to_the_command_line),
        cmocka_unit_test(settings__take_a_mapping_as_json),
        cmocka_unit_test(settings__refuse_with_file_and_line),
        cmocka_unit_test(settings__files_that_cannot_be_read),
        cmocka_unit_test(exit__codes_of_every_status),
        cmocka_unit_test(term__formats),
        cmocka_unit_test(term__live_line_is_for_terminals),
        cmocka_unit_test(term__second_signal_ends_the_process),
        cmocka_unit_test(term__first_signal_sets_a_flag),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
