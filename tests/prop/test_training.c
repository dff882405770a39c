/* Properties of training on a toy model made here: the same bits for any
 * number of threads, with and without recomputation; the same gradients
 * however a step is cut into micro-batches; the adapter read back is the
 * adapter written; where and in how many bits the optimizer keeps its state
 * makes no difference, or a small one; bad turns end well. */
#include <fcntl.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/convert/adapter_make.h"
#include "src/convert/peft.h"
#include "src/train/step.h"
#include "tests/check/check.h"
#include "tests/check/toy.h"

enum {
    SAMPLES = 12
};

/* Everything of a training run that can be compared. */
typedef struct outcome {
    float *param;
    size_t n;
    ql_train_result result;
} outcome;

static void options(ql_train_options *o)
{
    ql_train_options_init(o);
    o->lora_r = 3;
    o->learning_rate = 1e-2;
    o->per_device_train_batch_size = 2;
    o->gradient_accumulation_steps = 2;
    o->num_train_epochs = 2;
    o->packing = false; /* all would go into one sequence */
    o->overwrite_output_dir = true;
    o->save_strategy = QL_STRATEGY_NO;
}

static void keep_adapter(outcome *r, const ql_model *m)
{
    r->n = m->adapter.count;
    r->param = malloc(r->n * sizeof(float));
    memcpy(r->param, m->adapter.param, r->n * sizeof(float));
}

/* Trains on the toy data and keeps the adapter. */
static outcome train(const ql_train_options *o, const char *out)
{
    outcome r = {0};
    ql_model *m = NULL;
    ql_tokenizer *tok = NULL;
    ql_dataset *data = NULL;

    check_ok(ql_model_open(&m, toy_model(), NULL));
    check_ok(ql_tokenizer_open(&tok, toy_model()));
    data = toy_data(tok, SAMPLES);
    check_ok(
        ql_train(m, data, data, check_tmp_path(out), o, NULL, NULL, &r.result));
    keep_adapter(&r, m);
    ql_dataset_close(&data);
    ql_tokenizer_close(&tok);
    ql_model_close(&m);
    return r;
}

static void check_same(const outcome *a, const outcome *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->param, b->param, a->n * sizeof(float));
    assert_memory_equal(&a->result.last_loss, &b->result.last_loss,
                        sizeof(double));
    assert_memory_equal(&a->result.last_eval_loss, &b->result.last_eval_loss,
                        sizeof(double));
}

static void training__learns(void **state)
{
    ql_train_options o;
    outcome r;

    (void)state;
    options(&o);
    o.num_train_epochs = 30;
    r = train(&o, "learns");
    assert_true(r.result.last_eval_loss < 0.8 * r.result.first_eval_loss);
    free(r.param);
}

static void training__does_not_depend_on_threads(void **state)
{
    ql_train_options o;
    outcome one;

    (void)state;
    options(&o);
    omp_set_num_threads(1);
    one = train(&o, "threads");
    for (int threads = 2; threads <= 5; threads++) {
        outcome more;

        omp_set_num_threads(threads);
        more = train(&o, "threads");
        check_same(&one, &more);
        free(more.param);
    }
    omp_set_num_threads(2);
    free(one.param);
}

/* Steps of the model that the demonstration brings: large enough that every
 * operation is split among threads. */
static outcome train_demo(const ql_train_options *o, size_t max_length,
                          int threads)
{
    char model[4096];
    char file[4096];
    const char *data_file = file;
    outcome r = {0};
    ql_model *m = NULL;
    ql_tokenizer *tok = NULL;
    ql_dataset *data = NULL;
    ql_dataset_options d;

    snprintf(model, sizeof(model), "%s/tools/demo/stories260K",
             getenv("QL_SOURCE"));
    snprintf(file, sizeof(file), "%s/tools/demo/plays-eval.jsonl.gz",
             getenv("QL_SOURCE"));
    omp_set_num_threads(threads);
    ql_dataset_options_init(&d);
    d.max_length = max_length;
    check_ok(ql_model_open(&m, model, NULL));
    check_ok(ql_tokenizer_open(&tok, model));
    check_ok(ql_dataset_open(&data, &data_file, 1, tok, &d));
    check_ok(ql_train(m, data, NULL, check_tmp_path("demo"), o, NULL, NULL,
                      &r.result));
    keep_adapter(&r, m);
    ql_dataset_close(&data);
    ql_tokenizer_close(&tok);
    ql_model_close(&m);
    return r;
}

