#include "tools/bench/bench_memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "qlora/runtime.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/room.h"
#include "tools/bench/bench_folder.h"
#include "tools/bench/bench_inputs.h"
#include "tools/bench/bench_json.h"
#include "tools/bench/bench_machine.h"
#include "tools/bench/bench_names.h"
#include "tools/bench/bench_task.h"

/* The ways to train, from the same numbers. */
typedef struct way {
    const char *name, *title;
    ql_method method;
    ql_optim optim;
    ql_weight_type dtype; /* of method full */
    bool paged;           /* the optimizer has less memory than its state */
} way;

static const way ways[] = {
    {"full", "Full fine-tuning, fp32", QL_METHOD_FULL, QL_OPTIM_ADAMW_32BIT,
     QL_WEIGHT_FP32, false},
    {"full-bf16", "Full fine-tuning, bf16", QL_METHOD_FULL,
     QL_OPTIM_ADAMW_TORCH, QL_WEIGHT_BF16, false},
    {"lora", "LoRA on the weights as stored", QL_METHOD_LORA,
     QL_OPTIM_ADAMW_32BIT, QL_WEIGHT_FP32, false},
    {"qlora", "QLoRA", QL_METHOD_QLORA, QL_OPTIM_ADAMW_32BIT, QL_WEIGHT_FP32,
     false},
    {"qlora-paged", "QLoRA, paged optimizer", QL_METHOD_QLORA,
     QL_OPTIM_PAGED_ADAMW_32BIT, QL_WEIGHT_FP32, true},
};

enum {
    WAYS = sizeof(ways) / sizeof(ways[0]),
    PAGED_MIB = 8,     /* memory of a paged optimizer */
    ROUNDS = 3,        /* as is usual */
    RESERVE_SHARE = 16 /* of free memory, that a training leaves alone */
};

static const uint64_t plenty = UINT64_C(1) << 46; /* bytes, for predictions */

typedef struct session {
    const bench_options *o;
    const cli_common *common;
    char *work; /* our folder, removed at the end */
    json_t *root, *measured, *predicted;
} session;

/* What is trained: one that is made, or one that is there. */
typedef struct subject {
    const char *name;
    const bench_shape *shape; /* NULL: real */
    char *dense, *coded;      /* folders: 16 or 32 bits, 4 bits */
} subject;

static ql_status make_folder(const session *s, const char *name, char **dir,
                             const bench_folder *f)
{
    *dir = ql_path_join(s->work, name);
    if (!*dir) {
        return QL_ENOMEM;
    }
    QL_TRY(ql_dir_make(*dir));
    return bench_folder_write(*dir, f);
}

/* Both folders hold the same numbers; hollow ones have their sizes only. */
static ql_status make_subject(const session *s, subject *u, bool hollow)
{
    bench_folder f = {.shape = u->shape,
                      .seed = s->common->seed,
                      .form = BENCH_FORM_BF16,
                      .hollow = hollow};

    QL_TRY(make_folder(s, "dense", &u->dense, &f));
    f.form = BENCH_FORM_NF4;
    return make_folder(s, "coded", &u->coded, &f);
}

/* A real model's 4-bit folder is made as qlora-quantize would. */
static ql_status quantize_subject(const session *s, subject *u, const char *dir)
{
    ql_quantize_options opt;

    u->dense = ql_strdup(QL_TAG_TEXT, dir);
    u->coded = ql_path_join(s->work, "coded");
    if (!u->dense || !u->coded) {
        return QL_ENOMEM;
    }
    ql_quantize_options_init(&opt);
    return ql_quantize_model(dir, u->coded, &opt, NULL);
}

static void drop_subject(subject *u)
{
    if (u->shape && u->dense) {
        ql_dir_remove(u->dense);
    }
    if (u->coded) {
        ql_dir_remove(u->coded);
    }
    ql_free(u->dense);
    ql_free(u->coded);
    *u = (subject){0};
}

