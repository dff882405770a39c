/* The command line of qlora-bench. */
#ifndef QL_BENCH_OPTIONS_H
#define QL_BENCH_OPTIONS_H

#include "qlora/train.h"
#include "tools/cli/opt.h"

enum {
    BENCH_STEPS = 100, /* most that are measured */
    BENCH_TURNS = 20,  /* most rounds */
    BENCH_NUMBERS = 64 /* most values of an option that is a list */
};

typedef struct bench_numbers {
    size_t of[BENCH_NUMBERS]; /* [n] */
    size_t n;
} bench_numbers;

typedef struct bench_options {
    const char *what;    /* name of the subcommand */
    const char *command; /* the whole command line */

    /* kernels */
    cli_list shapes, tokens;
    size_t repeat;
    bool quick, busy;

    /* attention */
    cli_list head_sizes, sequences;
    size_t heads, kv_heads, length;

    /* train, and those that train in processes of their own */
    const char *shape, *work_dir;
    cli_list family;
    size_t max_length, batch_size, lora_r, steps;
    double lora_dropout;
    bool gradient_checkpointing, profile;
    int compare; /* 0: with nothing */
    uint64_t optimizer_memory;

    /* job, which is such a process */
    const char *model, *data, *eval_data;
    ql_method method;
    ql_weight_type dtype;
    ql_optim optim;
    ql_quant_options quant;
    double learning_rate;
    uint64_t memory;
    bool dry_run;

    /* large */
    cli_list limits;
    size_t rounds; /* 0: as many as is usual */

    /* generate */
    cli_list contexts;
    size_t new_tokens;

    /* memory */
    cli_list measure, predict, real;
    const char *output;

    const cli_opt *table;
} bench_options;

/* The name of a value. Borrowed, constant. */
const char *bench_choice_name(const cli_choice *names, int value);

/* The options of this process, set to their defaults. The group of a row of the
 * table names the subcommands that have it, all if it has none. Borrowed. */
bench_options *bench_options_defaults(void);

/* The values of a list of numbers from 1 to most; name: of the option. Errors:
 * QL_EINVAL. */
ql_status bench_numbers_read(bench_numbers *to, const cli_list *list,
                             const char *name, size_t most);

/* Whether a row is an option of the subcommand. */
bool bench_options_belongs(const cli_opt *row, const char *what);

/* A value of --limits. Errors: QL_EINVAL. */
ql_status bench_bytes_read(uint64_t *to, const char *text, const char *name);

/* Where files for the time of the run go. Borrowed. */
const char *bench_work_dir(const bench_options *opt);

/* A new folder in there. Owned: ql_dir_remove and ql_free *dir, which is NULL
 * after a failure. Errors: QL_EIO and its like, QL_ENOMEM. */
ql_status bench_work_folder(const bench_options *opt, char **dir);

#endif
