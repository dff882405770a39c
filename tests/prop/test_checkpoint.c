/* Which checkpoints a run goes on from, and what it says: damaged ones are
 * passed over, those of other runs refused, changed settings named. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/train/checkpoint.h"
#include "src/train/output.h"
#include "tests/check/check.h"
#include "tests/check/toy.h"
#include "tests/check/toy_run.h"

enum {
    PATH_BYTES = 4200
};

static ql_status train(const ql_train_options *o, const char *out,
                       ql_train_fn *fn, void *user)
{
    toy_run_notes();
    return ql_train(toy.m, toy.data, toy.eval, out, o, fn, user, NULL);
}

static bool stop_after(const ql_train_event *e, void *user)
{
    const size_t *step = user;

    return !(e->kind == QL_TRAIN_STEP && e->step == *step);
}

/* A run that was not stopped. */
static const char *whole(void)
{
    static char dir[PATH_BYTES];
    ql_train_options o;

    if (!dir[0]) {
        snprintf(dir, sizeof(dir), "%.4000s", check_tmp_path("whole"));
        toy_run_options(&o);
        check_ok(train(&o, dir, NULL, NULL));
    }
    return dir;
}

/* One that was stopped after step 5: checkpoints 3, 4 and 5. */
static const char *half(void)
{
    static char dir[PATH_BYTES];
    ql_train_options o;
    size_t five = 5;

    if (!dir[0]) {
        snprintf(dir, sizeof(dir), "%.4000s", check_tmp_path("half"));
        toy_run_options(&o);
        check_fails(train(&o, dir, stop_after, &five), QL_ECANCELLED,
                    "after step 5 of 9; the checkpoint of step 5 is in");
    }
    return dir;
}

/* A fresh copy of it. */
static const char *copy(void)
{
    const char *dir = check_tmp_path("copy");
    const char *from = half();

    check_ok(ql_dir_remove(dir));
    toy_run_copy(from, dir);
    return dir;
}

static const char *in(const char *dir, const char *name)
{
    static char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%.4000s/%.100s", dir, name);
    return path;
}

static void noted(const char *text)
{
    const char *notes = toy_run_notes();

    if (!strstr(notes, text)) {
        fail_msg("\"%s\" is not in \"%s\"", text, notes);
    }
}

static const char *const files[] = {
    "adapter_config.json",
    "adapter_model.safetensors",
    "optimizer.bin",
    "trainer_state.json",
    "best/adapter_config.json",
    "best/adapter_model.safetensors",
    "checkpoint.json",
};

enum {
    FILES = sizeof(files) / sizeof(files[0]),
    WAYS = 4
};

/* Turns a bit over, cuts the last byte off, adds one, or removes the file. */
static void damage(const char *path, int way)
{
    size_t n;
    char *text;

    check_ok(ql_file_read(path, 1 << 24, &text, &n));
    if (way == 0) {
        text[n / 2] ^= 4;
    }
    check_ok(ql_file_write(path, text,
                           way == 1   ? n - 1
                           : way == 2 ? n + 1
                                      : n));
    if (way == 3) {
        unlink(path);
    }
    ql_free(text);
}

static void checkpoint__damaged_is_passed_over(void **state)
{
    ql_train_options o;

    (void)state;
    toy_run_options(&o);
    for (int i = 0; i < FILES; i++) {
        for (int way = 0; way < WAYS; way++) {
            const char *dir = copy();
            char name[64];

            if (i == FILES - 1 && way == 2) {
                continue; /* a NUL behind the text is a matter of JSON */
            }
            snprintf(name, sizeof(name), "checkpoint-5/%s", files[i]);
            damage(in(dir, name), way);
            check_ok(train(&o, dir, NULL, NULL));
            noted("the checkpoint before it is looked at");
            toy_run_same(whole(), dir);
        }
    }
}

static void checkpoint__reason_is_told(void **state)
{
    const char *dir = copy();
    ql_train_options o;
    const char *notes;

    (void)state;
    toy_run_options(&o);
    damage(in(dir, "checkpoint-5/optimizer.bin"), 0);
    damage(in(dir, "checkpoint-4/checkpoint.json"), 3);
    check_ok(train(&o, dir, NULL, NULL));
    notes = toy_run_notes();
    assert_non_null(strstr(notes, "checkpoint-5/optimizer.bin is damaged: its "
                                  "CRC-32 is another"));
    assert_non_null(strstr(notes, "checkpoint-4/checkpoint.json: No such"));
    assert_non_null(strstr(notes, "going on from "));
    assert_non_null(strstr(notes, "checkpoint-3, after step 3 of 9"));
}