static bench_task task_of(const session *s, const subject *u, const way *w,
                          const char *what)
{
    const bool coded = w->method == QL_METHOD_QLORA;
    bench_task t = {.o = s->o,
                    .common = s->common,
                    .what = what,
                    .model = coded ? u->coded : u->dense,
                    .method = w->method,
                    .dtype = w->dtype,
                    .optim = w->optim};

    if (w->paged) {
        bench_args_add(&t.more, "--optimizer-memory=%dM", PAGED_MIB);
    }
    return t;
}

/* Runs a task and names what it is of. *row is Owned: json_decref. */
static ql_status run_task(json_t **row, const subject *u, const way *w,
                          bench_task *t)
{
    const ql_status st = bench_task_run(t);

    if (st != QL_OK) {
        json_decref(t->out);
        return st;
    }
    *row = t->out;
    bench_set_text(*row, "shape", u->name);
    json_object_set_new(*row, "made", json_boolean(u->shape));
    bench_set_text(*row, "way", w->name);
    bench_set_text(*row, "title", w->title);
    return QL_OK;
}

/* Makes the plan only. */
static ql_status plan(json_t **row, const session *s, const subject *u,
                      const way *w)
{
    /* what the process that only planned took itself */
    static const char *const held[] = {
        "peak",        "anonymous",    "held",        "read",      "trainable",
        "stalls",      "weights_read", "stall_s",     "losses",    "seconds",
        "cpu_seconds", "step_tokens",  "eval_before", "eval_after"};
    char what[128];
    bench_task t;

    snprintf(what, sizeof(what), "%s, %s: plan", u->name, w->title);
    t = task_of(s, u, w, what);
    bench_args_add(&t.more, "--dry-run");
    bench_args_add(&t.more, "--memory=%llu", (unsigned long long)plenty);
    QL_TRY(run_task(row, u, w, &t));
    for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++) {
        json_object_del(*row, held[i]);
    }
    bench_set_text(*row, "result", "predicted");
    return QL_OK;
}

/* Bytes of all purposes, each at its most. */
static double held_in_all(const json_t *row)
{
    double sum = 0;

    for (int i = 0; i < QL_PLAN_MAPPED; i++) {
        sum += bench_get_part(row, "held", ql_plan_part_name((ql_plan_part)i));
    }
    return sum;
}

/* What was measured beside what was planned. */
static void complete(json_t *row, const bench_task *t)
{
    const double planned = bench_get_real(row, "plan_anonymous");

    bench_set_text(row, "result", "measured");
    bench_set_size(row, "peak", t->child.peak);
    bench_set_size(row, "anonymous", t->child.anonymous);
    bench_set_size(row, "file", t->child.file);
    bench_set_real(row, "swap",
                   t->child.swap_known ? (double)t->child.swap : (double)NAN);
    bench_set_real(row, "plan_error_percent",
                   100 * (planned / (double)t->child.anonymous - 1));
    bench_set_real(row, "parts_error_percent",
                   100 * (held_in_all(row) / (double)t->child.anonymous - 1));
    bench_set_real(
        row, "first_loss",
        json_number_value(json_array_get(json_object_get(row, "losses"), 0)));
}

/* Trains once more. */
static ql_status measure(const session *s, json_t *rounds, const subject *u,
                         const way *w)
{
    char what[128];
    json_t *row;
    bench_task t;

    snprintf(what, sizeof(what), "%s, %s", u->name, w->title);
    t = task_of(s, u, w, what);
    QL_TRY(run_task(&row, u, w, &t));
    complete(row, &t);
    json_array_append_new(rounds, row);
    return QL_OK;
}

/* An empty list of rounds, if the plan says that there is room; else that plan
 * is what is told, and *rounds is NULL. Owned: json_decref. */
static ql_status prepare(session *s, json_t **rounds, const subject *u,
                         const way *w)
{
    const uint64_t room = ql_memory_room("");
    json_t *row;

    QL_TRY(plan(&row, s, u, w));
    if (bench_get_real(row, "plan_total") >
        (double)(room - room / RESERVE_SHARE)) {
        bench_set_text(row, "note", "not measured: more than is free here");
        json_array_append_new(s->predicted, row);
        return QL_OK;
    }
    json_decref(row);
    *rounds = json_array();
    return QL_OK;
}

