/* Evaluations: when they are made, which adapter they keep, when they end a
 * run; and runs that begin with an adapter there was before. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/model/model_handle.h"
#include "tests/check/check.h"
#include "tests/check/toy.h"
#include "tests/check/toy_run.h"

enum {
    MOST = 64
};

/* What the events of a run said. */
typedef struct course {
    size_t steps[MOST]; /* of the evaluations */
    double loss[MOST];
    double rate[MOST]; /* learning rate of the step before */
    size_t n;
    double last_rate;
    bool evaluating; /* there was news in between */
} course;

static bool note(const ql_train_event *e, void *user)
{
    course *c = user;

    if (e->kind == QL_TRAIN_EVAL) {
        assert_true(c->n < MOST);
        c->steps[c->n] = e->step;
        c->rate[c->n] = c->last_rate;
        c->loss[c->n++] = e->eval_loss;
        assert_true(e->eval_accuracy >= 0 && e->eval_accuracy <= 1);
    }
    c->last_rate = e->kind == QL_TRAIN_STEP ? e->learning_rate : c->last_rate;
    c->evaluating |=
        e->kind == QL_TRAIN_EVALUATING && e->batches_done == e->batches;
    return true;
}

static course train(const ql_train_options *o, const char *out,
                    ql_train_result *r)
{
    course c = {0};

    check_ok(ql_train(toy.m, toy.data, toy.eval, check_tmp_path(out), o, note,
                      &c, r));
    return c;
}

static void check_steps(const ql_train_options *o, const size_t *want, size_t n)
{
    const course c = train(o, "steps", NULL);

    assert_int_equal(c.n, n);
    assert_memory_equal(c.steps, want, n * sizeof(*want));
    assert_true(c.evaluating || n == 0);
}

static void evaluation__is_made_when_asked_for(void **state)
{
    static const size_t second[] = {0, 2, 4, 6, 8, 9};
    static const size_t ends[] = {0, 9};
    static const size_t epochs[] = {0, 3, 6, 9};
    ql_train_options o;

    (void)state;
    toy_run_options(&o);
    o.save_strategy = QL_STRATEGY_NO;
    o.overwrite_output_dir = true;
    check_steps(&o, second, 6);
    o.eval_steps = 0;
    check_steps(&o, ends, 2);
    o.eval_strategy = QL_STRATEGY_EPOCH;
    check_steps(&o, epochs, 4);
    o.eval_strategy = QL_STRATEGY_NO;
    check_steps(&o, NULL, 0);
}

static float *params(const char *dir, size_t *n)
{
    float *copy;

    check_ok(ql_model_load_adapter(toy.m, dir));
    *n = toy.m->adapter.count;
    copy = malloc(*n * sizeof(float));
    memcpy(copy, toy.m->adapter.param, *n * sizeof(float));
    return copy;
}

static void check_same_adapter(const char *a, const char *b, bool same)
{
    size_t n;
    float *x = params(a, &n);
    float *y = params(b, &n);

    assert_true((memcmp(x, y, n * sizeof(float)) == 0) == same);
    free(x);
    free(y);
}

/* The first evaluation is the best: what is learnt later makes other texts,
 * see setup, less likely. */
static void overfit(ql_train_options *o)
{
    toy_run_options(o);
    o->learning_rate = 0.05;
    o->lr_scheduler_type = QL_SCHEDULER_CONSTANT;
    o->max_grad_norm = 0;
    o->num_train_epochs = 10;
    o->save_total_limit = 0;
}

static size_t best_of(const course *c)
{
    size_t best = 1;

    for (size_t i = 2; i < c->n; i++) {
        best = c->loss[i] < c->loss[best] ? i : best;
    }
    return best;
}

static void best__is_kept(void **state)
{
    char at[64];
    ql_train_options o;
    ql_train_result r;
    size_t best;
    course c;

    (void)state;
    overfit(&o);
    c = train(&o, "best", &r);
    best = best_of(&c);
    assert_true(c.steps[best] < 28); /* else the test shows nothing */
    assert_int_equal(r.best_step, c.steps[best]);
    assert_true(r.best_eval_loss == c.loss[best]);
    snprintf(at, sizeof(at), "best/checkpoint-%zu", c.steps[best]);
    check_same_adapter(check_tmp_path("best"), check_tmp_path(at), true);
    check_same_adapter(check_tmp_path("best/best"), check_tmp_path(at), true);
    check_same_adapter(check_tmp_path("best"),
                       check_tmp_path("best/checkpoint-30"), false);
    o.load_best_model_at_end = false;
    train(&o, "last", &r);
    check_same_adapter(check_tmp_path("last"),
                       check_tmp_path("last/checkpoint-30"), true);
    check_same_adapter(check_tmp_path("last/best"), check_tmp_path(at), true);
}