static void training__of_a_real_model_does_not_depend_on_threads(void **state)
{
    ql_train_options o;
    outcome one;

    (void)state;
    options(&o);
    o.lora_dropout = 0.1;
    o.max_steps = 2;
    o.warmup_ratio = 0;
    o.per_device_train_batch_size = 12;
    one = train_demo(&o, 1024, 1);
    for (int threads = 2; threads <= 3; threads++) {
        outcome more = train_demo(&o, 1024, threads);

        check_same(&one, &more);
        free(more.param);
    }
    omp_set_num_threads(2);
    free(one.param);
}

/* Allocations made until step 2, and until the last step. */
typedef struct counted {
    uint64_t second, last;
} counted;

static bool count_allocations(const ql_train_event *e, void *user)
{
    counted *c = user;

    if (e->kind == QL_TRAIN_STEP) {
        c->second = e->step == 2 ? ql_alloc_calls() : c->second;
        c->last = ql_alloc_calls();
    }
    return true;
}

static void step__allocates_nothing_after_the_first(void **state)
{
    ql_train_options o;
    ql_model *m = NULL;
    ql_tokenizer *tok = NULL;
    ql_dataset *data;
    counted c = {0};

    (void)state;
    options(&o);
    o.logging_steps = 1000;
    o.num_train_epochs = 4;
    check_ok(ql_model_open(&m, toy_model(), NULL));
    check_ok(ql_tokenizer_open(&tok, toy_model()));
    data = toy_data(tok, SAMPLES);
    check_ok(ql_train(m, data, NULL, check_tmp_path("counted"), &o,
                      count_allocations, &c, NULL));
    assert_true(c.second > 0);
    /* the last step is written to the log */
    assert_true(c.last - c.second <= 1);
    ql_dataset_close(&data);
    ql_tokenizer_close(&tok);
    ql_model_close(&m);
}

static void training__does_not_depend_on_recomputation(void **state)
{
    ql_train_options o;
    outcome again;
    outcome kept;

    (void)state;
    options(&o);
    again = train(&o, "again");
    o.gradient_checkpointing = false;
    kept = train(&o, "kept");
    check_same(&again, &kept);
    free(again.param);
    free(kept.param);
}

/* Less memory than paging takes; the sentence says how much that is. */
static uint64_t least_memory(const ql_train_options *o)
{
    ql_train_options none = *o;
    ql_model *m = NULL;
    ql_tokenizer *tok = NULL;
    ql_dataset *data;
    unsigned long long least = 0;

    none.optimizer_memory = 1;
    check_ok(ql_model_open(&m, toy_model(), NULL));
    check_ok(ql_tokenizer_open(&tok, toy_model()));
    data = toy_data(tok, SAMPLES);
    check_fails(ql_train(m, data, NULL, check_tmp_path("least"), &none, NULL,
                         NULL, NULL),
                QL_EINVAL, "paging takes at least");
    sscanf(strstr(ql_last_error(), "least"), "least %llu", &least);
    assert_false(ql_path_exists(check_tmp_path("least")));
    ql_dataset_close(&data);
    ql_tokenizer_close(&tok);
    ql_model_close(&m);
    return least;
}

static void training__does_not_depend_on_paging(void **state)
{
    ql_train_options o;
    outcome want;
    outcome got;

    (void)state;
    options(&o);
    want = train(&o, "whole");
    o.optimizer_memory = least_memory(&o);
    got = train(&o, "paged");
    check_same(&want, &got);
    free(want.param);
    free(got.param);
}

