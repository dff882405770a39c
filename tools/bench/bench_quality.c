#include "tools/bench/bench_quality.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "tools/bench/bench_inputs.h"
#include "tools/bench/bench_json.h"
#include "tools/bench/bench_machine.h"
#include "tools/bench/bench_names.h"
#include "tools/bench/bench_samples.h"
#include "tools/bench/bench_table.h"
#include "tools/bench/bench_task.h"

/* A form of the weights, and what is trained on them. */
typedef struct form {
    const char *name, *title;
    ql_method method;
    const char *type, *double_quant; /* of method qlora */
} form;

static const form forms[] = {
    {"full", "as stored, full fine-tuning", QL_METHOD_FULL, NULL, NULL},
    {"lora", "as stored, LoRA", QL_METHOD_LORA, NULL, NULL},
    {"nf4", "NF4, QLoRA", QL_METHOD_QLORA, "nf4", "false"},
    {"nf4-dq", "NF4 + double quantization, QLoRA", QL_METHOD_QLORA, "nf4",
     "true"},
    {"fp4", "FP4, QLoRA", QL_METHOD_QLORA, "fp4", "false"},
    {"fp4-dq", "FP4 + double quantization, QLoRA", QL_METHOD_QLORA, "fp4",
     "true"},
};

enum {
    FORMS = sizeof(forms) / sizeof(forms[0]),
    ROUNDS = 3,      /* as is usual */
    FULL_SLOWER = 10 /* the rate of adapters is too much for all weights */
};

typedef struct session {
    const bench_options *o;
    const cli_common *common;
    json_t *root, *rows, *claims;
} session;

static double rate_of(const session *s, const form *f)
{
    return s->o->learning_rate /
           (f->method == QL_METHOD_FULL ? FULL_SLOWER : 1);
}

/* Trains a form of folder i, with adapters that begin as those of a round do.
 * What the first training of a folder says of the data and the model is true of
 * all. *out is Owned: json_decref. */
static ql_status train(const session *s, json_t **out, size_t i, const form *f,
                       size_t round)
{
    cli_common common = *s->common;
    char what[160];
    bench_task t = {.o = s->o,
                    .common = &common,
                    .what = what,
                    .model = s->o->real.items[i],
                    .method = f->method,
                    .optim = QL_OPTIM_ADAMW_32BIT};
    ql_status st;

    common.seed += round;
    snprintf(what, sizeof(what), "%s, %s", bench_name_real(s->o, i), f->title);
    bench_args_add(&t.more, "--data=%s", s->o->data);
    bench_args_add(&t.more, "--eval-data=%s", s->o->eval_data);
    bench_args_add(&t.more, "--learning-rate=%.9g", rate_of(s, f));
    if (f != forms && !common.quiet) {
        bench_args_add(&t.more, "--quiet");
    }
    if (f->type) {
        bench_args_add(&t.more, "--quant-type=%s", f->type);
        bench_args_add(&t.more, "--double-quant=%s", f->double_quant);
    }
    st = bench_task_run(&t);
    *out = t.out;
    return st;
}

/* All rounds of a form of folder i: how far they end apart, and where the
 * middle one does. Full fine-tuning begins as the others do, so that its rounds
 * would be the same. */
static ql_status run_form(session *s, size_t i, const form *f)
{
    const size_t rounds = f->method == QL_METHOD_FULL ? 1
                          : s->o->rounds              ? s->o->rounds
                                                      : ROUNDS;
    json_t *list = json_array();
    json_t *row = NULL;
    double after[BENCH_TURNS];
    ql_status st = QL_OK;

    for (size_t round = 0; round < rounds && st == QL_OK; round++) {
        json_t *out = NULL;

        st = train(s, &out, i, f, round);
        after[round] = bench_get_real(out, "eval_after");
        json_array_append_new(list, json_real(after[round]));
        row = row ? row : json_incref(out);
        json_decref(out);
    }
    if (st == QL_OK) {
        bench_sort(after, rounds);
        bench_set_text(row, "result", "quality");
        bench_set_text(row, "model", bench_name_real(s->o, i));
        bench_set_text(row, "form", f->name);
        bench_set_text(row, "title", f->title);
        bench_set_real(row, "learning_rate", rate_of(s, f));
        bench_set_real(row, "eval_after", after[(rounds - 1) / 2]);
        bench_set_real(row, "after_least", after[0]);
        bench_set_real(row, "after_most", after[rounds - 1]);
        json_object_set(row, "eval_afters", list);
        json_array_append(s->rows, row);
    }
    json_decref(list);
    json_decref(row);
    return st;
}