static void checkpoints__all_damaged_are_an_error(void **state)
{
    const char *dir = copy();
    ql_train_options o;

    (void)state;
    toy_run_options(&o);
    for (int i = 3; i <= 5; i++) {
        char name[64];

        snprintf(name, sizeof(name), "checkpoint-%d/optimizer.bin", i);
        damage(in(dir, name), 1);
    }
    check_fails(train(&o, dir, NULL, NULL), QL_EFORMAT, "can be used");
    assert_true(ql_path_exists(in(dir, "checkpoint-5")));
    o.resume = "off";
    check_fails(train(&o, dir, NULL, NULL), QL_EINVAL,
                "--overwrite-output-dir");
    o.overwrite_output_dir = true;
    check_ok(train(&o, dir, NULL, NULL));
    toy_run_same(whole(), dir);
}

static void checkpoint__of_a_newer_format_is_told_apart(void **state)
{
    const char *dir = in(copy(), "checkpoint-5");
    ql_checkpoint c;
    char *text;
    char *at;
    size_t n;
    char path[PATH_BYTES];

    (void)state;
    snprintf(path, sizeof(path), "%.4000s/checkpoint.json", dir);
    check_ok(ql_file_read(path, 1 << 20, &text, &n));
    at = strstr(text, "\"format\": 1");
    assert_non_null(at);
    at[strlen("\"format\": ")] = '2';
    check_ok(ql_file_write(path, text, n));
    ql_free(text);
    check_fails(
        ql_checkpoint_init(&c, in(check_tmp_path("copy"), "checkpoint-5")),
        QL_EUNSUPPORTED, "newer version");
    assert_null(c.path);
}

/* Settings that make another run. */
static void change_rank(ql_train_options *o)
{
    o->lora_r = 3;
}

static void change_alpha(ql_train_options *o)
{
    o->lora_alpha = 8;
}

static void change_targets(ql_train_options *o)
{
    static const char *const targets[] = {"v_proj", "k_proj",  "o_proj",
                                          "q_proj", "up_proj", "down_proj"};

    o->lora_target_modules = (ql_list){targets, 6};
}

static void change_batch(ql_train_options *o)
{
    o->per_device_train_batch_size = 1;
}

static void change_accumulation(ql_train_options *o)
{
    o->gradient_accumulation_steps = 1;
}

static void change_seed(ql_train_options *o)
{
    o->seed = UINT64_MAX;
}

static void change_optim(ql_train_options *o)
{
    o->optim = QL_OPTIM_ADAMW_8BIT;
}

static void change_packing(ql_train_options *o)
{
    o->packing = true;
}

static const struct {
    void (*change)(ql_train_options *o);
    const char *say;
} others[] = {
    {change_rank, "lora-r was 2, is 3"},
    {change_alpha, "lora-alpha was 32.0, is 8.0"},
    {change_targets, "lora-target-modules was [], is [\"v_proj\", "
                     "\"k_proj\", \"o_proj\", \"q_proj\" and 2 more]"},
    {change_batch, "per-device-train-batch-size was 2, is 1"},
    {change_accumulation, "gradient-accumulation-steps was 2, is 1"},
    {change_seed, "seed was \"42\", is \"18446744073709551615\""},
    {change_optim, "optim was \"adamw_32bit\", is \"adamw_8bit\""},
    {change_packing, "others"},
};

static void checkpoint__of_other_settings_is_refused(void **state)
{
    const char *dir = copy();

    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        ql_train_options o;

        toy_run_options(&o);
        others[i].change(&o);
        check_fails(train(&o, dir, NULL, NULL), QL_EMISMATCH, others[i].say);
        assert_true(ql_path_exists(in(dir, "checkpoint-5")));
        assert_false(ql_path_exists(in(dir, "adapter_config.json")));
    }
}