/* Makes the page file unreadable once step 3 is done. */
static bool break_page_file(const ql_train_event *e, void *user)
{
    if (e->kind == QL_TRAIN_STEP && e->step == 3) {
        const int bad = open("/dev/null", O_WRONLY);

        *(bool *)user = dup2(bad, check_open_file("/.pages-")) >= 0;
        close(bad);
    }
    return true;
}

static void training__without_its_page_file_saves_the_step_before(void **state)
{
    const char *out = check_tmp_path("broken");
    ql_train_options o;
    ql_model *m = NULL;
    ql_tokenizer *tok = NULL;
    ql_dataset *data;
    bool broken = false;
    outcome want;

    (void)state;
    options(&o);
    o.lr_scheduler_type = QL_SCHEDULER_CONSTANT;
    o.max_steps = 3;
    want = train(&o, "three");
    o.max_steps = 6;
    o.optimizer_memory = least_memory(&o);
    check_ok(ql_model_open(&m, toy_model(), NULL));
    check_ok(ql_tokenizer_open(&tok, toy_model()));
    data = toy_data(tok, SAMPLES);
    check_fails(
        ql_train(m, data, NULL, out, &o, break_page_file, &broken, NULL),
        QL_EIO, "the adapter of step 3 is in");
    assert_true(broken);
    assert_non_null(strstr(ql_last_error(), "step 4: cannot read the page"));
    check_ok(ql_model_load_adapter(m, check_tmp_path("broken/adapter-3")));
    assert_memory_equal(m->adapter.param, want.param, want.n * sizeof(float));
    free(want.param);
    ql_dataset_close(&data);
    ql_tokenizer_close(&tok);
    ql_model_close(&m);
}

/* Long enough for the loss to fall by a third; the rank makes the pairs large
 * enough for 8 bits. */
static void training__in_8_bits_ends_where_that_in_32_does(void **state)
{
    ql_train_options o;
    outcome wide;
    outcome narrow;

    (void)state;
    options(&o);
    o.lora_r = 64;
    o.learning_rate = 3e-3;
    o.max_steps = 24;
    o.optim = QL_OPTIM_ADAMW_32BIT;
    wide = train_demo(&o, 48, 2);
    o.optim = QL_OPTIM_ADAMW_8BIT;
    narrow = train_demo(&o, 48, 2);
    assert_true(wide.result.last_loss < 0.7 * wide.result.first_loss);
    assert_true(fabs(narrow.result.last_loss / wide.result.last_loss - 1) <
                0.01);
    assert_memory_not_equal(wide.param, narrow.param, wide.n * sizeof(float));
    free(wide.param);
    free(narrow.param);
}

static void training__depends_on_the_seed(void **state)
{
    ql_train_options o;
    outcome a;
    outcome b;

    (void)state;
    options(&o);
    a = train(&o, "seed");
    o.seed++;
    b = train(&o, "seed");
    assert_memory_not_equal(a.param, b.param, a.n * sizeof(float));
    free(a.param);
    free(b.param);
}

static void count_batches(size_t done, size_t n, void *user)
{
    size_t *told = user;

    assert_int_equal(done, *told + 1);
    assert_true(done <= n);
    *told = done;
}

