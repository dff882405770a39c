#include "tools/bench/bench_trial.h"

#include <string.h>

#include "src/base/clock.h"
#include "src/base/fail.h"
#include "src/convert/adapter_make.h"
#include "tools/bench/bench_folder.h"
#include "tools/bench/bench_race.h"
#include "tools/cli/term.h"

/* What qlora-train makes of its options, for the model and the data. */
static ql_status prepare(bench_trial *t)
{
    const bench_terms *terms = t->terms;
    const ql_optimizer_options optim = {.kind = terms->train.optim,
                                        .memory = terms->o->optimizer_memory,
                                        .page_dir = terms->work_dir};
    const ql_run_options run = {
        .max_tokens = terms->batches->max_tokens,
        .max_length = terms->batches->max_length,
        .max_sequences = terms->batches->max_sequences,
        .training = true,
        .keep_layers =
            terms->train.gradient_checkpointing ? 0 : t->model->config.layers,
        .keep_outputs = t->model->config.layers,
        .profile = terms->o->profile ? &t->profile : NULL,
    };

    QL_TRY(ql_adapter_make(&t->adapter, &t->model->config, &t->model->weights,
                           &terms->train, terms->seed, true));
    ql_model_use_adapter(t->model, &t->adapter);
    QL_TRY(ql_optimizer_open(&t->optimizer, &optim, t->adapter.sizes,
                             t->adapter.n_tensors));
    return ql_run_open(&t->run, t->model, &run);
}

ql_status bench_trial_open(bench_trial *t, const bench_terms *terms)
{
    t->terms = terms;
    QL_TRY(bench_folder_open(&t->model, terms->o, &t->shape, terms->seed));
    return prepare(t);
}

void bench_trial_end(bench_trial *t)
{
    ql_run_close(&t->run);
    ql_optimizer_close(&t->optimizer);
}

void bench_trial_close(bench_trial *t)
{
    bench_trial_end(t);
    ql_model_close(&t->model);
    ql_adapter_free(&t->adapter);
}

static ql_status run(bench_trial *t)
{
    const bench_terms *terms = t->terms;
    const size_t batch = t->done % terms->batches->n;
    ql_step step = {
        .from = batch,
        .to = batch + 1,
        .number = t->done,
        .lr = terms->train.learning_rate,
        .profile = terms->o->profile ? &t->profile : NULL,
    };

    if (cli_interrupted()) {
        QL_FAIL(QL_ECANCELLED, "stopped");
    }
    QL_TRY(ql_step_run(&step, t->run, terms->batches, &t->adapter, t->optimizer,
                       &terms->train));
    t->loss = step.loss.sum / (double)step.loss.count;
    t->done++;
    return QL_OK;
}

ql_status bench_trial_run(bench_trial *t, bench_time *took)
{
    const double start = ql_now_s();
    const double cpu = bench_cpu_s();

    ql_profile_start(&t->profile);
    QL_TRY(run(t));
    ql_profile_mark(&t->profile, QL_WORK_OTHER);
    *took = (bench_time){ql_now_s() - start, bench_cpu_s() - cpu};
    return QL_OK;
}

ql_status bench_trial_step(bench_trial *t)
{
    bench_time took;

    QL_TRY(bench_trial_run(t, &took));
    t->seconds[t->steps] = took.seconds;
    t->cpu[t->steps] = took.cpu;
    t->steps++;
    for (int kind = 0; kind < QL_WORK_KINDS; kind++) {
        t->work[kind] += t->profile.seconds[kind];
    }
    return QL_OK;
}

size_t bench_trial_tokens(const bench_trial *t)
{
    return t->terms->o->batch_size * t->terms->o->max_length;
}

bench_rate bench_trial_rate(const bench_trial *t)
{
    double seconds[BENCH_STEPS];

    memcpy(seconds, t->seconds, t->steps * sizeof(seconds[0]));
    return bench_rate_of(seconds, t->steps, (double)bench_trial_tokens(t));
}

double bench_trial_gflops(const bench_trial *t, double tokens_per_second)
{
    const size_t P = bench_product_parameters(&t->model->config);

    return 4e-9 * (double)P * tokens_per_second;
}
