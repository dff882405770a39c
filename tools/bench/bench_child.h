/* A command in a process of its own, whose memory is watched from here. */
#ifndef QL_BENCH_CHILD_H
#define QL_BENCH_CHILD_H

#include "tools/bench/bench_limit.h"
#include "tools/cli/common.h"

enum {
    BENCH_ARGS = 64
};

/* A command line. */
typedef struct bench_args {
    char *items[BENCH_ARGS + 1]; /* ends with NULL */
    size_t n;
    bool incomplete; /* without memory for one */
} bench_args;

void bench_args_add(bench_args *a, const char *fmt, ...) QL_PRINTF(2, 3);
void bench_args_free(bench_args *a);

/* This program with a subcommand, and with what all commands share. */
void bench_args_self(bench_args *a, const char *what, const cli_common *common);

/* Takes a line of what the command writes, without its newline. */
typedef void bench_line_fn(const char *line, void *user);

typedef struct bench_child {
    const bench_args *args;
    const bench_limit *limit; /* or NULL */
    bench_line_fn *line;
    void *user; /* handed to line */

    /* what the kernel said of it, the largest seen; bytes */
    uint64_t peak, anonymous, file, swap;
    bool swap_known;
    uint64_t group_peak; /* of the limit's group */
    double seconds;
} bench_child;

/* Runs it to its end. Errors, after its own sentence on stderr: QL_ENOMEM when
 * it was killed; QL_ECANCELLED when it was interrupted; of this program, the
 * kind that its exit code stands for; else QL_EIO. */
ql_status bench_child_run(bench_child *c);

#endif
