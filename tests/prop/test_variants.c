/* Variants of LoRA, by what their definitions say of them. */
#include <math.h>
#include <string.h>

#include "src/base/file.h"
#include "src/convert/adapter_make.h"
#include "src/train/step.h"
#include "tests/check/check.h"
#include "tests/check/toy_run.h"

static const char *const embedding[] = {"q_proj", "embed_tokens"};

static const char *const norms[] = {"norm", "lm_head"}; /* all of them */
static const char *const wholes[] = {"norm", "lm_head", "down_proj"};

/* An adapter of linear layers and the embedding, with magnitudes or not; norms
 * and the head are trained whole. */
static void make(ql_adapter *a, const toy_run *r, bool dora)
{
    ql_train_options o;

    toy_run_options(&o);
    o.use_dora = dora;
    o.lora_target_modules = (ql_list){embedding, 2};
    o.modules_to_save = (ql_list){norms, 2};
    check_ok(ql_adapter_make(a, &r->m->config, &r->m->weights, &o, 1, false));
}

static float rate_of(ql_part part, ql_place place)
{
    return part == QL_PART_A       ? 1
           : part == QL_PART_WHOLE ? place == QL_PLACE_HEAD ? 1 : 16
           : part == QL_PART_B && place == QL_PLACE_EMBED ? 0.25F
                                                          : 16;
}

/* B and vectors are faster, but for B of an embedding. */
static void loraplus__gives_rates_as_peft_does(void **state)
{
    ql_train_options o = {.learning_rate = 4e-3,
                          .loraplus_lr_ratio = 16,
                          .loraplus_lr_embedding = 1e-3};
    toy_run r;

    (void)state;
    toy_run_open(&r);
    for (int dora = 0; dora < 2; dora++) {
        ql_adapter a;
        float rates[64];

        make(&a, &r, dora);
        assert_true(a.n_tensors <= 64);
        ql_step_rates(rates, &a, &o);
        for (size_t i = 0; i < a.n_tensors; i++) {
            const ql_adapter_tensor *t = &a.tensors[i];

            assert_true(rates[i] ==
                        rate_of(t->part, a.entries[t->entry].site.place));
        }
        ql_adapter_free(&a);
    }
    toy_run_close(&r);
}

/* Runs and keeps the adapter on the model. */
static void run(toy_run *r, const ql_train_options *o, const char *out,
                ql_train_result *result)
{
    toy_run_open(r);
    check_ok(ql_train(r->m, r->data, r->eval, check_tmp_path(out), o, NULL,
                      NULL, result));
}

/* The first step of AdamW goes by the learning rate only; B begins at 0. */
static void loraplus__makes_b_faster(void **state)
{
    ql_train_options o;
    toy_run plain;
    toy_run plus;
    const ql_adapter *a;

    (void)state;
    toy_run_options(&o);
    o.max_steps = 1;
    o.warmup_ratio = 0;
    run(&plain, &o, "plain", NULL);
    o.loraplus_lr_ratio = 8;
    run(&plus, &o, "plus", NULL);
    a = &plain.m->adapter;
    for (size_t i = 0; i < a->n_tensors; i++) {
        const float by = a->tensors[i].part == QL_PART_B ? 8 : 1;
        const float *x = a->param + a->tensors[i].at;
        const float *y = plus.m->adapter.param + a->tensors[i].at;

        for (size_t j = 0; j < a->sizes[i]; j++) {
            assert_true(fabsf(y[j] - by * x[j]) <= 1e-6F * fabsf(y[j]));
        }
    }
    toy_run_close(&plain);
    toy_run_close(&plus);
}

