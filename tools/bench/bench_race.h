/* Measuring several ways to do a thing against each other: they take turns, so
 * that whatever else the machine does hits all of them alike. */
#ifndef QL_BENCH_RACE_H
#define QL_BENCH_RACE_H

#include "qlora/status.h"
#include "tools/bench/bench_samples.h"

enum {
    BENCH_ROUNDS = 9 /* most samples of a runner */
};

/* Processor time of all threads so far. */
double bench_cpu_s(void);

/* One call of what is measured. */
typedef void bench_fn(void *arg);

typedef struct bench_runner {
    bench_fn *run;
    void *arg;
    int threads;      /* of OpenMP */
    int blas_threads; /* that OpenBLAS may start by itself; 0 and 1: none */
    bool busy;        /* beside the foreign process */

    size_t calls;                 /* in a sample */
    size_t n;                     /* samples so far */
    double seconds[BENCH_ROUNDS]; /* [n]: of a call */
} bench_runner;

typedef struct bench_pace {
    size_t least;    /* rounds that are run in any case, 1 to BENCH_ROUNDS */
    double race_s;   /* after which there are no more than these */
    double sample_s; /* least duration of a sample */
} bench_pace;

/* Runs all runners in turns. Fewer rounds once Ctrl-C was pressed, but at
 * least one. */
void bench_race(bench_runner *r, size_t n, const bench_pace *pace);

/* The foreign process that runners with .busy have beside them: it computes
 * while they are measured, and sleeps otherwise. It ends with us at the latest.
 * Errors: QL_ENOMEM, QL_EIO. */
ql_status bench_busy_start(void);
void bench_busy_stop(void);

#endif