static const json_t *row_of(const session *s, const char *model,
                            const char *name)
{
    for (size_t i = 0; i < json_array_size(s->rows); i++) {
        const json_t *row = json_array_get(s->rows, i);

        if (strcmp(bench_get_text(row, "model"), model) == 0 &&
            strcmp(bench_get_text(row, "form"), name) == 0) {
            return row;
        }
    }
    return NULL;
}

/* A loss of a form of a model. */
static double loss_of(const session *s, const char *model, const char *name,
                      const char *key)
{
    return bench_get_real(row_of(s, model, name), key);
}

/* What is known: the loss of a exceeds that of b by less than most, %. */
static const struct {
    const char *what, *a, *b, *key;
    double most;
} claims[] = {
    {"NF4 loses no more than FP4", "nf4", "fp4", "eval_before", 0},
    {"double quantization is harmless to NF4", "nf4-dq", "nf4", "eval_before",
     0.5},
    {"double quantization is harmless to FP4", "fp4-dq", "fp4", "eval_before",
     0.5},
    {"4 bits cost less than 10 % before training", "nf4-dq", "lora",
     "eval_before", 10},
    {"after training, QLoRA is within 1 % of LoRA", "nf4-dq", "lora",
     "eval_after", 1},
    {"after training, LoRA is within 5 % of full fine-tuning", "lora", "full",
     "eval_after", 5},
    {"after training, NF4 is no worse than FP4", "nf4-dq", "fp4-dq",
     "eval_after", 0},
};

/* The loss at the end of a round; one that has no rounds has one for all. */
static double round_of(const json_t *row, size_t round)
{
    const json_t *list = json_object_get(row, "eval_afters");
    const size_t n = json_array_size(list);

    return json_number_value(json_array_get(list, round < n ? round : n - 1));
}

/* By how much the loss of a exceeds that of b in the rounds, %, and whether
 * what is known of that holds in all of them. */
static void set_range(json_t *o, const json_t *a, const json_t *b)
{
    const size_t n = json_array_size(json_object_get(a, "eval_afters"));
    double least = HUGE_VAL;
    double most = -HUGE_VAL;

    for (size_t i = 0; i < n; i++) {
        const double excess = 100 * (round_of(a, i) / round_of(b, i) - 1);

        least = fmin(least, excess);
        most = fmax(most, excess);
    }
    bench_set_real(o, "excess_least", least);
    bench_set_real(o, "excess_most", most);
    json_object_set_new(
        o, "holds_always",
        json_boolean(most <= bench_get_real(o, "most_percent")));
}

static void judge(session *s, const char *model)
{
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        const double a = loss_of(s, model, claims[i].a, claims[i].key);
        const double b = loss_of(s, model, claims[i].b, claims[i].key);
        const double excess = 100 * (a / b - 1);
        json_t *o;

        if (!isfinite(excess)) {
            continue;
        }
        o = json_object();
        bench_set_text(o, "result", "claim");
        bench_set_text(o, "model", model);
        bench_set_text(o, "what", claims[i].what);
        bench_set_text(o, "a", claims[i].a);
        bench_set_text(o, "b", claims[i].b);
        bench_set_text(o, "key", claims[i].key);
        bench_set_real(o, "excess_percent", excess);
        bench_set_real(o, "most_percent", claims[i].most);
        json_object_set_new(o, "holds", json_boolean(excess <= claims[i].most));
        if (strcmp(claims[i].key, "eval_after") == 0) {
            set_range(o, row_of(s, model, claims[i].a),
                      row_of(s, model, claims[i].b));
        }
        json_array_append_new(s->claims, o);
    }
}

static void show_losses(const session *s)
{
    static const bench_column columns[] = {
        {"model", "model", -13, BENCH_TEXT},
        {"title", "weights, method", -33, BENCH_TEXT},
        {"trainable", "trainable", 10, 0},
        {"eval_before", "before", 9, 5},
        {"before_percent", "to stored, %", 12, 2},
        {"eval_after", "after", 9, 5},
        {"after_percent", "to LoRA, %", 10, 2},
        {"after_least", "least", 9, 5},
        {"after_most", "most", 9, 5},
    };
    const bench_table t = {"quality", columns, 9, false};

    bench_table_head(&t);
    for (size_t i = 0; i < json_array_size(s->rows); i++) {
        const json_t *row = json_array_get(s->rows, i);
        const char *model = bench_get_text(row, "model");
        const double before = bench_get_real(row, "eval_before");
        const double after = bench_get_real(row, "eval_after");
        const double base = loss_of(s, model, "lora", "eval_before");
        const double lora = loss_of(s, model, "lora", "eval_after");

        bench_table_row(&t,
                        (const bench_cell[]){
                            bench_text(model),
                            bench_text(bench_get_text(row, "title")),
                            bench_number(bench_get_real(row, "trainable")),
                            bench_number(before),
                            bench_number(100 * (before / base - 1)),
                            bench_number(after),
                            bench_number(100 * (after / lora - 1)),
                            bench_number(bench_get_real(row, "after_least")),
                            bench_number(bench_get_real(row, "after_most")),
                        });
    }
}

