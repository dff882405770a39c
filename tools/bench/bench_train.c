#include "tools/bench/bench_train.h"

#include <stdio.h>

#include "src/base/clock.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/convert/adapter_make.h"
#include "src/data/dataset_handle.h"
#include "src/train/step.h"
#include "tools/bench/bench_compare.h"
#include "tools/bench/bench_data.h"
#include "tools/bench/bench_folder.h"
#include "tools/bench/bench_machine.h"
#include "tools/bench/bench_peaks.h"
#include "tools/bench/bench_table.h"
#include "tools/cli/term.h"

enum {
    MIB = 1024 * 1024
};

/* A run of the command. */
typedef struct session {
    const bench_options *o;
    bench_shape shape;
    const char *work_dir;
    uint64_t seed;
    bool json;
    ql_train_options train;
    ql_model *model;
    ql_dataset *data;
    ql_batches batches;
    ql_adapter adapter;
    ql_optimizer *optimizer;
    ql_run *run;
    ql_profile profile;
    bench_peaks peaks;
    ql_memory_use memory; /* after the steps */
    double seconds[BENCH_STEPS];
    double loss;             /* of the last step, nats a token */
    ql_train_result trained; /* by ql_train, for what goes on beside steps */
} session;

static const bench_pace pace = {.least = 3, .race_s = 0.5, .sample_s = 0.02};

/* What qlora-train makes of its options, for the model and the data. */
static ql_status prepare(session *s)
{
    const ql_optimizer_options optim = {.kind = s->train.optim,
                                        .memory = s->o->optimizer_memory,
                                        .page_dir = s->work_dir};
    ql_run_options run = {
        .training = true,
        .keep_layers =
            s->train.gradient_checkpointing ? 0 : s->model->config.layers,
        .profile = s->o->profile ? &s->profile : NULL,
    };

    QL_TRY(ql_batches_init(&s->batches, s->data,
                           &(ql_batches_options){.size = s->o->batch_size}));
    QL_TRY(ql_adapter_make(&s->adapter, &s->model->config, &s->model->weights,
                           &s->train, s->seed, true));
    ql_model_use_adapter(s->model, &s->adapter);
    QL_TRY(ql_optimizer_open(&s->optimizer, &optim, s->adapter.sizes,
                             s->adapter.n_tensors));
    run.max_tokens = s->batches.max_tokens;
    run.max_length = s->batches.max_length;
    run.max_sequences = s->batches.max_sequences;
    return ql_run_open(&s->run, s->model, &run);
}

static ql_status step(session *s, size_t number)
{
    ql_step step = {
        .from = number,
        .to = number + 1,
        .number = number,
        .lr = s->train.learning_rate,
        .profile = s->o->profile ? &s->profile : NULL,
    };

    if (cli_interrupted()) {
        QL_FAIL(QL_ECANCELLED, "stopped");
    }
    QL_TRY(ql_step_run(&step, s->run, &s->batches, &s->adapter, s->optimizer,
                       &s->train));
    s->loss = step.loss.sum / (double)step.loss.count;
    return QL_OK;
}

/* One step to warm up, then those that count. */
static ql_status run_steps(session *s)
{
    QL_TRY(step(s, 0));
    ql_profile_start(&s->profile);
    for (size_t i = 0; i < s->o->steps; i++) {
        const double start = ql_now_s();

        QL_TRY(step(s, i + 1));
        s->seconds[i] = ql_now_s() - start;
    }
    ql_memory_read(&s->memory);
    return QL_OK;
}

/* What qlora-train does beside its steps: the same steps once more, as it runs
 * them, with a row of the log for each, and a checkpoint. The folder does not
 * stay. */
