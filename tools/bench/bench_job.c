#include "tools/bench/bench_job.h"

#include <stdio.h>

#include "src/base/clock.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/model/model_handle.h"
#include "tools/bench/bench_data.h"
#include "tools/bench/bench_json.h"
#include "tools/bench/bench_race.h"
#include "tools/bench/bench_shapes.h"
#include "tools/choices.h"
#include "tools/cli/term.h"

typedef struct job {
    const bench_options *o;
    ql_train_options train;
    ql_tokenizer *tok;
    ql_dataset *data, *eval;
    ql_model *model;
    json_t *losses, *seconds, *cpu; /* of the steps */
    double at, cpu_at;              /* when the last step ended */
    ql_train_result result;
    size_t trainable, step_tokens;
    uint64_t program; /* most private bytes that the allocator did not know */
} job;

static void mark(job *j)
{
    j->at = ql_now_s();
    j->cpu_at = bench_cpu_s();
}

static void note_program(job *j, const ql_memory_use *memory)
{
    const uint64_t known = ql_alloc_bytes(QL_TAG_COUNT);

    if (memory->anonymous > known + j->program) {
        j->program = memory->anonymous - known;
    }
}

static bool note(const ql_train_event *e, void *user)
{
    job *j = user;

    j->trainable = e->trainable;
    note_program(j, &e->memory);
    if (e->kind == QL_TRAIN_STEP) {
        json_array_append_new(j->losses, json_real(e->loss));
        json_array_append_new(j->seconds, json_real(ql_now_s() - j->at));
        json_array_append_new(j->cpu, json_real(bench_cpu_s() - j->cpu_at));
        j->step_tokens = e->tokens / e->step;
        printf("{\"result\": \"step\", \"step\": %zu, \"of\": %zu}\n", e->step,
               e->total_steps);
        fflush(stdout);
    }
    if (e->kind != QL_TRAIN_BATCH) {
        mark(j);
    }
    return !cli_interrupted();
}

static ql_status open_data(job *j)
{
    const bench_options *o = j->o;
    ql_dataset_options opt;

    if (!o->data) {
        return bench_data_make(&j->data, (o->steps + 1) * o->batch_size,
                               o->max_length, j->model->config.V,
                               j->train.seed);
    }
    ql_dataset_options_init(&opt);
    opt.max_length = o->max_length;
    QL_TRY(ql_tokenizer_open(&j->tok, o->model));
    QL_TRY(ql_dataset_open(&j->data, &o->data, 1, j->tok, &opt));
    return o->eval_data
               ? ql_dataset_open(&j->eval, &o->eval_data, 1, j->tok, &opt)
               : QL_OK;
}

static void set_options(job *j, uint64_t seed)
{
    const bench_options *o = j->o;
    ql_train_options *t = &j->train;

    ql_train_options_init(t);
    t->method = o->method;
    t->dtype = o->dtype;
    t->lora_r = o->lora_r;
    t->lora_dropout = 0;
    t->optim = o->optim;
    t->optimizer_memory = o->optimizer_memory;
    t->learning_rate = o->learning_rate;
    t->lr_scheduler_type = QL_SCHEDULER_CONSTANT;
    t->max_steps = (int)o->steps + 1;
    t->per_device_train_batch_size = o->batch_size;
    t->gradient_accumulation_steps = 1;
    t->packing = false;
    t->shuffle = false;
    t->logging_steps = 1;
    t->save_strategy = QL_STRATEGY_NO;
    t->eval_strategy = o->eval_data ? QL_STRATEGY_STEPS : QL_STRATEGY_NO;
    t->load_best_model_at_end = false;
    t->gradient_checkpointing =
        o->gradient_checkpointing ? QL_CHECKPOINTING_ON : QL_CHECKPOINTING_OFF;
    t->memory = o->memory;
    t->dry_run = o->dry_run;
    t->seed = seed;
    t->sample_prompts = 0;
}

/* The folder that the training writes is there only until it ends. */
static ql_status train(job *j)
{
    ql_status st = QL_ENOMEM;
    char *dir;
    char *out;

    QL_TRY(bench_work_folder(j->o, &dir));
    out = ql_path_join(dir, "out");
    if (out) {
        mark(j);
        st = ql_train(j->model, j->data, j->eval, out, &j->train, note, j,
                      &j->result);
    }
    ql_dir_remove(dir);
    ql_free(out);
    ql_free(dir);
    return st;
}

/* Bytes that this process has had read from disks; -1 where the kernel does
 * not count them. */