const char *bench_quality_verdict(const json_t *o)
{
    if (!json_is_true(json_object_get(o, "holds"))) {
        return "our figures disagree";
    }
    return json_is_false(json_object_get(o, "holds_always"))
               ? "not in all rounds"
               : "so it is";
}

static void show_claims(const session *s)
{
    for (size_t i = 0; i < json_array_size(s->claims); i++) {
        const json_t *o = json_array_get(s->claims, i);

        printf("%s%s: %s: %+.2f %%",
               i ? "" : "\nWhat is known, and what is found here\n",
               bench_get_text(o, "model"), bench_get_text(o, "what"),
               bench_get_real(o, "excess_percent"));
        if (json_object_get(o, "excess_least")) {
            printf(" (%+.2f to %+.2f)", bench_get_real(o, "excess_least"),
                   bench_get_real(o, "excess_most"));
        }
        printf(" of at most %g %%: %s\n", bench_get_real(o, "most_percent"),
               bench_quality_verdict(o));
    }
}

static ql_status write_files(const session *s)
{
    char *json = ql_path_join(s->o->output, "quality.json");
    char *page = ql_path_join(s->o->output, "quality.html");
    ql_status st = QL_ENOMEM;

    if (json && page) {
        QL_TRY_DONE(ql_dir_make(s->o->output));
        QL_TRY_DONE(ql_json_save(s->root, true, json));
        st = bench_quality_page(s->root, page);
    }
done:
    ql_free(json);
    ql_free(page);
    return st;
}

static ql_status measure(session *s)
{
    const bench_options *o = s->o;
    ql_status st = QL_OK;

    for (size_t i = 0; i < o->real.n && st == QL_OK; i++) {
        for (size_t f = 0; f < FORMS && st == QL_OK; f++) {
            st = run_form(s, i, &forms[f]);
        }
    }
    return st;
}

/* What is known is held against all that was measured. */
static ql_status tell(session *s)
{
    for (size_t i = 0; i < s->o->real.n; i++) {
        judge(s, bench_name_real(s->o, i));
    }
    if (s->common->json) {
        bench_put_line(json_object_get(s->root, "machine"));
        bench_put_lines(s->rows);
        bench_put_lines(s->claims);
    } else {
        bench_machine_show(false, s->o->command);
        show_losses(s);
        show_claims(s);
    }
    return s->o->output ? write_files(s) : QL_OK;
}

static ql_status run(session *s)
{
    const bench_options *o = s->o;
    char why[2048];
    ql_status st;

    bench_set_size(s->root, "max_length", o->max_length);
    bench_set_size(s->root, "batch_size", o->batch_size);
    bench_set_size(s->root, "lora_r", o->lora_r);
    bench_set_size(s->root, "steps", o->steps + 1);
    bench_set_real(s->root, "learning_rate", o->learning_rate);
    bench_set_size(s->root, "rounds", o->rounds ? o->rounds : ROUNDS);
    bench_set_text(s->root, "data", bench_name_of(o->data));
    bench_set_text(s->root, "eval_data", bench_name_of(o->eval_data));
    json_object_set_new(s->root, "machine", bench_machine_facts(o->command));
    json_object_set(s->root, "rows", s->rows);
    json_object_set(s->root, "claims", s->claims);
    st = measure(s);
    if (st == QL_OK) {
        return tell(s);
    }
    snprintf(why, sizeof(why), "%s", ql_last_error());
    bench_set_text(s->root, "stopped", why);
    if (json_array_size(s->rows) > 0) {
        tell(s);
    }
    QL_FAIL(st, "%s", why);
}

ql_status bench_quality(const bench_options *o, const cli_common *common)
{
    session s = {.o = o, .common = common};
    ql_status st;

    if (o->real.n == 0 || !o->data || !o->eval_data) {
        QL_FAIL(QL_EINVAL, "quality needs --real, --data and --eval-data");
    }
    QL_TRY(bench_names_check(o));
    QL_TRY(bench_inputs_check(o));
    QL_TRY(ql_dir_need(bench_work_dir(o), "give a folder to work in"));
    s.root = json_object();
    s.rows = json_array();
    s.claims = json_array();
    st = run(&s);
    json_decref(s.rows);
    json_decref(s.claims);
    json_decref(s.root);
    return st;
}
