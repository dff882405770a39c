/* Training in bf16 follows training in fp32: real models, the same seed, the
 * losses of every step and of the evaluations. Without bf16 instructions the
 * portable set stands in for them. */
#include <math.h>
#include <stdio.h>

#include "qlora/train.h"
#include "quant/kernels.h"
#include "tests/check/check.h"

enum {
    STEPS = 8,
    EVAL = 8,
    LOSSES = STEPS + 2
};

/* What must hold for the loss of each step, relative to it. */
static const double allowed = 0.005;

typedef struct curve {
    double loss[LOSSES];
    size_t n;
} curve;

static bool note_loss(const ql_train_event *e, void *user)
{
    curve *c = user;

    if (e->kind == QL_TRAIN_STEP || e->kind == QL_TRAIN_EVAL) {
        assert_in_range(c->n, 0, LOSSES - 1);
        c->loss[c->n++] = e->kind == QL_TRAIN_STEP ? e->loss : e->eval_loss;
    }
    return true;
}

static ql_train_options options(void)
{
    ql_train_options o;

    ql_train_options_init(&o);
    o.learning_rate = 1e-3;
    o.warmup_ratio = 0;
    o.max_steps = STEPS;
    o.gradient_accumulation_steps = 1;
    o.per_device_train_batch_size = 4;
    o.overwrite_output_dir = true;
    return o;
}

/* The losses of a short run of a model in NF4, on the set in use. */
static curve train(const char *model, const char *file)
{
    const ql_train_options o = options();
    curve c = {.n = 0};
    ql_model *m = NULL;
    ql_tokenizer *tok = NULL;
    ql_dataset *data = NULL;
    ql_dataset *eval = NULL;
    ql_dataset_options d;

    ql_dataset_options_init(&d);
    d.max_length = 128;
    check_ok(ql_model_open(&m, model, NULL));
    check_ok(ql_tokenizer_open(&tok, model));
    check_ok(ql_dataset_open(&data, &file, 1, tok, &d));
    check_ok(ql_dataset_split(data, EVAL, &eval));
    check_ok(ql_train(m, data, eval, check_tmp_path("out"), &o, note_loss, &c,
                      NULL));
    ql_dataset_close(&data);
    ql_dataset_close(&eval);
    ql_tokenizer_close(&tok);
    ql_model_close(&m);
    return c;
}

static void check_model(const char *model)
{
    const char *dir = check_shared(model);
    const char *data = check_shared("data/chat/soda_messages.jsonl");
    curve fp32;
    curve bf16;

    assert_true(ql_kernels_choose(ql_kernels_best(1)->name));
    fp32 = train(dir, data);
    assert_true(ql_kernels_choose(ql_kernels_best(2)->name));
    bf16 = train(dir, data);
    assert_int_equal(fp32.n, LOSSES);
    assert_int_equal(bf16.n, LOSSES);
    assert_true(fp32.loss[LOSSES - 1] < fp32.loss[0]);
    for (size_t i = 0; i < LOSSES; i++) {
        const double off = fabs(bf16.loss[i] / fp32.loss[i] - 1);

        printf("%s %zu: %.5f in fp32, %.5f in bf16\n", model, i, fp32.loss[i],
               bf16.loss[i]);
        assert_true(off <= allowed);
    }
}

static void bf16__follows_fp32(void **state)
{
    (void)state;
    check_model("models/stories260K");
    check_model("models/stories3M");
    check_model("models/babyllama105");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bf16__follows_fp32),
    };

    check_need_shared();
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