static ql_status run_trainer(session *s)
{
    char *dir = ql_path_join(s->work_dir, "qlora-bench-out");
    ql_train_options o = s->train;
    ql_status st = QL_ENOMEM;

    ql_run_close(&s->run);
    ql_optimizer_close(&s->optimizer);
    o.max_steps = (int)s->o->steps;
    o.logging_steps = 1;
    o.per_device_train_batch_size = s->o->batch_size;
    o.gradient_accumulation_steps = 1;
    o.packing = false;
    o.optimizer_memory = s->o->optimizer_memory;
    o.overwrite_output_dir = true;
    o.resume = "off";
    if (dir) {
        st =
            ql_train(s->model, s->data, NULL, dir, &o, NULL, NULL, &s->trained);
        ql_dir_remove(dir);
    }
    ql_free(dir);
    return st;
}

/* Checkpoints are those of one in as many steps as is usual. */
static void show_beside(const session *s, double step_s)
{
    static const bench_column columns[] = {
        {"beside", "beside steps", -28, BENCH_TEXT},
        {"seconds", "s a step", 10, 5},
        {"percent", "%", 6, 2},
    };
    const bench_table t = {"beside", columns, 3, s->json};
    const ql_train_result *r = &s->trained;
    const double n = (double)r->steps;
    const double each[] = {r->data_s / n, r->log_s / n,
                           r->save_s / (double)s->train.save_steps,
                           r->paging_s / n};
    static const char *const names[] = {"data", "log, of each step",
                                        "checkpoint, each 250 steps", "paging",
                                        "together"};
    double sum = 0;

    bench_table_head(&t);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const bool last = i == sizeof(each) / sizeof(each[0]);
        const double seconds = last ? sum : each[i];

        sum += last ? 0 : seconds;
        bench_table_row(&t, (const bench_cell[]){
                                bench_text(names[i]),
                                bench_number(seconds),
                                bench_number(100 * seconds / step_s),
                            });
    }
}

static void show_profile(const session *s)
{
    static const bench_column columns[] = {
        {"work", "work", -12, BENCH_TEXT},
        {"seconds", "s a step", 10, 4},
        {"percent", "%", 6, 1},
    };
    const bench_table t = {"profile", columns, 3, s->json};
    double sum = 0;

    for (int kind = 0; kind < QL_WORK_KINDS; kind++) {
        sum += s->profile.seconds[kind];
    }
    bench_table_head(&t);
    for (int kind = 0; kind < QL_WORK_KINDS; kind++) {
        const double seconds = s->profile.seconds[kind];

        bench_table_row(&t, (const bench_cell[]){
                                bench_text(ql_work_names[kind]),
                                bench_number(seconds / (double)s->o->steps),
                                bench_number(100 * seconds / sum),
                            });
    }
}

