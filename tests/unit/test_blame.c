/* Numbers that are not finite: the step, the layer and the records are named,
 * and the state before them is saved. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/convert/adapter_make.h"
#include "src/convert/peft.h"
#include "src/model/model_handle.h"
#include "tests/check/check.h"
#include "tests/check/toy.h"
#include "tests/check/toy_run.h"

enum {
    FIRST_LETTER = 4 /* id of "a" in the toy's vocabulary */
};

/* Copies the embedding to memory that can be written. Owned: free. */
static float *own_embedding(void)
{
    ql_qtensor *e = &toy.m->weights.base_embed;
    const size_t n = e->rows * e->cols;
    float *copy = malloc(n * sizeof(float));

    assert_int_equal(e->storage, QL_STORAGE_F32);
    memcpy(copy, e->data, n * sizeof(float));
    *e = ql_qtensor_dense(copy, e->rows, e->cols);
    return copy;
}

static ql_status train(const ql_train_options *o, ql_train_result *r)
{
    const char *out = check_tmp_path("out");

    check_ok(ql_dir_remove(out));
    return ql_train(toy.m, toy.data, toy.eval, out, o, NULL, NULL, r);
}

static void loss__is_traced_to_a_record(void **state)
{
    const ql_qtensor before = toy.m->weights.base_embed;
    const size_t C = toy.m->config.C;
    float *embed = own_embedding();
    ql_train_options o;
    ql_train_result r;

    (void)state;
    toy_run_options(&o);
    o.shuffle = false;
    o.eval_strategy = QL_STRATEGY_NO;
    /* a letter that the words of one record alone have */
    embed[(FIRST_LETTER + 'f' - 'a') * C] = (float)NAN;
    check_fails(train(&o, &r), QL_ENUMERIC, "toy.jsonl:5");
    assert_non_null(strstr(ql_last_error(), "from the embedding on"));
    assert_non_null(strstr(ql_last_error(), "step 2"));
    assert_non_null(strstr(ql_last_error(), "the checkpoint of step 1 is in"));
    assert_int_equal(r.steps, 1);
    check_ok(ql_model_load_adapter(toy.m, check_tmp_path("out/checkpoint-1")));
    toy.m->weights.base_embed = before;
    free(embed);
}

/* Trains with a norm whose first weight is not a number. */
static void train_with_bad(ql_norm *norm, const ql_train_options *o,
                           const char *say)
{
    const float *before = norm->w;
    float *w = malloc(toy.m->config.C * sizeof(float));

    memcpy(w, before, toy.m->config.C * sizeof(float));
    w[0] = (float)NAN;
    norm->w = w;
    check_fails(train(o, NULL), QL_ENUMERIC, say);
    norm->w = before;
    free(w);
}

static void loss__is_traced_to_a_layer(void **state)
{
    ql_train_options o;

    (void)state;
    toy_run_options(&o);
    o.eval_strategy = QL_STRATEGY_NO;
    train_with_bad(&toy.m->weights.layers[1].norm[QL_NORM_MLP_IN], &o,
                   "from layer 1 on");
    assert_non_null(strstr(ql_last_error(), "nothing was written"));
    assert_false(ql_path_exists(check_tmp_path("out")));
}

static void evaluation__is_traced_to_records(void **state)
{
    ql_train_options o;

    (void)state;
    toy_run_options(&o);
    train_with_bad(&toy.m->weights.final_norm, &o,
                   "step 0: the evaluation loss is not finite, for sample ");
}

/* An adapter with A zero and B as large as can be: it changes nothing on the
 * way up, but the gradient of A is beyond all bounds. */
static void write_steep_adapter(const char *dir)
{
    static const char *const targets[] = {"all-linear"};
    const ql_train_options opt = {
        .lora_r = 2, .lora_alpha = 2000, .lora_target_modules = {targets, 1}};
    ql_adapter a;

    check_ok(
        ql_adapter_make(&a, &toy.m->config, &toy.m->weights, &opt, 0, false));
    for (size_t i = 0; i < a.n_tensors; i++) {
        const bool b = a.tensors[i].part == QL_PART_B;

        for (size_t j = 0; j < a.sizes[i]; j++) {
            a.param[a.tensors[i].at + j] = b ? 3e38F : 0;
        }
    }
    check_ok(ql_dir_make(dir));
    check_ok(ql_peft_save(&a, "toy", dir));
    ql_adapter_free(&a);
}

static void gradient__is_traced_to_a_module_and_records(void **state)
{
    const char *dir = check_tmp_path("steep");
    ql_adapter_texts *texts;
    ql_train_options o;

    (void)state;
    write_steep_adapter(dir);
    toy_run_options(&o);
    check_ok(ql_train_options_adapter(&o, dir, &texts));
    o.shuffle = false;
    check_fails(train(&o, NULL), QL_ENUMERIC,
                "step 1: the gradient of base_model.model.model.layers.1.mlp."
                "down_proj.lora_A.weight is not finite, for ");
    assert_non_null(strstr(ql_last_error(), "toy.jsonl:1, "));
    assert_non_null(strstr(ql_last_error(), "toy.jsonl:2; "));
    ql_adapter_texts_close(&texts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss__is_traced_to_a_record),
        cmocka_unit_test(loss__is_traced_to_a_layer),
        cmocka_unit_test(evaluation__is_traced_to_records),
        cmocka_unit_test(gradient__is_traced_to_a_module_and_records),
    };

    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, toy_run_setup, toy_run_teardown);
}
