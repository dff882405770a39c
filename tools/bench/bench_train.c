#include "tools/bench/bench_train.h"

#include <math.h>
#include <stdio.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/data/dataset_handle.h"
#include "tools/bench/bench_compare.h"
#include "tools/bench/bench_data.h"
#include "tools/bench/bench_families.h"
#include "tools/bench/bench_machine.h"
#include "tools/bench/bench_table.h"

enum {
    MIB = 1024 * 1024
};

/* A run of the command. */
typedef struct session {
    bench_terms terms;
    ql_batches batches;
    ql_dataset *data;
    bench_family *families; /* [n] */
    size_t n;
    bench_trial reference; /* of several: one more of the first */
    bool json;
    bench_peaks peaks;
    ql_memory_use memory;    /* after the steps */
    ql_train_result trained; /* by ql_train, for what goes on beside steps */
} session;

static const bench_pace pace = {.least = 3, .race_s = 0.5, .sample_s = 0.02};

static ql_status open_all(session *s)
{
    const bench_options *o = s->terms.o;

    QL_TRY(bench_data_make(&s->data, (o->steps + 1) * o->batch_size,
                           o->max_length, s->families[0].trial.shape.V,
                           s->terms.seed));
    QL_TRY(ql_batches_init(&s->batches, s->data,
                           &(ql_batches_options){.size = o->batch_size}));
    for (size_t i = 0; i < s->n; i++) {
        QL_TRY(bench_trial_open(&s->families[i].trial, &s->terms));
    }
    return s->n > 1 ? bench_trial_open(&s->reference, &s->terms) : QL_OK;
}

/* One step to warm up, then those that count. */
static ql_status run_steps(session *s)
{
    bench_trial *only = &s->families[0].trial;
    const size_t n = s->terms.o->steps;
    bench_time none;

    if (s->n > 1) {
        return bench_families_run(s->families, s->n, &s->reference, n);
    }
    QL_TRY(bench_trial_run(only, &none));
    for (size_t i = 0; i < n; i++) {
        QL_TRY(bench_trial_step(only));
    }
    return QL_OK;
}

/* What qlora-train does beside its steps: the same steps once more, as it runs
 * them, with a row of the log for each, and a checkpoint. The folder does not
 * stay. */
static ql_status run_trainer(session *s)
{
    const bench_options *opt = s->terms.o;
    char *dir = ql_path_join(s->terms.work_dir, "qlora-bench-out");
    ql_train_options o = s->terms.train;
    ql_status st = QL_ENOMEM;

    bench_trial_end(&s->families[0].trial);
    o.max_steps = (int)opt->steps;
    o.logging_steps = 1;
    o.per_device_train_batch_size = opt->batch_size;
    o.gradient_accumulation_steps = 1;
    o.packing = false;
    o.optimizer_memory = opt->optimizer_memory;
    o.overwrite_output_dir = true;
    o.resume = "off";
    if (dir) {
        st = ql_train(s->families[0].trial.model, s->data, NULL, dir, &o, NULL,
                      NULL, &s->trained);
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
                           r->save_s / (double)s->terms.train.save_steps,
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
    const bench_trial *trial = &s->families[0].trial;
    double sum = 0;

    for (int kind = 0; kind < QL_WORK_KINDS; kind++) {
        sum += trial->work[kind];
    }
    bench_table_head(&t);
    for (int kind = 0; kind < QL_WORK_KINDS; kind++) {
        const double seconds = trial->work[kind];

        bench_table_row(&t, (const bench_cell[]){
                                bench_text(ql_work_names[kind]),
                                bench_number(seconds / (double)trial->steps),
                                bench_number(100 * seconds / sum),
                            });
    }
}

/* Memory is that of the process, which says nothing of one of several. */
static void show_one(const session *s, const bench_trial *trial)
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
    const ql_train_options *train = &s->terms.train;
    const size_t P = bench_product_parameters(&trial->model->config);
    const bench_rate rate = bench_trial_rate(trial);
    const double gflops = bench_trial_gflops(trial, rate.median);
    const double fp32 = s->peaks.gflops[BENCH_FP32][BENCH_ALL];
    const double bf16 = s->peaks.gflops[BENCH_BF16][BENCH_ALL];
    const double unit = s->n == 1 ? MIB : (double)NAN;
    ql_model_info info;

    ql_model_info_read(trial->model, &info);
    bench_table_list(&t, (const bench_cell[]){
                             bench_text(trial->shape.name),
                             bench_text(trial->shape.model_type),
                             bench_number((double)info.parameters),
                             bench_number((double)P),
                             bench_number((double)trial->adapter.count),
                             bench_number((double)train->lora_r),
                             bench_number(train->lora_dropout),
                             bench_number(train->gradient_checkpointing),
                             bench_number((double)bench_trial_tokens(trial)),
                             bench_number((double)trial->steps),
                             bench_number(trial->loss),
                             bench_number(rate.median),
                             bench_number(100 * rate.spread),
                             bench_number(gflops),
                             bench_number(fp32),
                             bench_number(100 * gflops / fp32),
                             bench_number(bf16),
                             bench_number(100 * gflops / bf16),
                             bench_number((double)s->memory.peak / unit),
                             bench_number((double)s->memory.anonymous / unit),
                             bench_number((double)s->memory.file / unit),
                         });
}

