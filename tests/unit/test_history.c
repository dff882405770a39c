/* The log of a run: what it adds up, and the files that are written from it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/rng.h"
#include "src/train/metrics.h"
#include "src/train/trainer_state.h"
#include "tests/check/check.h"

enum {
    STEPS = 40,
    MAX_FILE = 1 << 20
};

static void add_step(ql_history *h, size_t step, bool log)
{
    const double x = ql_rng_unit(check_seed(), step);
    const ql_history_sum s = {
        .loss = {.sum = 20 * x / 3, .count = 10, .hits = 4},
        .steps = 1,
        .tokens = 30,
        .seconds = x / 7};
    ql_train_event e = {.kind = QL_TRAIN_STEP,
                        .step = step,
                        .epoch = (double)step / 7,
                        .learning_rate = x * 1e-4,
                        .grad_norm = x * 1e3,
                        .elapsed_s = (double)step / 3,
                        .memory = {.peak = 1000 + step, .resident = step},
                        .log = log};

    ql_history_step(h, &s, &e);
    if (log) {
        check_ok(ql_history_add(h, &e));
    }
}

static void add_eval(ql_history *h, size_t step, double loss)
{
    const ql_train_event e = {.kind = QL_TRAIN_EVAL,
                              .step = step,
                              .log = true,
                              .eval_loss = loss,
                              .eval_accuracy = 1 / (1 + loss),
                              .eval_tokens = 77,
                              .eval_runtime_s = loss / 3};

    check_ok(ql_history_add(h, &e));
}

static void fill(ql_history *h)
{
    const ql_train_event done = {.kind = QL_TRAIN_DONE,
                                 .step = STEPS,
                                 .log = true,
                                 .loss = 1.0 / 3,
                                 .elapsed_s = 2.0 / 3,
                                 .tokens_per_second = 1e6 / 7};

    ql_history_init(h);
    add_eval(h, 0, 3.25);
    for (size_t i = 1; i <= STEPS; i++) {
        add_step(h, i, i % 3 == 0);
        if (i % 10 == 0) {
            add_eval(h, i, 2 + fabs((double)i - 20) / 30);
        }
    }
    check_ok(ql_history_add(h, &done));
}

static ql_trainer_state facts(const ql_train_options *o)
{
    return (ql_trainer_state){.opt = o,
                              .length = {.steps_per_epoch = 7, .total = STEPS},
                              .best_checkpoint =
                                  "out \"quoted\"/checkpoint-20"};
}

static void history__tells_of_the_steps_since_the_last_row(void **state)
{
    ql_train_event e = {.kind = QL_TRAIN_STEP};
    ql_history h;

    (void)state;
    ql_history_init(&h);
    ql_history_step(
        &h, &(ql_history_sum){{6, 2, 1}, .steps = 1, 5, .seconds = 2}, &e);
    assert_true(e.loss == 3 && e.accuracy == 0.5);
    assert_true(e.tokens_per_second == 2.5);
    assert_int_equal(e.tokens, 5);
    ql_history_step(
        &h, &(ql_history_sum){{2, 6, 1}, .steps = 1, 15, .seconds = 3}, &e);
    assert_true(e.loss == 1 && e.accuracy == 0.25);
    assert_true(e.tokens_per_second == 4);
    check_ok(ql_history_add(&h, &e));
    ql_history_step(&h, &(ql_history_sum){{8, 4, 4}, .steps = 1, 1}, &e);
    assert_true(e.loss == 2 && e.accuracy == 1);
    assert_true(e.tokens_per_second == 0); /* no time went by */
    assert_int_equal(e.tokens, 21);
    assert_int_equal(h.all.steps, 3);
    assert_int_equal(h.all.loss.count, 12);
    ql_history_free(&h);
}

static void history__finds_the_best_evaluation(void **state)
{
    ql_history h;

    (void)state;
    ql_history_init(&h);
    assert_null(ql_history_best(&h));
    add_step(&h, 1, true);
    assert_null(ql_history_best(&h));
    add_eval(&h, 1, 3);
    add_eval(&h, 2, 2);
    add_eval(&h, 3, 2);
    add_eval(&h, 4, 2.5);
    assert_int_equal(ql_history_best(&h)->step, 2);
    ql_history_free(&h);
}

