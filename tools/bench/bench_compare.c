#include "tools/bench/bench_compare.h"

#include <math.h>
#include <string.h>

#include "qlora/version.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/data/dataset_handle.h"
#include "tools/bench/bench_data.h"
#include "tools/bench/bench_folder.h"
#include "tools/bench/bench_json.h"
#include "tools/bench/bench_machine.h"
#include "tools/bench/bench_samples.h"
#include "tools/bench/bench_table.h"
#include "tools/bench/bench_task.h"

static const char python[] = "/usr/bin/python3"; /* which Debian's modules
                                                    are for */

/* Who computes what. */
typedef struct side {
    const char *name;
    const char *type; /* of PyTorch; NULL: ours */
    ql_method method; /* ours */
} side;

static const side sides[] = {
    {"qlora: QLoRA", NULL, QL_METHOD_QLORA},
    {"qlora: LoRA, 16-bit weights", NULL, QL_METHOD_LORA},
    {"PyTorch: LoRA, fp32", "float32", QL_METHOD_LORA},
    {"PyTorch: LoRA, bf16", "bfloat16", QL_METHOD_LORA},
};

enum {
    SIDES = sizeof(sides) / sizeof(sides[0])
};

typedef struct session {
    const bench_options *o;
    const cli_common *common;
    const bench_shape *shape;
    char *work, *dense, *coded, *tokens, *script;
    bench_task tasks[SIDES];
} session;

static void ignore(const char *line, void *user)
{
    (void)line;
    (void)user;
}

static ql_status find_torch(void)
{
    bench_args args = {0};
    bench_child c = {.args = &args, .line = ignore};
    ql_status st;

    bench_args_add(&args, "%s", python);
    bench_args_add(&args, "-c");
    bench_args_add(&args, "import torch");
    st = bench_child_run(&c);
    bench_args_free(&args);
    if (st == QL_EIO) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s has no torch; install it: apt install python3-torch",
                python);
    }
    return st;
}

/* The tokens in the order in which our batches take them: that of the data
 * set, which a job does not shuffle. */
static ql_status write_tokens(const session *s)
{
    const bench_options *o = s->o;
    const size_t n = (o->steps + 1) * o->batch_size;
    ql_dataset *data;
    ql_outfile f;
    ql_status st;

    QL_TRY(
        bench_data_make(&data, n, o->max_length, s->shape->V, s->common->seed));
    QL_TRY_DONE(ql_outfile_init(&f, s->tokens));
    for (size_t i = 0; i < n && st == QL_OK; i++) {
        const ql_sample sample = ql_dataset_sample(data, i);

        st = ql_outfile_write(&f, sample.ids, sample.n * sizeof(*sample.ids));
    }
    st = st == QL_OK ? ql_outfile_commit(&f) : st;
    ql_outfile_free(&f);
done:
    ql_dataset_close(&data);
    return st;
}

static ql_status write_all(session *s)
{
    bench_folder f = {
        .shape = s->shape, .seed = s->common->seed, .form = BENCH_FORM_BF16};

    s->dense = ql_path_join(s->work, "dense");
    s->coded = ql_path_join(s->work, "coded");
    s->tokens = ql_path_join(s->work, "tokens");
    s->script = ql_path_join(s->work, "torch_lora.py");
    if (!s->dense || !s->coded || !s->tokens || !s->script) {
        return QL_ENOMEM;
    }
    QL_TRY(ql_dir_make(s->dense));
    QL_TRY(ql_dir_make(s->coded));
    QL_TRY(bench_folder_write(s->dense, &f));
    f.form = BENCH_FORM_NF4;
    QL_TRY(bench_folder_write(s->coded, &f));
    QL_TRY(write_tokens(s));
    return ql_file_write(s->script, ql_torch_lora_py, strlen(ql_torch_lora_py));
}

static void torch_args(const session *s, const side *of, bench_args *a)
{
    const bench_options *o = s->o;

    bench_args_add(a, "%s", python);
    bench_args_add(a, "%s", s->script);
    bench_args_add(a, "%s", s->dense);
    bench_args_add(a, "%s", s->tokens);
    bench_args_add(a, "%s", of->type);
    bench_args_add(a, "%zu", o->max_length);
    bench_args_add(a, "%zu", o->batch_size);
    bench_args_add(a, "%zu", o->lora_r);
    bench_args_add(a, "%d", ql_runtime_threads());
    bench_args_add(a, "%.9g", o->learning_rate);
    bench_args_add(a, "%d", o->gradient_checkpointing);
}