/* All ways that fit take their turn, so many times; after a failure the rounds
 * before it are told. */
static ql_status measure_ways(session *s, const subject *u)
{
    const size_t rounds = s->o->rounds > 0 ? s->o->rounds : ROUNDS;
    json_t *of[WAYS] = {NULL};
    ql_status st = QL_OK;

    for (size_t i = 0; i < WAYS && st == QL_OK; i++) {
        st = prepare(s, &of[i], u, &ways[i]);
    }
    for (size_t i = 0; i < WAYS * rounds && st == QL_OK; i++) {
        const size_t w = i % WAYS;

        st = of[w] ? measure(s, of[w], u, &ways[w]) : QL_OK;
    }
    for (size_t i = 0; i < WAYS; i++) {
        json_t *row = NULL;

        if (json_array_size(of[i]) > 0) {
            const ql_status made = bench_memory_rounds(&row, of[i]);

            st = st == QL_OK ? made : st;
        }
        if (row) {
            json_array_append_new(s->measured, row);
        }
        json_decref(of[i]);
    }
    return st;
}

static ql_status plan_ways(session *s, const subject *u)
{
    for (size_t i = 0; i < WAYS; i++) {
        json_t *row;

        QL_TRY(plan(&row, s, u, &ways[i]));
        json_array_append_new(s->predicted, row);
    }
    return QL_OK;
}

static ql_status do_shape(session *s, const char *name, bool only_plan)
{
    subject u = {.name = name};
    ql_status st;

    QL_TRY(bench_shape_find(&u.shape, name));
    u.name = u.shape->name;
    QL_TRY_DONE(make_subject(s, &u, only_plan));
    st = only_plan ? plan_ways(s, &u) : measure_ways(s, &u);
done:
    drop_subject(&u);
    return st;
}

static ql_status do_real(session *s, size_t i)
{
    subject u = {.name = bench_name_real(s->o, i)};
    ql_status st;

    QL_TRY_DONE(quantize_subject(s, &u, s->o->real.items[i]));
    st = measure_ways(s, &u);
done:
    drop_subject(&u);
    return st;
}

static bool is_none(const cli_list *list)
{
    return list->n == 1 && strcmp(list->items[0], "none") == 0;
}

static ql_status do_all(session *s)
{
    const bench_options *o = s->o;

    for (size_t i = 0; i < o->real.n; i++) {
        QL_TRY(do_real(s, i));
    }
    for (size_t i = 0; i < o->measure.n && !is_none(&o->measure); i++) {
        QL_TRY(do_shape(s, o->measure.items[i], false));
    }
    for (size_t i = 0; i < o->predict.n && !is_none(&o->predict); i++) {
        QL_TRY(do_shape(s, o->predict.items[i], true));
    }
    return QL_OK;
}

static bool is_way(const json_t *row, const char *name)
{
    return strcmp(bench_get_text(row, "way"), name) == 0;
}

/* How far the first losses of two rows may be apart, relatively. Sums of 4-bit
 * products and of dense ones round differently; and a real model's weights may
 * be rounded when they become bf16, or another model's in 4 bits. Products with
 * trained weights in fp32 are in fp32, the others in bf16 where that is chosen.
 */
static double most_apart(const json_t *a, const json_t *b)
{
    const bool made = json_is_true(json_object_get(a, "made"));
    const bool rounded =
        !made && (is_way(a, "full-bf16") || is_way(b, "full-bf16"));
    const bool computed = is_way(a, "full") != is_way(b, "full") &&
                          strcmp(ql_runtime_compute(), "bf16") == 0;

    if (!made &&
        bench_get_real(a, "linear_4bit") != bench_get_real(b, "linear_4bit")) {
        return HUGE_VAL;
    }
    return rounded || computed ? 1e-2 : 1e-4;
}