/* Two logs are the same to the bit where they must be: all numbers are written
 * by which row and sum they stand in, with digits that tell any two apart. */
static void check_same(const ql_history *a, const ql_history *b)
{
    const char *paths[] = {check_tmp_path("a.json"), check_tmp_path("b.json")};
    char *text[2];
    ql_train_options o;
    ql_trainer_state s;
    size_t n;

    assert_int_equal(ql_history_size(a), ql_history_size(b));
    ql_train_options_init(&o);
    s = facts(&o);
    for (int i = 0; i < 2; i++) {
        check_ok(ql_trainer_state_save(&s, i ? b : a, paths[i]));
        check_ok(ql_file_read(paths[i], MAX_FILE, &text[i], &n));
    }
    assert_string_equal(text[0], text[1]);
    ql_free(text[0]);
    ql_free(text[1]);
    for (size_t i = 0; i < ql_history_size(a); i++) {
        const ql_train_event *x = ql_history_row(a, i);
        const ql_train_event *y = ql_history_row(b, i);

        assert_int_equal(x->kind, y->kind);
        assert_true(x->log && y->log);
    }
}

static void trainer_state__gives_the_log_back(void **state)
{
    const char *path = check_tmp_path("trainer_state.json");
    ql_train_options o;
    ql_trainer_state s;
    ql_history a;
    ql_history b;

    (void)state;
    ql_train_options_init(&o);
    s = facts(&o);
    fill(&a);
    assert_int_equal(a.last.steps, 1); /* some are not in a row yet */
    check_ok(ql_trainer_state_save(&s, &a, path));
    ql_history_init(&b);
    check_ok(ql_trainer_state_load(&b, path));
    check_same(&a, &b);
    ql_history_free(&b);
    ql_history_free(&a);

    ql_history_init(&a); /* nothing happened yet */
    check_ok(ql_trainer_state_save(&s, &a, path));
    check_ok(ql_trainer_state_load(&b, path));
    check_same(&a, &b);
    ql_history_free(&b);
    ql_history_free(&a);
}

/* What other programs look for, and that it is written as they write it. */
static void trainer_state__is_as_transformers_writes_it(void **state)
{
    const char *path = check_tmp_path("trainer_state.json");
    const char *again = check_tmp_path("again.json");
    ql_train_options o;
    ql_trainer_state s;
    ql_history h;
    json_t *v;
    char *text[2];
    size_t n[2];

    (void)state;
    ql_train_options_init(&o);
    s = facts(&o);
    fill(&h);
    check_ok(ql_trainer_state_save(&s, &h, path));
    check_ok(ql_json_load(&v, path, MAX_FILE));
    assert_int_equal(json_integer_value(json_object_get(v, "global_step")), 40);
    assert_int_equal(json_integer_value(json_object_get(v, "max_steps")), 40);
    assert_int_equal(json_integer_value(json_object_get(v, "num_train_epochs")),
                     6);
    assert_true(json_real_value(json_object_get(v, "best_metric")) == 2);
    assert_string_equal(
        json_string_value(json_object_get(v, "best_model_checkpoint")),
        s.best_checkpoint);
    check_ok(ql_json_save(v, true, again)); /* json.dumps, sorted, indented */
    check_ok(ql_file_read(path, MAX_FILE, &text[0], &n[0]));
    check_ok(ql_file_read(again, MAX_FILE, &text[1], &n[1]));
    assert_string_equal(text[0], text[1]);
    ql_free(text[0]);
    ql_free(text[1]);
    json_decref(v);
    ql_history_free(&h);
}

static void check_refused(const char *text, const char *why)
{
    const char *path = check_tmp_path("damaged.json");
    ql_history h;

    check_ok(ql_file_write(path, text, strlen(text)));
    ql_history_init(&h);
    check_fails(ql_trainer_state_load(&h, path), QL_EFORMAT, why);
    assert_int_equal(ql_history_size(&h), 0);
    ql_history_free(&h);
}

