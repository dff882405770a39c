/* A model with random weights, and training steps on it that are measured.
 * Several may be open at a time and take their steps in turns. */
#ifndef QL_BENCH_TRIAL_H
#define QL_BENCH_TRIAL_H

#include "src/model/adapter.h"
#include "src/train/step.h"
#include "tools/bench/bench_options.h"
#include "tools/bench/bench_samples.h"
#include "tools/bench/bench_shapes.h"

/* What all trials of a measurement share. */
typedef struct bench_terms {
    const bench_options *o;
    const char *work_dir;
    uint64_t seed;
    ql_train_options train;
    ql_batches *batches; /* whose first ones are taken again at the end */
} bench_terms;

/* What a step takes. */
typedef struct bench_time {
    double seconds, cpu; /* cpu: seconds of all processors */
} bench_time;

typedef struct bench_trial {
    const bench_terms *terms;
    bench_shape shape;
    ql_model *model;
    ql_adapter adapter;
    ql_optimizer *optimizer;
    ql_run *run;
    ql_profile profile;          /* of the step at work */
    size_t done;                 /* steps, whether they count or not */
    size_t steps;                /* that count */
    double seconds[BENCH_STEPS]; /* [steps] */
    double cpu[BENCH_STEPS];     /* [steps] */
    double work[QL_WORK_KINDS];  /* seconds, of all of them together */
    double loss;                 /* of the last step, nats a token */
} bench_trial;

/* Makes the model of t->shape, and what qlora-train makes of its options for
 * it; the rest of t is zero. terms is borrowed; t stays where it is until it is
 * closed. Errors: those of bench_folder_open, ql_run_open and
 * ql_optimizer_open; QL_ENOMEM. */
ql_status bench_trial_open(bench_trial *t, const bench_terms *terms);
void bench_trial_close(bench_trial *t);

/* Lets go of what only steps need; the model and its adapter stay. */
void bench_trial_end(bench_trial *t);

/* The next step; it does not count. took: out. Errors: those of ql_step_run;
 * QL_ECANCELLED after Ctrl-C. */
ql_status bench_trial_run(bench_trial *t, bench_time *took);

/* The next step, which counts; there may be BENCH_STEPS. Errors: the same. */
ql_status bench_trial_step(bench_trial *t);

/* Tokens of a step. */
size_t bench_trial_tokens(const bench_trial *t);

/* Of the steps so far, which are at least one: tokens a second. */
bench_rate bench_trial_rate(const bench_trial *t);

/* 10^9 operations a second at so many tokens, by the usual count: 4 for each
 * token and each parameter in products. */
double bench_trial_gflops(const bench_trial *t, double tokens_per_second);

#endif
