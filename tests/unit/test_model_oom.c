/* Memory runs out at the n-th allocation of opening, quantizing, training and
 * generating: each time QL_ENOMEM, no block and no half output left behind. */
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "qlora/generate.h"
#include "qlora/train.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "tests/check/check.h"
#include "tests/check/toy.h"
#include "tests/check/toy_run.h"

enum {
    EACH = 200, /* so many allocations are failed one by one, */
    STRIDE = 7, /* then every seventh */
    SAMPLES = 3
};

typedef ql_status step_fn(void);

static ql_model *model;
static ql_tokenizer *tok;
static ql_dataset *data;

/* No folder or file under construction lies about. */
static void check_no_rest(const char *dir)
{
    char **names;
    size_t n;

    if (!ql_path_is_dir(dir)) {
        return;
    }
    check_ok(ql_dir_list(dir, &names, &n));
    for (size_t i = 0; i < n; i++) {
        if (strstr(names[i], ".part") || strstr(names[i], ".old")) {
            fail_msg("%s is left in %s", names[i], dir);
        }
    }
    ql_dir_list_free(names, n);
}

static void starve(step_fn *step)
{
    const size_t before = ql_alloc_bytes(QL_TAG_COUNT);
    bool ok = false;
    long n = 0;

    while (!ok) {
        ok = check_lacking(n, step());
        if (ql_alloc_bytes(QL_TAG_COUNT) != before) {
            fail_msg("allocation %ld: %zu bytes held, %zu before", n,
                     ql_alloc_bytes(QL_TAG_COUNT), before);
        }
        if (!ok) {
            check_no_rest(check_tmp());
            check_no_rest(check_tmp_path("trained"));
            check_no_rest(check_tmp_path("going"));
        }
        n += n < EACH ? 1 : STRIDE;
        assert_true(n < 100000);
    }
    print_message("%ld allocations\n", n);
}

static ql_status open_once(void)
{
    ql_model *m = NULL;
    const ql_status st = ql_model_open(&m, toy_model(), NULL);

    assert_true((m != NULL) == (st == QL_OK));
    ql_model_close(&m);
    return st;
}

static void model__opens_or_leaves_nothing(void **state)
{
    (void)state;
    starve(open_once);
}

static ql_status quantize_once(void)
{
    static const char *const skip[] = {"layers.1"};
    const char *out = check_tmp_path("quantized");
    ql_quantize_options o;
    ql_quantize_report r;
    ql_status st;

    ql_quantize_options_init(&o);
    o.verify = true;
    o.max_shard_bytes = 9000;
    o.skip_modules = skip;
    o.n_skip_modules = 1;
    st = ql_quantize_model(toy_model(), out, &o, &r);
    assert_true(ql_path_exists(out) == (st == QL_OK));
    assert_true((r.groups != NULL) == (st == QL_OK));
    ql_quantize_report_free(&r);
    return st;
}

static void quantization__succeeds_or_leaves_nothing(void **state)
{
    (void)state;
    starve(quantize_once);
}

static ql_status load_once(void)
{
    ql_model *m = NULL;
    ql_status st = ql_model_open(&m, check_tmp_path("quantized"), NULL);

    if (st == QL_OK) {
        st = ql_model_load_adapter(m, check_tmp_path("trained"));
    }
    ql_model_close(&m);
    return st;
}

static void model__loads_an_adapter_or_leaves_nothing(void **state)
{
    (void)state;
    starve(load_once);
}

static ql_method method = QL_METHOD_QLORA;

static ql_status train_to(const char *out, const char *resume, ql_train_fn *fn)
{
    ql_train_options o;
    ql_model_options mo;
    ql_model *m = NULL;
    ql_status st;

    ql_model_options_init(&mo);
    mo.quantize = method == QL_METHOD_QLORA;
    st = ql_model_open(&m, toy_model(), &mo);
    ql_train_options_init(&o);
    o.method = method;
    o.resume = resume;
    o.save_steps = 1;
    o.lora_r = 2;
    o.max_steps = 2;
    o.gradient_accumulation_steps = 2;
    o.eval_steps = 1;
    o.overwrite_output_dir = true;
    if (st == QL_OK) {
        st = ql_train(m, data, data, out, &o, fn, NULL, NULL);
    }
    ql_model_close(&m);
    return st;
}

static ql_status train_once(void)
{
    return train_to(check_tmp_path("trained"), "off", NULL);
}

static void training__succeeds_or_leaves_nothing(void **state)
{
    (void)state;
    starve(train_once);
}

static bool stop_at_once(const ql_train_event *e, void *user)
{
    (void)user;
    return e->kind != QL_TRAIN_STEP;
}

/* From the first checkpoint of a run, which is copied each time. */
static ql_status go_on_once(void)
{
    const char *out = check_tmp_path("going");

    check_ok(ql_dir_remove(out));
    toy_run_copy(check_tmp_path("gone"), out);
    return train_to(out, "auto", NULL);
}

static void training__goes_on_or_leaves_nothing(void **state)
{
    (void)state;
    check_fails(train_to(check_tmp_path("gone"), "auto", stop_at_once),
                QL_ECANCELLED, "after step 1");
    starve(go_on_once);
}

/* All weights, from the first checkpoint of such a run. */
static void full_training__goes_on_or_leaves_nothing(void **state)
{
    (void)state;
    method = QL_METHOD_FULL;
    check_ok(ql_dir_remove(check_tmp_path("gone")));
    check_fails(train_to(check_tmp_path("gone"), "auto", stop_at_once),
                QL_ECANCELLED, "after step 1");
    starve(go_on_once);
    method = QL_METHOD_QLORA;
}

static ql_status generate_once(void)
{
    ql_generate_options o;
    char *text = NULL;
    ql_status st;

    ql_generate_options_init(&o);
    o.max_new_tokens = 4;
    st = ql_generate(model, tok, "the cat", &o, NULL, NULL, &text);
    assert_true((text != NULL) == (st == QL_OK));
    ql_free(text);
    return st;
}

static void generation__succeeds_or_leaves_nothing(void **state)
{
    (void)state;
    starve(generate_once);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model__opens_or_leaves_nothing),
        cmocka_unit_test(quantization__succeeds_or_leaves_nothing),
        cmocka_unit_test(training__succeeds_or_leaves_nothing),
        cmocka_unit_test(training__goes_on_or_leaves_nothing),
        cmocka_unit_test(full_training__goes_on_or_leaves_nothing),
        cmocka_unit_test(model__loads_an_adapter_or_leaves_nothing),
        cmocka_unit_test(generation__succeeds_or_leaves_nothing),
    };
    int failed;

    check_ok(ql_runtime_open(&check_runtime));
    omp_set_num_threads(1);
    check_ok(ql_model_open(&model, toy_model(), NULL));
    check_ok(ql_tokenizer_open(&tok, toy_model()));
    data = toy_data(tok, SAMPLES);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    ql_dataset_close(&data);
    ql_tokenizer_close(&tok);
    ql_model_close(&model);
    return failed;
}