static ql_status run_side(session *s, size_t i)
{
    const side *of = &sides[i];
    bench_task *t = &s->tasks[i];
    bench_args args = {0};
    ql_status st;

    *t = (bench_task){.o = s->o,
                      .common = s->common,
                      .what = of->name,
                      .model =
                          of->method == QL_METHOD_QLORA ? s->coded : s->dense,
                      .method = of->method,
                      .optim = QL_OPTIM_ADAMW_32BIT};
    if (!of->type) {
        return bench_task_run(t);
    }
    torch_args(s, of, &args);
    st = bench_task_run_args(t, &args);
    bench_args_free(&args);
    return st;
}

static double first_loss(const bench_task *t)
{
    return json_number_value(
        json_array_get(json_object_get(t->out, "losses"), 0));
}

static void show(const session *s)
{
    static const bench_column columns[] = {
        {"side", "", -28, BENCH_TEXT},
        {"version", "version", -10, BENCH_TEXT},
        {"attention", "attention", -29, BENCH_TEXT},
        {"tokens_per_second", "tokens/s", 9, 2},
        {"spread_percent", "spread %", 8, 1},
        {"tokens_per_cpu_second", "/cpu s", 9, 2},
        {"peak_mib", "peak, MiB", 9, 1},
        {"anonymous_mib", "private", 9, 1},
        {"trainable", "trainable", 10, 0},
        {"first_loss", "first loss", 10, 5},
    };
    const bench_table t = {"compare", columns,
                           sizeof(columns) / sizeof(columns[0]),
                           s->common->json};
    const double mib = 1 << 20;

    bench_table_head(&t);
    for (size_t i = 0; i < SIDES; i++) {
        const bench_task *task = &s->tasks[i];
        const double tokens = bench_get_real(task->out, "step_tokens");
        const char *version = bench_get_text(task->out, "version");
        double seconds[BENCH_STEPS];
        double cpu[BENCH_STEPS];
        size_t n = 0;
        size_t m = 0;
        bench_rate rate;

        bench_task_steps(task, "seconds", seconds, &n, BENCH_STEPS);
        bench_task_steps(task, "cpu_seconds", cpu, &m, BENCH_STEPS);
        rate = bench_rate_of(seconds, n, tokens);
        bench_table_row(
            &t, (const bench_cell[]){
                    bench_text(sides[i].name),
                    bench_text(sides[i].type ? version : ql_version()),
                    bench_text(sides[i].type
                                   ? bench_get_text(task->out, "attention")
                                   : "ours"),
                    bench_number(rate.median),
                    bench_number(100 * rate.spread),
                    bench_number(bench_rate_of(cpu, m, tokens).median),
                    bench_number((double)task->child.peak / mib),
                    bench_number((double)task->child.anonymous / mib),
                    bench_number(bench_get_real(task->out, "trainable")),
                    bench_number(first_loss(task)),
                });
    }
}

/* The same model and data give the same loss, as far as the type goes. */
static ql_status check(const session *s)
{
    const double ours = first_loss(&s->tasks[0]);

    for (size_t i = 1; i < SIDES; i++) {
        const bool rough = sides[i].type && strcmp(sides[i].type, "float32");
        const double theirs = first_loss(&s->tasks[i]);

        if (!(fabs(theirs / ours - 1) < (rough ? 0.01 : 1e-4))) {
            QL_FAIL(QL_ENUMERIC,
                    "first losses are %.6f (%s) and %.6f (%s), and should be "
                    "the same",
                    ours, sides[0].name, theirs, sides[i].name);
        }
    }
    return QL_OK;
}

static ql_status run(session *s)
{
    QL_TRY(find_torch());
    QL_TRY(write_all(s));
    bench_machine_show(s->common->json, s->o->command);
    for (size_t i = 0; i < SIDES; i++) {
        QL_TRY(run_side(s, i));
    }
    show(s);
    return check(s);
}

ql_status bench_compare(const bench_options *o, const cli_common *common)
{
    session s = {.o = o, .common = common};
    ql_status st;

    QL_TRY(bench_shape_find(&s.shape, o->shape ? o->shape : "220m"));
    QL_TRY(ql_dir_need(bench_work_dir(o), "give a folder to work in"));
    QL_TRY(bench_work_folder(o, &s.work));
    st = run(&s);
    for (size_t i = 0; i < SIDES; i++) {
        json_decref(s.tasks[i].out);
    }
    ql_dir_remove(s.work);
    ql_free(s.work);
    ql_free(s.dense);
    ql_free(s.coded);
    ql_free(s.tokens);
    ql_free(s.script);
    return st;
}