/* Noise is in training, and not in evaluation. */
static void neftune__is_in_training_only(void **state)
{
    ql_train_options o;
    ql_train_result plain;
    ql_train_result noisy;
    toy_run r;

    (void)state;
    toy_run_options(&o);
    o.lora_dropout = 0;
    o.max_steps = 2;
    run(&r, &o, "quiet", &plain);
    toy_run_close(&r);
    o.neftune_noise_alpha = 5;
    run(&r, &o, "noisy", &noisy);
    toy_run_close(&r);
    assert_true(plain.first_eval_loss == noisy.first_eval_loss);
    assert_true(plain.first_loss != noisy.first_loss);
    assert_true(fabs(plain.first_loss - noisy.first_loss) < 0.5);
}

/* A run that goes on from a checkpoint ends as one that was not stopped. */
static void check_resumed(ql_train_options *o, const char *out,
                          const char *again)
{
    char from[4200];
    toy_run r;

    o->save_total_limit = 0;
    run(&r, o, out, NULL);
    toy_run_close(&r);
    snprintf(from, sizeof(from), "%s/checkpoint-4", check_tmp_path(out));
    o->resume = from;
    run(&r, o, again, NULL);
    assert_non_null(strstr(toy_run_notes(), "going on from"));
    toy_run_close(&r);
    toy_run_same_file(check_tmp_path(out), check_tmp_path(again),
                      "adapter_model.safetensors");
    toy_run_same_file(check_tmp_path(out), check_tmp_path(again),
                      "adapter_config.json");
}

static void loraplus_and_neftune__go_on_to_the_bit(void **state)
{
    ql_train_options o;

    (void)state;
    toy_run_options(&o);
    o.neftune_noise_alpha = 5;
    o.loraplus_lr_ratio = 4;
    check_resumed(&o, "noise", "noise-again");
}

static void dora__goes_on_to_the_bit(void **state)
{
    ql_train_options o;

    (void)state;
    toy_run_options(&o);
    o.use_dora = true;
    o.lora_target_modules = (ql_list){embedding, 2};
    check_resumed(&o, "dora", "dora-again");
}

static void modules_to_save__go_on_to_the_bit(void **state)
{
    ql_train_options o;

    (void)state;
    toy_run_options(&o);
    o.modules_to_save = (ql_list){wholes, 3};
    check_resumed(&o, "norms", "norms-again");
    o.resume = NULL;
    o.init_lora_weights = "pissa";
    check_resumed(&o, "pissa", "pissa-again");
}

/* Decay would pull all weights of a norm towards 0: PyTorch's users leave it
 * out there (source: transformers, get_decay_parameter_names). */
static void decay__spares_norms(void **state)
{
    ql_train_options o;
    const ql_adapter *a;
    toy_run r;

    (void)state;
    toy_run_options(&o);
    o.modules_to_save = (ql_list){norms, 2};
    o.max_steps = 1;
    o.warmup_ratio = 0;
    o.learning_rate = 1e-3;
    o.weight_decay = 500; /* half of a weight each step */
    run(&r, &o, "decay", NULL);
    a = &r.m->adapter;
    for (size_t i = 0; i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];
        const float *x = a->param + a->tensors[e->first].at;
        const float *head = r.m->weights.base_head.data;

        if (e->site.place == QL_PLACE_HEAD) {
            assert_int_equal(r.m->weights.base_head.storage, QL_STORAGE_F32);
            assert_true(fabsf(x[0] - 0.5F * head[0]) < 2e-3F);
        } else if (e->r == 0) {
            const float *was = e->site.place == QL_PLACE_LAST_NORM
                                   ? r.m->weights.base_norm.w
                                   : r.m->weights.base_layers[e->site.layer]
                                         .norm[e->site.norm]
                                         .w;

            assert_true(fabsf(x[0] - was[0]) < 2e-3F);
        }
    }
    toy_run_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loraplus__gives_rates_as_peft_does),
        cmocka_unit_test(loraplus__makes_b_faster),
        cmocka_unit_test(neftune__is_in_training_only),
        cmocka_unit_test(loraplus_and_neftune__go_on_to_the_bit),
        cmocka_unit_test(dora__goes_on_to_the_bit),
        cmocka_unit_test(modules_to_save__go_on_to_the_bit),
        cmocka_unit_test(decay__spares_norms),
    };

    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