/* The loss that was told is that of the adapter that was kept. */
static void best__has_the_loss_that_was_told(void **state)
{
    ql_adapter_texts *texts;
    ql_train_options o;
    ql_train_result r;
    ql_train_result again;

    (void)state;
    overfit(&o);
    train(&o, "told", &r);
    check_ok(ql_train_options_adapter(&o, check_tmp_path("told"), &texts));
    o.max_steps = 1;
    train(&o, "told again", &again);
    assert_true(again.first_eval_loss == r.best_eval_loss);
    ql_adapter_texts_close(&texts);
}

static void patience__ends_a_run(void **state)
{
    ql_train_options o;
    ql_train_result r;
    size_t best;
    course c;

    (void)state;
    overfit(&o);
    o.early_stopping_patience = 2;
    c = train(&o, "patience", &r);
    best = best_of(&c);
    assert_int_equal(c.n, best + 3);
    assert_int_equal(r.steps, c.steps[best] + 4);
    assert_true(r.steps < 30);
    check_same_adapter(check_tmp_path("patience"),
                       check_tmp_path("patience/best"), true);
}

static bool stop_at_best(const ql_train_event *e, void *user)
{
    const size_t *step = user;

    return !(e->kind == QL_TRAIN_STEP && e->step == *step + 1);
}

/* Stopped behind its best evaluation, and in the middle of its patience. */
static void patience__lasts_over_a_stop(void **state)
{
    const char *out = check_tmp_path("impatient");
    ql_train_options o;
    ql_train_result r;
    ql_train_result again;

    (void)state;
    overfit(&o);
    o.early_stopping_patience = 2;
    train(&o, "patient", &r);
    check_fails(ql_train(toy.m, toy.data, toy.eval, out, &o, stop_at_best,
                         &r.best_step, NULL),
                QL_ECANCELLED, "stopped");
    check_ok(ql_dir_remove(check_tmp_path("impatient/best")));
    train(&o, "impatient", &again);
    assert_int_equal(again.steps, r.steps);
    assert_int_equal(again.best_step, r.best_step);
    toy_run_same(check_tmp_path("patient"), out);
    toy_run_same_file(check_tmp_path("patient/best"),
                      check_tmp_path("impatient/best"),
                      "adapter_model.safetensors");
}

static bool stop_late(const ql_train_event *e, void *user)
{
    (void)user;
    return !(e->kind == QL_TRAIN_STEP && e->step == 21);
}

/* Each evaluation that is no better halves it, before a stop and after. */
static void rate__falls_on_a_plateau(void **state)
{
    const char *out = check_tmp_path("stopped plateau");
    ql_train_options o;
    double best = HUGE_VAL;
    double rate;
    course c;

    (void)state;
    overfit(&o);
    rate = o.learning_rate;
    o.lr_scheduler_type = QL_SCHEDULER_REDUCE_LR_ON_PLATEAU;
    o.lr_scheduler_kwargs = "{\"patience\": 0, \"factor\": 0.5}";
    c = train(&o, "plateau", NULL);
    for (size_t i = 1; i < c.n; i++) {
        assert_true(c.rate[i] == rate);
        if (c.loss[i] < best * (1 - 1e-4)) {
            best = c.loss[i];
        } else {
            rate *= 0.5;
        }
    }
    assert_true(c.rate[c.n / 2] < o.learning_rate); /* before the stop */
    assert_true(rate < c.rate[c.n / 2]);
    check_fails(
        ql_train(toy.m, toy.data, toy.eval, out, &o, stop_late, NULL, NULL),
        QL_ECANCELLED, "stopped");
    train(&o, "stopped plateau", NULL);
    toy_run_same(check_tmp_path("plateau"), out);
    o.overwrite_output_dir = true;
    check_fails(ql_train(toy.m, toy.data, NULL, out, &o, NULL, NULL, NULL),
                QL_EINVAL, "give --eval-data or --eval-split");
}

/* A run of so many steps to a folder, from a checkpoint if there is one. */
static course go_on(ql_train_options *o, const char *from, const char *out,
                    int steps)
{
    char at[96];
    course c;

    if (from) {
        snprintf(at, sizeof(at), "%s", check_tmp_path(from));
        o->resume = at;
    }
    o->max_steps = steps;
    c = train(o, out, NULL);
    o->resume = NULL;
    return c;
}

/* The evaluation at the end of a run that was to be shorter makes no other run
 * of the longer one: neither its rate nor its patience goes by it. */