static double bytes_read(void)
{
    FILE *f = fopen("/proc/self/io", "r");
    unsigned long long n;
    double found = -1;
    char line[128];

    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "read_bytes: %llu", &n) == 1) {
            found = (double)n;
        }
    }
    if (f) {
        fclose(f);
    }
    return found;
}

/* Memory, planned and held at most, by purpose. */
static void set_memory(json_t *o, const job *j)
{
    const ql_plan *p = &j->result.plan;
    json_t *plan = json_object();
    json_t *held = json_object();
    ql_memory_use use;

    for (int i = 0; i < QL_PLAN_PARTS; i++) {
        bench_set_size(plan, ql_plan_part_name(i), p->bytes[i]);
    }
    for (int tag = 0; tag < QL_TAG_COUNT; tag++) {
        bench_set_size(held, ql_plan_part_name((ql_plan_part)tag),
                       ql_alloc_peak((ql_tag)tag));
    }
    bench_set_size(held, ql_plan_part_name(QL_PLAN_PROGRAM), j->program);
    ql_memory_read(&use);
    bench_set_size(o, "plan_anonymous", p->anonymous);
    bench_set_size(o, "plan_total", p->total);
    bench_set_size(o, "plan_budget", p->budget);
    bench_set_size(o, "keep_layers", p->keep_layers);
    bench_set_size(o, "optimizer_memory", p->optimizer_memory);
    bench_set_size(o, "page_file", p->page_file);
    bench_set_size(o, "weight_memory", p->weight_memory);
    json_object_set_new(o, "plan", plan);
    json_object_set_new(o, "held", held);
    bench_set_size(o, "peak", use.peak);
    bench_set_size(o, "anonymous", j->result.peak_anonymous);
    bench_set_size(o, "weights_read", j->result.weights_read);
    bench_set_size(o, "stalls", j->result.weight_stalls);
    bench_set_real(o, "stall_s", j->result.weight_stall_s);
    bench_set_real(o, "read", bytes_read());
}

static json_t *facts(job *j)
{
    json_t *o = json_object();
    ql_model_info info;

    ql_model_info_read(j->model, &info);
    bench_set_text(o, "result", "job");
    bench_set_text(o, "model", j->o->model);
    bench_set_text(o, "method",
                   bench_choice_name(method_choices, (int)j->o->method));
    bench_set_text(o, "dtype",
                   bench_choice_name(dtype_choices, (int)j->o->dtype));
    bench_set_text(o, "optim",
                   bench_choice_name(optim_choices, (int)j->o->optim));
    bench_set_text(o, "isa", ql_runtime_isa());
    bench_set_size(o, "threads", (uint64_t)ql_runtime_threads());
    bench_set_size(o, "parameters", info.parameters);
    bench_set_size(o, "linear_layers", info.linear_layers);
    bench_set_size(o, "linear_4bit", info.linear_4bit);
    bench_set_size(o, "product_parameters",
                   bench_product_parameters(&j->model->config));
    bench_set_size(o, "trainable", j->trainable);
    bench_set_size(o, "step_tokens", j->step_tokens);
    json_object_set(o, "losses", j->losses);
    json_object_set(o, "seconds", j->seconds);
    json_object_set(o, "cpu_seconds", j->cpu);
    bench_set_real(o, "eval_before", j->result.first_eval_loss);
    bench_set_real(o, "eval_after", j->result.last_eval_loss);
    set_memory(o, j);
    return o;
}

static ql_status tell(job *j)
{
    json_t *o = facts(j);
    const ql_status st = bench_put_line(o);

    json_decref(o);
    return st;
}

static ql_status run(job *j)
{
    ql_model_options model;

    ql_model_options_init(&model);
    model.quantize = j->o->method == QL_METHOD_QLORA;
    model.quant = j->o->quant;
    QL_TRY(ql_model_open(&j->model, j->o->model, &model));
    QL_TRY(open_data(j));
    QL_TRY(train(j));
    return tell(j);
}

ql_status bench_job(const bench_options *o, const cli_common *common)
{
    job j = {.o = o};
    ql_status st;

    if (!o->model) {
        QL_FAIL(QL_EINVAL, "--model: give a model folder");
    }
    QL_TRY(ql_dir_need(bench_work_dir(o), "give a folder to work in"));
    j.losses = json_array();
    j.seconds = json_array();
    j.cpu = json_array();
    set_options(&j, common->seed);
    st = run(&j);
    ql_dataset_close(&j.data);
    ql_dataset_close(&j.eval);
    ql_tokenizer_close(&j.tok);
    ql_model_close(&j.model);
    json_decref(j.losses);
    json_decref(j.seconds);
    json_decref(j.cpu);
    return st;
}