#define SUMS                                                                   \
    "\"stateful_callbacks\": {\"QloraHistory\": {\"attributes\": {\"all\": "   \
    "{\"hits\": 1, \"loss_sum\": 1, \"seconds\": 1, \"steps\": 1, "            \
    "\"tokens\": 1, \"trained_tokens\": 1}}}}"

static void trainer_state__that_is_damaged_is_refused(void **state)
{
    (void)state;
    check_refused("{}", "not the log of a run of ours");
    check_refused("[]", "must be a JSON object");
    check_refused("{\"log_history\": []}", "not the log of a run of ours");
    check_refused("{\"log_history\": 1, " SUMS "}", "not the log of a run");
    check_refused("{\"log_history\": [1], " SUMS "}", "no object");
    check_refused("{\"log_history\": [{}], " SUMS "}", "\"epoch\" is missing");
    check_refused("{\"log_history\": [{\"loss\": \"x\"}], " SUMS "}",
                  "\"elapsed\" is missing");
    check_refused("{\"log_history\": [{\"train_loss\": \"x\", \"epoch\": 1, "
                  "\"num_tokens\": 1, \"peak_rss_bytes\": 1, "
                  "\"rss_bytes\": 1, \"step\": 1}], " SUMS "}",
                  "\"train_loss\" must be a number");
    check_refused("{\"log_history\": [], " SUMS "}", "\"hits\" is missing");
}

static void metrics__have_their_columns(void **state)
{
    static const char want[] =
        "step,train_loss,train_mean_token_accuracy,valid_loss,"
        "valid_mean_token_accuracy,learning_rate,grad_norm,tokens_per_second,"
        "peak_rss_bytes\n"
        "0,,,3.25,0.25,,,,9\n"
        "10,0.5,0.75,,,0.0002,1e-05,1500.25,10\n";
    const char *path = check_tmp_path("metrics.csv");
    const ql_train_event rows[] = {
        {.kind = QL_TRAIN_EVAL,
         .eval_loss = 3.25,
         .eval_accuracy = 0.25,
         .memory = {.peak = 9}},
        {.kind = QL_TRAIN_STEP,
         .step = 10,
         .loss = 0.5,
         .accuracy = 0.75,
         .learning_rate = 2e-4,
         .grad_norm = 1e-5,
         .tokens_per_second = 1500.25,
         .memory = {.peak = 10}},
        {.kind = QL_TRAIN_DONE, .step = 10},
    };
    ql_history h;
    char *text;
    size_t n;

    (void)state;
    ql_history_init(&h);
    for (size_t i = 0; i < 3; i++) {
        check_ok(ql_history_add(&h, &rows[i]));
    }
    check_ok(ql_metrics_save(&h, path));
    check_ok(ql_file_read(path, MAX_FILE, &text, &n));
    assert_string_equal(text, want);
    ql_free(text);
    ql_history_free(&h);
}

static void history__without_memory_is_as_before(void **state)
{
    const char *path = check_tmp_path("oom.json");
    ql_train_options o;
    ql_trainer_state s;
    ql_history a;
    ql_history b;
    bool ok = false;

    (void)state;
    ql_train_options_init(&o);
    s = facts(&o);
    fill(&a);
    for (long n = 0; !ok; n++) {
        ok = check_lacking(n, ql_trainer_state_save(&s, &a, path));
    }
    ql_history_init(&b);
    ok = false;
    for (long n = 0; !ok; n++) {
        ok = check_lacking(n, ql_trainer_state_load(&b, path));
        assert_true(ok || ql_history_size(&b) == 0);
    }
    check_same(&a, &b);
    ql_history_free(&b);
    ql_history_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(history__finds_the_best_evaluation),
        cmocka_unit_test(history__tells_of_the_steps_since_the_last_row),
        cmocka_unit_test(history__without_memory_is_as_before),
        cmocka_unit_test(metrics__have_their_columns),
        cmocka_unit_test(trainer_state__gives_the_log_back),
        cmocka_unit_test(trainer_state__is_as_transformers_writes_it),
        cmocka_unit_test(trainer_state__that_is_damaged_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