/* Whether rows of a shape begin with the same loss. */
static ql_status check_losses(const session *s)
{
    for (size_t i = 0; i < json_array_size(s->measured); i++) {
        const json_t *a = json_array_get(s->measured, i);

        for (size_t j = 0; j < i; j++) {
            const json_t *b = json_array_get(s->measured, j);
            const double x = bench_get_real(a, "first_loss");
            const double y = bench_get_real(b, "first_loss");

            if (strcmp(bench_get_text(a, "shape"),
                       bench_get_text(b, "shape")) == 0 &&
                !(fabs(x - y) <= most_apart(a, b) * fabs(y))) {
                QL_FAIL(QL_ENUMERIC,
                        "%s: first losses are %.6f (%s) and %.6f (%s), and "
                        "should be the same",
                        bench_get_text(a, "shape"), x, bench_get_text(a, "way"),
                        y, bench_get_text(b, "way"));
            }
        }
    }
    return QL_OK;
}

static ql_status write_files(const session *s)
{
    const char *const names[] = {"memory.json", "memory.csv", "memory.html"};
    char *paths[3];
    ql_status st = QL_ENOMEM;

    for (size_t i = 0; i < 3; i++) {
        paths[i] = ql_path_join(s->o->output, names[i]);
    }
    if (paths[0] && paths[1] && paths[2]) {
        QL_TRY_DONE(ql_dir_make(s->o->output));
        QL_TRY_DONE(ql_json_save(s->root, true, paths[0]));
        QL_TRY_DONE(bench_memory_csv(s->root, paths[1]));
        st = bench_memory_page(s->root, paths[2]);
    }
done:
    for (size_t i = 0; i < 3; i++) {
        ql_free(paths[i]);
    }
    return st;
}

static ql_status tell(const session *s)
{
    bench_memory_published(s->root);
    bench_memory_floors(s->root);
    bench_memory_text(s->root, s->common->json);
    return s->o->output ? write_files(s) : QL_OK;
}

static ql_status run(session *s)
{
    char why[2048];
    ql_status st;

    bench_set_size(s->root, "max_length", s->o->max_length);
    bench_set_size(s->root, "batch_size", s->o->batch_size);
    bench_set_size(s->root, "lora_r", s->o->lora_r);
    bench_set_size(s->root, "steps", s->o->steps);
    json_object_set_new(s->root, "gradient_checkpointing",
                        json_boolean(s->o->gradient_checkpointing));
    json_object_set_new(s->root, "machine", bench_machine_facts(s->o->command));
    json_object_set(s->root, "measured", s->measured);
    json_object_set(s->root, "predicted", s->predicted);
    st = do_all(s);
    if (st == QL_OK) {
        QL_TRY(tell(s));
        return check_losses(s);
    }
    snprintf(why, sizeof(why), "%s", ql_last_error());
    bench_set_text(s->root, "stopped", why);
    if (json_array_size(s->measured) + json_array_size(s->predicted) > 0) {
        tell(s);
    }
    QL_FAIL(st, "%s", why);
}

/* Names are looked at before anything is done. */
static ql_status check_names(const cli_list *list)
{
    const bench_shape *shape;
    const bench_shape *other;

    for (size_t i = 0; i < list->n && !is_none(list); i++) {
        QL_TRY(bench_shape_find(&shape, list->items[i]));
        for (size_t j = 0; j < i; j++) {
            QL_TRY(bench_shape_find(&other, list->items[j]));
            if (shape == other) {
                QL_FAIL(QL_EINVAL, "the shape \"%s\" is there twice",
                        list->items[i]);
            }
        }
    }
    return QL_OK;
}

ql_status bench_memory(const bench_options *o, const cli_common *common)
{
    session s = {.o = o,
                 .common = common,
                 .root = json_object(),
                 .measured = json_array(),
                 .predicted = json_array()};
    ql_status st;

    QL_TRY_DONE(check_names(&o->measure));
    QL_TRY_DONE(check_names(&o->predict));
    QL_TRY_DONE(bench_names_check(o));
    QL_TRY_DONE(bench_inputs_check(o));
    QL_TRY_DONE(ql_dir_need(bench_work_dir(o), "give a folder to work in"));
    QL_TRY_DONE(bench_work_folder(o, &s.work));
    st = run(&s);
    ql_dir_remove(s.work);
done:
    ql_free(s.work);
    json_decref(s.measured);
    json_decref(s.predicted);
    json_decref(s.root);
    return st;
}
