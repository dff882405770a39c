/* The command line of qlora-bench. */
#ifndef QL_BENCH_OPTIONS_H
#define QL_BENCH_OPTIONS_H

#include "tools/cli/opt.h"

typedef struct bench_options {
    const char *what; /* name of the subcommand */

    /* kernels */
    cli_list shapes, tokens;
    size_t repeat;
    bool quick, busy;

    const cli_opt *table;
} bench_options;

/* The options of this process, set to their defaults. A row of the table whose
 * group is the name of a subcommand is an option of that one only. Borrowed. */
bench_options *bench_options_defaults(void);

#endif
