/* A job in a process of its own, and what came of it. */
#ifndef QL_BENCH_TASK_H
#define QL_BENCH_TASK_H

#include <jansson.h>

#include "tools/bench/bench_child.h"
#include "tools/bench/bench_options.h"
#include "tools/cli/term.h"

typedef struct bench_task {
    const bench_options *o; /* what the job takes of them */
    const cli_common *common;
    const char *what; /* on the live line */
    const char *model;
    ql_method method;
    ql_weight_type dtype;
    ql_optim optim;
    uint64_t memory; /* what it may have in all, enforced; 0: no limit */
    bench_args more; /* further options of the job. Freed by the run */

    bench_limit_kind enforced;
    bench_child child; /* what the kernel said */
    json_t *out;       /* what the job said. Owned: json_decref */
    cli_term term;
} bench_task;

/* Errors: those of bench_child_run; QL_EFORMAT when it said nothing. */
ql_status bench_task_run(bench_task *t);

/* The same with a command line of another program that tells its result as a
 * job does. */
ql_status bench_task_run_args(bench_task *t, const bench_args *args);

/* Copies the numbers of an array that the job said, all but the first, which
 * is to warm up unless it is the only one, behind those that are there. */
void bench_task_steps(const bench_task *t, const char *key, double *to,
                      size_t *n, size_t most);

/* Lets go of what the system keeps of a folder's files, so that whoever opens
 * them next reads them from the disk. */
void bench_forget_files(const char *dir);

#endif