static void show(session *s)
{
    static const bench_column columns[] = {
        {"shape", "shape", 0, BENCH_TEXT},
        {"family", "family", 0, BENCH_TEXT},
        {"parameters", "parameters", 0, 0},
        {"product_parameters", "of these in products", 0, 0},
        {"trainable", "trainable", 0, 0},
        {"lora_r", "rank", 0, 0},
        {"lora_dropout", "dropout", 0, 2},
        {"gradient_checkpointing", "gradient checkpointing", 0, 0},
        {"step_tokens", "tokens a step", 0, 0},
        {"steps", "steps", 0, 0},
        {"loss", "loss of the last step", 0, 3},
        {"tokens_per_second", "tokens/s", 0, 2},
        {"spread_percent", "spread, %", 0, 1},
        {"gflops", "GFLOP/s, 4 a product parameter", 0, 1},
        {"fp32_peak_gflops", "fp32 peak, GFLOP/s", 0, 1},
        {"fp32_peak_percent", "share of it, %", 0, 1},
        {"bf16_peak_gflops", "bf16 peak, GFLOP/s", 0, 1},
        {"bf16_peak_percent", "share of it, %", 0, 1},
        {"peak_mib", "largest resident size, MiB", 0, 1},
        {"anonymous_mib", "private at the end, MiB", 0, 1},
        {"file_mib", "mapped files at the end, MiB", 0, 1},
    };
    const bench_table t = {"train", columns,
                           sizeof(columns) / sizeof(columns[0]), s->json};
    const size_t tokens = s->o->batch_size * s->o->max_length;
    const size_t P = bench_product_parameters(&s->model->config);
    const bench_rate rate =
        bench_rate_of(s->seconds, s->o->steps, (double)tokens);
    const double gflops = 4e-9 * (double)P * rate.median;
    const double fp32 = s->peaks.gflops[BENCH_FP32][BENCH_ALL];
    const double bf16 = s->peaks.gflops[BENCH_BF16][BENCH_ALL];
    ql_model_info info;

    ql_model_info_read(s->model, &info);
    bench_table_list(&t, (const bench_cell[]){
                             bench_text(s->shape.name),
                             bench_text(s->shape.model_type),
                             bench_number((double)info.parameters),
                             bench_number((double)P),
                             bench_number((double)s->adapter.count),
                             bench_number((double)s->train.lora_r),
                             bench_number(s->train.lora_dropout),
                             bench_number(s->train.gradient_checkpointing),
                             bench_number((double)tokens),
                             bench_number((double)s->o->steps),
                             bench_number(s->loss),
                             bench_number(rate.median),
                             bench_number(100 * rate.spread),
                             bench_number(gflops),
                             bench_number(fp32),
                             bench_number(100 * gflops / fp32),
                             bench_number(bf16),
                             bench_number(100 * gflops / bf16),
                             bench_number((double)s->memory.peak / MIB),
                             bench_number((double)s->memory.anonymous / MIB),
                             bench_number((double)s->memory.file / MIB),
                         });
    if (s->o->profile) {
        show_profile(s);
        show_beside(s, (double)tokens / rate.median);
    }
}

static ql_status measure(session *s)
{
    bench_machine_show(s->json, s->o->command);
    bench_peaks_measure(&s->peaks, &pace, false, s->json);
    QL_TRY(bench_folder_open(&s->model, s->o, &s->shape, s->seed));
    QL_TRY(bench_data_make(&s->data, (s->o->steps + 1) * s->o->batch_size,
                           s->o->max_length, s->shape.V, s->seed));
    QL_TRY(prepare(s));
    QL_TRY(run_steps(s));
    if (s->o->profile) {
        QL_TRY(run_trainer(s));
    }
    bench_peaks_measure(&s->peaks, &pace, false, s->json);
    show(s);
    return QL_OK;
}

ql_status bench_train(const bench_options *o, const cli_common *common)
{
    session s = {.o = o, .seed = common->seed, .json = common->json};
    const bench_shape *sizes;
    ql_status st;

    if (o->steps == 0) {
        QL_FAIL(QL_EINVAL, "--steps 0: train measures at least one");
    }
    if (o->compare && o->family) {
        QL_FAIL(QL_EINVAL, "--family: leave it out with --compare");
    }
    if (o->compare) {
        return bench_compare(o, common);
    }
    QL_TRY(bench_shape_find(&sizes, o->shape ? o->shape : "220m"));
    QL_TRY(bench_shape_as(&s.shape, sizes, o->family));
    s.work_dir = bench_work_dir(o);
    QL_TRY(ql_dir_need(s.work_dir, "give one with room for the model"));
    ql_train_options_init(&s.train);
    s.train.lora_r = o->lora_r;
    s.train.lora_dropout = o->lora_dropout;
    s.train.gradient_checkpointing = o->gradient_checkpointing;
    s.train.seed = common->seed;
    st = measure(&s);
    ql_run_close(&s.run);
    ql_optimizer_close(&s.optimizer);
    ql_batches_free(&s.batches);
    ql_dataset_close(&s.data);
    ql_model_close(&s.model);
    ql_adapter_free(&s.adapter);
    return st;
}