static void checkpoint__of_other_data_or_model_is_refused(void **state)
{
    const toy_run own = toy;
    const char *dir = copy();
    ql_model_options mo;
    ql_train_options o;

    (void)state;
    toy_run_options(&o);
    toy.data = own.eval;
    check_fails(train(&o, dir, NULL, NULL), QL_EMISMATCH, "training data");
    toy.data = own.data;
    toy.eval = NULL;
    check_fails(train(&o, dir, NULL, NULL), QL_EMISMATCH, "evaluation data");
    toy = own;
    ql_model_options_init(&mo);
    mo.quant.type = QL_QUANT_FP4;
    check_ok(ql_model_open(&toy.m, toy_model(), &mo));
    check_fails(train(&o, dir, NULL, NULL), QL_EMISMATCH,
                "how it is quantized");
    ql_model_close(&toy.m);
    toy = own;
}

static void settings__that_may_change_are_named(void **state)
{
    const char *dir = copy();
    ql_train_options o;
    const char *notes;

    (void)state;
    toy_run_options(&o);
    o.num_train_epochs = 4;
    o.learning_rate = 1e-2;
    o.optim = QL_OPTIM_ADAMW_32BIT; /* the same bits */
    o.gradient_checkpointing = false;
    check_ok(train(&o, dir, NULL, NULL));
    notes = toy_run_notes();
    assert_non_null(strstr(notes, "learning-rate was 0.03, is 0.01, "
                                  "num-train-epochs was 3.0, is 4.0\n"));
    assert_non_null(strstr(notes, "ends after step 12 instead of 9"));
    assert_non_null(strstr(notes, "learning rate of step 6 is now "));
    assert_true(ql_path_exists(in(dir, "checkpoint-12")));
}

/* With a constant rate a run that is lengthened is the longer run. */
static void run__finished_is_lengthened(void **state)
{
    const char *dir = check_tmp_path("longer");
    char direct[PATH_BYTES];
    char from[PATH_BYTES];
    ql_train_options o;

    (void)state;
    snprintf(direct, sizeof(direct), "%.4000s", check_tmp_path("direct"));
    snprintf(from, sizeof(from), "%.4000s/checkpoint-6", dir);
    toy_run_options(&o);
    o.lr_scheduler_type = QL_SCHEDULER_CONSTANT;
    check_ok(train(&o, direct, NULL, NULL));
    o.num_train_epochs = 2;
    check_ok(train(&o, dir, NULL, NULL));
    o.num_train_epochs = 3;
    check_fails(train(&o, dir, NULL, NULL), QL_EINVAL, "holds an adapter");
    o.overwrite_output_dir = true;
    o.resume = from;
    check_ok(train(&o, dir, NULL, NULL));
    toy_run_same(direct, dir);
}

/* A run is over when its last checkpoint says so and its adapter is there: of
 * these, neither alone keeps it from being gone on with. */
static void run__is_finished_by_checkpoint_and_adapter(void **state)
{
    const char *dir = check_tmp_path("bare");
    ql_train_options o;

    (void)state;
    toy_run_options(&o);
    toy_run_copy(whole(), dir);
    assert_int_equal(remove(in(dir, "adapter_config.json")), 0);
    check_ok(train(&o, dir, NULL, NULL));
    noted("checkpoint-9, after step 9 of 9");
    toy_run_same(whole(), dir);

    dir = copy();
    check_ok(ql_file_write(in(dir, "adapter_config.json"), "{}", 2));
    o.overwrite_output_dir = true;
    check_ok(train(&o, dir, NULL, NULL));
    noted("checkpoint-5, after step 5 of 9");
    toy_run_same(whole(), dir);
}

static void checkpoint__beyond_the_end_is_passed_over(void **state)
{
    const char *dir = copy();
    ql_train_options o;

    (void)state;
    toy_run_options(&o);
    o.max_steps = 4;
    check_ok(train(&o, dir, NULL, NULL));
    noted("checkpoint-5: it is beyond the 4 steps asked for");
    assert_false(ql_path_exists(in(dir, "checkpoint-5")));
    assert_true(ql_path_exists(in(dir, "checkpoint-4")));
}

static void check_steps(const char *dir, const size_t *want, size_t n)
{
    size_t *steps;
    size_t m;

    check_ok(ql_checkpoint_list(dir, &steps, &m));
    assert_int_equal(m, n);
    assert_memory_equal(steps, want, n * sizeof(*steps));
    ql_free(steps);
}

