/* The command line of qlora-bench. */
#ifndef QL_BENCH_OPTIONS_H
#define QL_BENCH_OPTIONS_H

#include "tools/cli/opt.h"

enum {
    BENCH_STEPS = 100, /* most that are measured */
    BENCH_NUMBERS = 64 /* most values of an option that is a list */
};

typedef struct bench_numbers {
    size_t of[BENCH_NUMBERS]; /* [n] */
    size_t n;
} bench_numbers;

typedef struct bench_options {
    const char *what; /* name of the subcommand */

    /* kernels */
    cli_list shapes, tokens;
    size_t repeat;
    bool quick, busy;

    /* attention */
    cli_list head_sizes, sequences;
    size_t heads, kv_heads, length;

    /* train */
    const char *shape, *work_dir;
    size_t max_length, batch_size, lora_r, steps;
    double lora_dropout;
    bool gradient_checkpointing, profile;
    uint64_t optimizer_memory;

    const cli_opt *table;
} bench_options;

/* The options of this process, set to their defaults. A row of the table whose
 * group is the name of a subcommand is an option of that one only. Borrowed. */
bench_options *bench_options_defaults(void);

/* The values of a list of numbers from 1 to most; name: of the option. Errors:
 * QL_EINVAL. */
ql_status bench_numbers_read(bench_numbers *to, const cli_list *list,
                             const char *name, size_t most);

#endif