/* Gradients of one step over all samples in micro-batches of `size`. */
static float *gradients(ql_model *m, const ql_dataset *data, size_t size,
                        size_t *n, ql_step *s)
{
    ql_train_options o;
    ql_adapter a;
    ql_batches b;
    ql_run *run = NULL;
    ql_run_options ro;
    size_t told = 0; /* micro-batches that the step told of */
    float *out;

    options(&o);
    o.lora_dropout = 0;
    o.lora_r = 3;
    o.lora_alpha = 6;
    check_ok(ql_adapter_make(&a, &m->config, &m->weights, &o, 5, true));
    for (size_t i = 0; i < a.count; i++) {
        a.param[i] += (float)(0.1 * ql_rng_unit(77, i)); /* B is not zero */
    }
    ql_model_use_adapter(m, &a);
    check_ok(ql_batches_init(&b, data, &(ql_batches_options){.size = size}));
    ro = (ql_run_options){.max_tokens = b.max_tokens,
                          .max_length = b.max_length,
                          .max_sequences = b.max_sequences,
                          .training = true};
    check_ok(ql_run_open(&run, m, &ro));
    *s = (ql_step){
        .from = 0, .to = b.n, .lr = 1e-3, .fn = count_batches, .user = &told};
    check_ok(ql_step_gradient(s, run, &b, &a, &o));
    out = malloc(a.count * sizeof(float));
    memcpy(out, a.grad, a.count * sizeof(float));
    *n = a.count;
    assert_int_equal(told, b.n);
    ql_run_close(&run);
    ql_batches_free(&b);
    ql_model_use_adapter(m, NULL);
    ql_adapter_free(&a);
    return out;
}

static void step__does_not_depend_on_its_cutting(void **state)
{
    ql_model *m = NULL;
    ql_tokenizer *tok = NULL;
    ql_dataset *data;
    ql_step whole;
    size_t n;
    float *want;
    double *wide;

    (void)state;
    check_ok(ql_model_open(&m, toy_model(), NULL));
    check_ok(ql_tokenizer_open(&tok, toy_model()));
    data = toy_data(tok, SAMPLES);
    want = gradients(m, data, SAMPLES, &n, &whole);
    wide = malloc(n * sizeof(double));
    for (size_t i = 0; i < n; i++) {
        wide[i] = (double)want[i];
    }
    for (size_t size = 1; size <= 5; size++) {
        ql_step s;
        float *got = gradients(m, data, size, &n, &s);

        assert_int_equal(s.loss.count, whole.loss.count);
        assert_true(fabs(s.loss.sum - whole.loss.sum) < 1e-6 * whole.loss.sum);
        assert_true(check_distance(got, wide, n) < 1e-5);
        free(got);
    }
    free(want);
    free(wide);
    ql_dataset_close(&data);
    ql_tokenizer_close(&tok);
    ql_model_close(&m);
}

static void adapter__is_read_back_as_written(void **state)
{
    ql_train_options o;
    outcome r;
    ql_model *m = NULL;

    (void)state;
    options(&o);
    r = train(&o, "written");
    check_ok(ql_model_open(&m, toy_model(), NULL));
    check_ok(ql_model_load_adapter(m, check_tmp_path("written")));
    assert_int_equal(m->adapter.count, r.n);
    assert_memory_equal(m->adapter.param, r.param, r.n * sizeof(float));
    assert_true(m->adapter.opt.alpha == o.lora_alpha);
    ql_model_close(&m);
    free(r.param);
}

static bool stop_at_two(const ql_train_event *e, void *user)
{
    (void)user;
    return !(e->kind == QL_TRAIN_STEP && e->step == 2);
}

static void training__stopped_saves_a_checkpoint(void **state)
{
    const char *out = check_tmp_path("stopped");
    ql_train_options o;
    ql_train_result result;
    ql_model *m = NULL;
    ql_tokenizer *tok = NULL;
    ql_dataset *data;

    (void)state;
    options(&o);
    check_ok(ql_model_open(&m, toy_model(), NULL));
    check_ok(ql_tokenizer_open(&tok, toy_model()));
    data = toy_data(tok, SAMPLES);
    check_fails(ql_train(m, data, NULL, out, &o, stop_at_two, NULL, &result),
                QL_ECANCELLED, "after step 2 of 6");
    assert_int_equal(result.steps, 2);
    assert_true(isnan(result.last_eval_loss));
    check_ok(ql_model_load_adapter(m, check_tmp_path("stopped/checkpoint-2")));
    o.overwrite_output_dir = false;
    check_ok(ql_train(m, data, NULL, out, &o, NULL, NULL, &result));
    assert_int_equal(result.steps, 6);
    check_ok(ql_model_load_adapter(m, out));
    check_fails(ql_train(m, data, NULL, out, &o, NULL, NULL, NULL), QL_EINVAL,
                "holds an adapter already");
    ql_dataset_close(&data);
    ql_tokenizer_close(&tok);
    ql_model_close(&m);
}