static void checkpoints__old_ones_are_removed(void **state)
{
    static const size_t two[] = {9, 8};
    static const size_t all[] = {9, 8, 7, 6, 5, 4, 3};
    static const size_t epochs[] = {9, 6, 5};
    ql_train_options o;

    (void)state;
    toy_run_options(&o);
    o.save_total_limit = 2;
    check_ok(train(&o, copy(), NULL, NULL));
    check_steps(check_tmp_path("copy"), two, 2);
    o.save_total_limit = 0;
    check_ok(train(&o, copy(), NULL, NULL));
    check_steps(check_tmp_path("copy"), all, 7);
    o.save_total_limit = 3;
    o.save_strategy = QL_STRATEGY_EPOCH;
    check_ok(train(&o, copy(), NULL, NULL));
    check_steps(check_tmp_path("copy"), epochs, 3);
    o.save_strategy = QL_STRATEGY_NO;
    check_ok(train(&o, check_tmp_path("without"), NULL, NULL));
    check_steps(check_tmp_path("without"), NULL, 0);
}

/* Those that are later than the one that was asked for belong to a course that
 * is left. */
static void run__goes_on_from_the_checkpoint_that_is_named(void **state)
{
    const char *dir = copy();
    char from[PATH_BYTES];
    size_t four = 4;
    ql_train_options o;
    static const size_t want[] = {4, 3};

    (void)state;
    snprintf(from, sizeof(from), "%.4000s/checkpoint-3", dir);
    toy_run_options(&o);
    o.resume = from;
    check_fails(train(&o, dir, stop_after, &four), QL_ECANCELLED, "step 4");
    check_steps(dir, want, 2);
    o.resume = NULL;
    check_ok(train(&o, dir, NULL, NULL));
    toy_run_same(whole(), dir);
    o.resume = "nowhere";
    check_fails(train(&o, check_tmp_path("other"), NULL, NULL), QL_ENOTFOUND,
                "nowhere");
    assert_false(ql_path_exists(check_tmp_path("other")));
}

/* From another output folder, which stays as it is. */
static void run__goes_on_from_a_checkpoint_elsewhere(void **state)
{
    char from[PATH_BYTES];
    ql_train_options o;
    static const size_t before[] = {5, 4, 3};

    (void)state;
    snprintf(from, sizeof(from), "%.4000s/checkpoint-5", half());
    toy_run_options(&o);
    o.resume = from;
    check_ok(train(&o, check_tmp_path("elsewhere"), NULL, NULL));
    toy_run_same(whole(), check_tmp_path("elsewhere"));
    check_steps(half(), before, 3);
}

static bool stop_in_evaluation(const ql_train_event *e, void *user)
{
    (void)user;
    return !(e->kind == QL_TRAIN_EVALUATING && e->step == 4);
}

static void run__stopped_in_an_evaluation_does_it_later(void **state)
{
    const char *dir = check_tmp_path("evaluating");
    ql_train_options o;

    (void)state;
    toy_run_options(&o);
    check_fails(train(&o, dir, stop_in_evaluation, NULL), QL_ECANCELLED,
                "after step 4");
    check_ok(train(&o, dir, NULL, NULL));
    toy_run_same(whole(), dir);
}

static void output__belongs_to_one_process(void **state)
{
    const char *dir = copy();
    ql_train_options o;
    ql_output other;

    (void)state;
    toy_run_options(&o);
    check_ok(ql_output_init(&other, dir, false));
    check_fails(train(&o, dir, NULL, NULL), QL_EINVAL, "another process");
    ql_output_free(&other);
    check_ok(train(&o, dir, NULL, NULL));
    toy_run_same(whole(), dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoint__damaged_is_passed_over),
        cmocka_unit_test(checkpoint__reason_is_told),
        cmocka_unit_test(checkpoints__all_damaged_are_an_error),
        cmocka_unit_test(checkpoint__of_a_newer_format_is_told_apart),
        cmocka_unit_test(checkpoint__of_other_settings_is_refused),
        cmocka_unit_test(checkpoint__of_other_data_or_model_is_refused),
        cmocka_unit_test(settings__that_may_change_are_named),
        cmocka_unit_test(run__finished_is_lengthened),
        cmocka_unit_test(run__is_finished_by_checkpoint_and_adapter),
        cmocka_unit_test(checkpoint__beyond_the_end_is_passed_over),
        cmocka_unit_test(checkpoints__old_ones_are_removed),
        cmocka_unit_test(run__goes_on_from_the_checkpoint_that_is_named),
        cmocka_unit_test(run__goes_on_from_a_checkpoint_elsewhere),
        cmocka_unit_test(run__stopped_in_an_evaluation_does_it_later),
        cmocka_unit_test(output__belongs_to_one_process),
    };

    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, toy_run_setup, toy_run_teardown);
}