static void show(const session *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->n > 1 && !s->json) {
            putchar('\n');
        }
        if (s->families[i].trial.steps > 0) {
            show_one(s, &s->families[i].trial);
        }
    }
    if (s->n > 1) {
        bench_families_show(s->families, s->n, &s->reference, &s->peaks,
                            s->json);
    }
    if (s->n > 1 && s->terms.o->profile) {
        bench_families_profile(s->families, s->n, s->json);
    } else if (s->terms.o->profile) {
        show_profile(s);
    }
    if (s->trained.steps > 0) {
        show_beside(s, (double)bench_trial_tokens(&s->families[0].trial) /
                           bench_trial_rate(&s->families[0].trial).median);
    }
}

static ql_status run(session *s)
{
    const ql_status st = run_steps(s);

    ql_memory_read(&s->memory);
    QL_TRY(st);
    return s->n == 1 && s->terms.o->profile ? run_trainer(s) : QL_OK;
}

/* What was measured before a failure, or Ctrl-C, is told. The first family has
 * the first step. */
static ql_status measure(session *s)
{
    char why[2048];
    ql_status st;

    bench_machine_show(s->json, s->terms.o->command);
    bench_peaks_measure(&s->peaks, &pace, false, s->json);
    QL_TRY(open_all(s));
    st = run(s);
    snprintf(why, sizeof(why), "%s", ql_last_error());
    if (s->families[0].trial.steps > 0) {
        bench_peaks_measure(&s->peaks, &pace, false, s->json);
        show(s);
    }
    if (st != QL_OK) {
        QL_FAIL(st, "%s", why);
    }
    return QL_OK;
}

/* A trial of each family, none of them open. */
static ql_status choose(session *s)
{
    const bench_options *o = s->terms.o;
    const bench_shape *sizes;

    QL_TRY(bench_shape_find(&sizes, o->shape ? o->shape : "220m"));
    s->n = o->family.n ? o->family.n : 1;
    s->families = ql_calloc(QL_TAG_MISC, s->n, sizeof(*s->families));
    if (!s->families) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < s->n; i++) {
        QL_TRY(bench_shape_as(&s->families[i].trial.shape, sizes,
                              o->family.n ? o->family.items[i] : NULL));
    }
    s->reference.shape = s->families[0].trial.shape;
    return ql_dir_need(s->terms.work_dir, "give one with room for the model");
}

static void set_options(ql_train_options *t, const bench_options *o,
                        uint64_t seed)
{
    ql_train_options_init(t);
    t->lora_r = o->lora_r;
    t->lora_dropout = o->lora_dropout;
    t->gradient_checkpointing = o->gradient_checkpointing;
    t->seed = seed;
}

static void close_all(session *s)
{
    for (size_t i = 0; s->families && i < s->n; i++) {
        bench_trial_close(&s->families[i].trial);
    }
    bench_trial_close(&s->reference);
    ql_free(s->families);
    ql_batches_free(&s->batches);
    ql_dataset_close(&s->data);
}

ql_status bench_train(const bench_options *o, const cli_common *common)
{
    session s = {.terms = {.o = o,
                           .work_dir = bench_work_dir(o),
                           .seed = common->seed,
                           .batches = &s.batches},
                 .json = common->json};
    ql_status st;

    if (o->steps == 0) {
        QL_FAIL(QL_EINVAL, "--steps 0: train measures at least one");
    }
    if (o->compare && o->family.n) {
        QL_FAIL(QL_EINVAL, "--family: leave it out with --compare");
    }
    if (o->compare) {
        return bench_compare(o, common);
    }
    set_options(&s.terms.train, o, common->seed);
    st = choose(&s);
    st = st == QL_OK ? measure(&s) : st;
    close_all(&s);
    return st;
}