static void training__that_explodes_keeps_the_last_sound_adapter(void **state)
{
    const char *out = check_tmp_path("exploded");
    char path[4096];
    ql_train_result result;
    ql_train_options o;
    ql_model *m = NULL;
    ql_tokenizer *tok = NULL;
    ql_dataset *data;

    (void)state;
    options(&o);
    o.learning_rate = 999;
    o.adam_beta1 = 0;
    o.max_grad_norm = 0;
    o.weight_decay = 999;
    o.warmup_ratio = 0;
    o.num_train_epochs = 50;
    check_ok(ql_model_open(&m, toy_model(), NULL));
    check_ok(ql_tokenizer_open(&tok, toy_model()));
    data = toy_data(tok, SAMPLES);
    check_fails(ql_train(m, data, NULL, out, &o, NULL, NULL, &result),
                QL_ENUMERIC, "is not finite");
    snprintf(path, sizeof(path), "%.4000s/checkpoint-%zu", out, result.steps);
    check_ok(ql_model_load_adapter(m, path));
    ql_dataset_close(&data);
    ql_tokenizer_close(&tok);
    ql_model_close(&m);
}

/* What else fails while flags are tried is not taken for a plan that does not
 * fit. */
static void advice__tells_of_no_memory(void **state)
{
    ql_train_options o;
    ql_tokenizer *tok;
    ql_dataset *data;
    ql_model *m;
    uint64_t calls;

    (void)state;
    options(&o);
    o.memory = 1;
    o.optim = QL_OPTIM_ADAMW_32BIT;
    check_ok(ql_model_open(&m, toy_model(), NULL));
    check_ok(ql_tokenizer_open(&tok, toy_model()));
    data = toy_data(tok, SAMPLES);
    calls = ql_alloc_calls();
    check_fails(
        ql_train(m, data, NULL, check_tmp_path("no"), &o, NULL, NULL, NULL),
        QL_ENOMEM, "and less with no flags");
    calls = ql_alloc_calls() - calls;
    for (uint64_t n = 0; n < calls; n++) {
        ql_alloc_fail_after((long)n);
        check_fails(
            ql_train(m, data, NULL, check_tmp_path("no"), &o, NULL, NULL, NULL),
            QL_ENOMEM, "out of memory");
        ql_alloc_fail_after(-1);
    }
    ql_dataset_close(&data);
    ql_tokenizer_close(&tok);
    ql_model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training__learns),
        cmocka_unit_test(training__does_not_depend_on_threads),
        cmocka_unit_test(training__of_a_real_model_does_not_depend_on_threads),
        cmocka_unit_test(step__allocates_nothing_after_the_first),
        cmocka_unit_test(training__does_not_depend_on_recomputation),
        cmocka_unit_test(training__does_not_depend_on_paging),
        cmocka_unit_test(training__without_its_page_file_saves_the_step_before),
        cmocka_unit_test(training__in_8_bits_ends_where_that_in_32_does),
        cmocka_unit_test(training__depends_on_the_seed),
        cmocka_unit_test(step__does_not_depend_on_its_cutting),
        cmocka_unit_test(adapter__is_read_back_as_written),
        cmocka_unit_test(training__stopped_saves_a_checkpoint),
        cmocka_unit_test(advice__tells_of_no_memory),
        cmocka_unit_test(training__that_explodes_keeps_the_last_sound_adapter),
    };

    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