static void closing__changes_no_longer_run(void **state)
{
    ql_train_options o;
    course shorter;

    (void)state;
    overfit(&o);
    o.lr_scheduler_type = QL_SCHEDULER_REDUCE_LR_ON_PLATEAU;
    o.lr_scheduler_kwargs = "{\"patience\": 0, \"factor\": 0.5}";
    go_on(&o, NULL, "long", 30);
    shorter = go_on(&o, NULL, "short", 21);
    assert_int_equal(shorter.steps[shorter.n - 1], 21);
    assert_true(shorter.loss[shorter.n - 1] > shorter.loss[best_of(&shorter)]);
    go_on(&o, "short/checkpoint-21", "longer", 25);
    go_on(&o, "longer/checkpoint-25", "longest", 30);
    check_same_adapter(check_tmp_path("long/checkpoint-30"),
                       check_tmp_path("longest/checkpoint-30"), true);
}

static void closing__is_not_waited_for(void **state)
{
    ql_train_options o;
    ql_train_result want;
    ql_train_result got;
    char from[96];
    size_t best;

    (void)state;
    overfit(&o);
    o.early_stopping_patience = 2;
    train(&o, "waits", &want);
    assert_true(want.steps == want.best_step + 4);
    best = want.best_step;
    o.max_steps = (int)best + 1;
    train(&o, "waits less", NULL);
    snprintf(from, sizeof(from), "%s/checkpoint-%zu",
             check_tmp_path("waits less"), best + 1);
    o.resume = from;
    o.max_steps = 30;
    train(&o, "waits again", &got);
    assert_int_equal(got.steps, want.steps);
}

/* A best adapter that an earlier run left is no result of this one. */
static void best__of_another_run_is_removed(void **state)
{
    ql_train_options o;

    (void)state;
    toy_run_options(&o);
    train(&o, "foreign", NULL);
    assert_true(ql_path_exists(check_tmp_path("foreign/best")));
    o.overwrite_output_dir = true;
    o.eval_strategy = QL_STRATEGY_NO;
    train(&o, "foreign", NULL);
    assert_false(ql_path_exists(check_tmp_path("foreign/best")));
}

static void adapter__is_gone_on_from(void **state)
{
    static const char *const targets[] = {"q_proj", "down_proj"};
    ql_adapter_texts *texts;
    ql_adapter_texts *none;
    ql_train_options o;
    ql_train_result first;
    ql_train_result second;

    (void)state;
    toy_run_options(&o);
    o.use_rslora = true;
    o.lora_alpha = 7;
    o.lora_target_modules = (ql_list){targets, 2};
    o.load_best_model_at_end = false;
    train(&o, "first", &first);
    toy_run_options(&o);
    check_ok(ql_train_options_adapter(&o, check_tmp_path("first"), &texts));
    assert_int_equal(o.lora_r, 2);
    assert_true(o.use_rslora && o.lora_alpha == 7);
    assert_int_equal(o.lora_target_modules.n, 2);
    o.load_best_model_at_end = false;
    train(&o, "second", &second);
    assert_true(second.first_eval_loss == first.last_eval_loss);
    assert_true(second.last_loss != first.last_loss);
    o.lora_r = 4;
    check_fails(ql_train(toy.m, toy.data, toy.eval, check_tmp_path("third"), &o,
                         NULL, NULL, NULL),
                QL_EMISMATCH, "the adapter has another lora-r than");
    ql_adapter_texts_close(&texts);
    check_fails(ql_train_options_adapter(&o, check_tmp_path("none"), &none),
                QL_ENOTFOUND, "none");
}

/* Evaluates on texts that have no letter of those that are trained on. */
static int setup(void **state)
{
    static const char text[] =
        "{\"text\": \"vvv qq v\"}\n{\"text\": \"xx vq\"}\n";
    const char *path = check_tmp_path("other.jsonl");
    ql_dataset_options opt;

    toy_run_setup(state);
    ql_dataset_close(&toy.eval);
    check_ok(ql_file_write(path, text, sizeof(text) - 1));
    ql_dataset_options_init(&opt);
    check_ok(ql_dataset_open(&toy.eval, &path, 1, toy.tok, &opt));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evaluation__is_made_when_asked_for),
        cmocka_unit_test(best__is_kept),
        cmocka_unit_test(best__has_the_loss_that_was_told),
        cmocka_unit_test(patience__ends_a_run),
        cmocka_unit_test(patience__lasts_over_a_stop),
        cmocka_unit_test(rate__falls_on_a_plateau),
        cmocka_unit_test(closing__changes_no_longer_run),
        cmocka_unit_test(closing__is_not_waited_for),
        cmocka_unit_test(best__of_another_run_is_removed),
        cmocka_unit_test(adapter__is_gone_on_from),
    };

    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, setup, toy_run_teardown);
}
