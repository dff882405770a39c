/* Pairs that begin as parts of the base: what they make of it, what is written
 * of them, and that a run goes on with them. */
#include <math.h>
#include <string.h>

#include "quant/codec.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/convert/adapter_make.h"
#include "src/convert/peft.h"
#include "src/model/run.h"
#include "tests/check/check.h"
#include "tests/check/toy.h"
#include "tests/check/toy_folder.h"
#include "tests/check/toy_run.h"
#include "tests/golden/lost_bias.h"

enum {
    T = 20,
    LARGEST = TOY_C * TOY_F
};

static ql_model *open_model(const char *dir, bool quantize)
{
    ql_model_options opt;
    ql_model *m = NULL;

    ql_model_options_init(&opt);
    opt.quantize = quantize;
    check_ok(ql_model_open(&m, dir, &opt));
    return m;
}

static ql_train_options begin(const char *how, size_t rounds)
{
    ql_train_options o;

    toy_run_options(&o);
    o.lora_r = 3;
    o.lora_alpha = 6;
    o.lora_dropout = 0;
    o.init_lora_weights = how;
    o.loftq_iter = rounds;
    return o;
}

static void make(ql_adapter *a, ql_model *m, const ql_train_options *o)
{
    check_ok(ql_adapter_make(a, &m->config, &m->weights, o, 1, false));
    ql_model_use_adapter(m, a);
}

/* Logits of a fixed text. */
static void logits_of(const ql_model *m, float *out)
{
    static const size_t start[] = {0, T};
    static int32_t ids[T];
    static size_t rows[T];
    const ql_batch b = {
        .T = T, .sequences = 1, .start = start, .ids = ids, .target = ids};
    const ql_run_options opt = {
        .max_tokens = T, .max_length = T, .max_sequences = 1};
    ql_run *run = NULL;

    for (size_t t = 0; t < T; t++) {
        ids[t] = (int32_t)(t * t % TOY_V);
        rows[t] = t;
    }
    check_ok(ql_run_open(&run, m, &opt));
    ql_run_logits(run, &b, rows, T, out);
    ql_run_close(&run);
}

/* How far two logits are apart, in norm. */
static double apart(const float *a, const float *b)
{
    double sum = 0;

    for (size_t i = 0; i < T * TOY_V; i++) {
        const double d = (double)a[i] - (double)b[i];

        sum += d * d;
    }
    return sqrt(sum);
}

static double largest(const float *a)
{
    double most = 0;

    for (size_t i = 0; i < T * TOY_V; i++) {
        most = fmax(most, fabs((double)a[i]));
    }
    return most;
}

/* |W - (base + s B A)| of entry i, W being that of whole. */
static double rest_of(const ql_adapter *a, size_t i, const ql_model *m,
                      const ql_model *whole, bool pair)
{
    const ql_adapter_entry *e = &a->entries[i];
    const ql_site at = e->site;
    const float *x = a->param + a->tensors[e->first].at;
    const float *y = a->param + a->tensors[e->first + 1].at;
    float w[LARGEST];
    float base[LARGEST];
    double sum = 0;

    ql_dequantize(w, &whole->weights.layers[at.layer].linear[at.module].w, 0,
                  e->in * e->out);
    ql_dequantize(base, &m->weights.layers[at.layer].linear[at.module].w, 0,
                  e->in * e->out);
    for (size_t n = 0; n < e->out; n++) {
        for (size_t k = 0; k < e->in; k++) {
            double d = (double)w[n * e->in + k] - (double)base[n * e->in + k];

            for (size_t r = 0; pair && r < e->r; r++) {
                d -= (double)(e->scale * y[n * e->r + r] * x[r * e->in + k]);
            }
            sum += d * d;
        }
    }
    return sqrt(sum);
}

/* A and B have the same norms, rank by rank: the roots of the values. */
static void check_shares(const ql_adapter *a)
{
    for (size_t i = 0; i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];
        const float *x = a->param + a->tensors[e->first].at;
        const float *y = a->param + a->tensors[e->first + 1].at;

        for (size_t r = 0; r < e->r; r++) {
            double down = 0;
            double up = 0;

            for (size_t k = 0; k < e->in; k++) {
                down += (double)(x[r * e->in + k] * x[r * e->in + k]);
            }
            for (size_t n = 0; n < e->out; n++) {
                up += (double)(y[n * e->r + r] * y[n * e->r + r]);
            }
            assert_true(down > 0 && fabs(up / down - 1) < 1e-4);
        }
    }
}

/* Beside weights of 32 bits the first forward is the base's. */
static void pissa__begins_as_the_base(void **state)
{
    static const char *const ways[] = {"pissa", "pissa_niter_4"};
    float want[T * TOY_V];
    float got[T * TOY_V];
    float bare[T * TOY_V];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        ql_model *m = open_model(toy_model(), false);
        const ql_train_options o = begin(ways[i], 1);
        ql_adapter a;

        logits_of(m, want);
        make(&a, m, &o);
        check_shares(&a);
        logits_of(m, got);
        ql_model_use_adapter(m, NULL);
        logits_of(m, bare);
        assert_true(apart(want, got) < 1e-5 * largest(want));
        assert_true(apart(want, bare) > 0.1 * largest(want));
        ql_adapter_free(&a);
        ql_model_close(&m);
    }
}

/* In 4 bits, what is left is easier to quantize than the whole; and of what
 * quantization loses LoftQ gives back as much as fits its rank. */
static void principal__is_nearer_than_quantization_alone(void **state)
{
    const ql_train_options ways[] = {begin("pissa", 1), begin("loftq", 1),
                                     begin("loftq", 2), begin("loftq", 5)};
    double one = 0; /* what a single round of LoftQ leaves */
    ql_model *whole = open_model(toy_model(), false);
    ql_model *plain = open_model(toy_model(), true);
    float want[T * TOY_V];
    float alone[T * TOY_V];

    (void)state;
    logits_of(whole, want);
    logits_of(plain, alone);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        ql_model *m = open_model(toy_model(), true);
        float got[T * TOY_V];
        double before = 0;
        double after = 0;
        ql_adapter a;

        make(&a, m, &ways[i]);
        check_shares(&a);
        for (size_t k = 0; k < a.n; k++) {
            before += rest_of(&a, k, plain, whole, false);
            after += rest_of(&a, k, m, whole, true);
        }
        logits_of(m, got);
        print_message("weights %.3f -> %.3f, logits %.3f -> %.3f\n", before,
                      after, apart(want, alone), apart(want, got));
        assert_true(after < 0.9 * before);
        one = i == 1 ? after : one;
        assert_true(i < 2 || after < one);
        assert_true(apart(want, got) < apart(want, alone));
        ql_adapter_free(&a);
        ql_model_close(&m);
    }
    ql_model_close(&whole);
    ql_model_close(&plain);
}

/* One round of LoftQ leaves the base as it is quantized in any case. */
static void loftq__of_one_round_keeps_the_base(void **state)
{
    const ql_train_options o = begin("loftq", 1);
    ql_model *m = open_model(toy_model(), true);
    ql_model *plain = open_model(toy_model(), true);
    float want[T * TOY_V];
    float got[T * TOY_V];
    ql_adapter a;

    (void)state;
    make(&a, m, &o);
    assert_null(a.taken);
    ql_model_use_adapter(m, NULL);
    logits_of(plain, want);
    logits_of(m, got);
    assert_memory_equal(want, got, sizeof(want));
    ql_adapter_free(&a);
    ql_model_close(&m);
    ql_model_close(&plain);
}

static void run(toy_run *r, const ql_train_options *o, const char *out,
                bool quantize)
{
    toy_run_open(r);
    ql_model_close(&r->m);
    r->m = open_model(toy_model(), quantize);
    check_ok(ql_train(r->m, r->data, r->eval, check_tmp_path(out), o, NULL,
                      NULL, NULL));
}

static void check_config(const char *dir, int r, double alpha)
{
    char path[4200];
    json_t *config = NULL;

    snprintf(path, sizeof(path), "%s/adapter_config.json", dir);
    check_ok(ql_json_load(&config, path, 1 << 20));
    assert_int_equal(json_integer_value(json_object_get(config, "r")), r);
    assert_true(fabs(json_number_value(json_object_get(config, "lora_alpha")) -
                     alpha) < 1e-6);
    assert_true(json_is_true(json_object_get(config, "init_lora_weights")));
    json_decref(config);
}

/* What is written is a plain adapter for the model as it was, with twice the
 * rank, whatever the adapter is made of. */
static void pissa__is_written_as_a_plain_adapter(void **state)
{
    static const char *const ranks[] = {"q_proj=2"};
    ql_train_options ways[4];
    float want[T * TOY_V];
    float got[T * TOY_V];

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        ways[i] = begin("pissa", 1);
        ways[i].method = QL_METHOD_LORA;
        ways[i].overwrite_output_dir = true;
    }
    ways[1].use_rslora = true;
    ways[2].use_dora = true;
    ways[3].rank_pattern = (ql_list){ranks, 1};
    for (size_t i = 0; i < 4; i++) {
        ql_model *plain = open_model(toy_model(), false);
        const char *out = check_tmp_path("plain");
        toy_run r;

        ways[i].resume = "off";
        run(&r, &ways[i], "plain", false);
        logits_of(r.m, want);
        check_config(out, 6, ways[i].use_rslora ? 6 * sqrt(2) : 12);
        check_ok(ql_model_load_adapter(plain, out));
        assert_int_equal(plain->adapter.entries[0].r, i == 3 ? 4 : 6);
        logits_of(plain, got);
        assert_true(apart(want, got) < 1e-4 * largest(want));
        ql_model_close(&plain);
        toy_run_close(&r);
    }
}

/* A run that goes on from a checkpoint ends as one that was not stopped, with
 * the best adapter, too. */
static void principal__goes_on_to_the_bit(void **state)
{
    ql_train_options ways[] = {begin("pissa", 1), begin("pissa_niter_2", 1),
                               begin("loftq", 1), begin("loftq", 3)};
    char from[4200];

    (void)state;
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        char out[32];
        char again[32];
        toy_run r;

        snprintf(out, sizeof(out), "whole-%zu", i);
        snprintf(again, sizeof(again), "again-%zu", i);
        ways[i].save_total_limit = 0;
        run(&r, &ways[i], out, i != 1);
        toy_run_close(&r);
        snprintf(from, sizeof(from), "%s/checkpoint-4", check_tmp_path(out));
        ways[i].resume = from;
        run(&r, &ways[i], again, i != 1);
        toy_run_close(&r);
        toy_run_same_file(check_tmp_path(out), check_tmp_path(again),
                          "adapter_model.safetensors");
        toy_run_same_file(check_tmp_path(out), check_tmp_path(again),
                          "adapter_config.json");
    }
}

/* Weights that are quantized are taken apart as they are in the folder, also
 * where it stores them turned. */
static void pissa__takes_the_weights_of_the_folder(void **state)
{
    const char *dir = check_shared("golden/models/gpt2");
    const char *copy;
    const ql_train_options o = begin("pissa_niter_2", 1);
    ql_adapter a[2];

    (void)state;
    if (!ql_path_exists(dir)) {
        skip();
    }
    copy = lost_bias_copy(dir);
    for (int i = 0; i < 2; i++) {
        ql_model *m = open_model(copy, i == 1);

        make(&a[i], m, &o);
        ql_model_close(&m);
    }
    assert_int_equal(a[0].count, a[1].count);
    assert_memory_equal(a[0].param, a[1].param, a[0].count * sizeof(float));
    ql_adapter_free(&a[0]);
    ql_adapter_free(&a[1]);
}

/* What is left of weights of 16 bits has 16 bits. */
static void pissa__rounds_the_base_to_its_type(void **state)
{
    const toy_folder folder = {.dtype = QL_DTYPE_BF16};
    const ql_train_options o = begin("pissa", 1);
    ql_model *m;
    float want[T * TOY_V];
    float got[T * TOY_V];
    ql_adapter a;

    (void)state;
    toy_folder_write(toy_in(), &folder);
    m = open_model(toy_in(), false);
    logits_of(m, want);
    make(&a, m, &o);
    assert_int_equal(m->weights.layers[0].linear[0].w.storage, QL_STORAGE_BF16);
    logits_of(m, got);
    assert_true(apart(want, got) < 0.1 * largest(want));
    ql_adapter_free(&a);
    ql_model_close(&m);
}

static void check_refused(ql_model *m, const ql_train_options *o,
                          const char *why)
{
    ql_adapter a;

    check_fails(ql_adapter_make(&a, &m->config, &m->weights, o, 1, false),
                QL_EINVAL, why);
    assert_null(a.param);
}

static void principal__that_cannot_be_is_refused(void **state)
{
    static const char *const head[] = {"lm_head"};
    static const char *const ranks[] = {"q_proj=2"};
    static const char *const unknown[] = {
        "pisa", "pissa_niter_", "pissa_niter_0", "pissa_niter_4x", ""};
    const toy_folder folder = {.dtype = QL_DTYPE_F32};
    ql_quantize_options quantize;
    ql_model *m;
    ql_train_options o;

    (void)state;
    toy_folder_write(toy_in(), &folder);
    ql_quantize_options_init(&quantize);
    quantize.force = true;
    check_ok(ql_quantize_model(toy_in(), toy_out(), &quantize, NULL));
    m = open_model(toy_out(), true);
    o = begin("pissa", 1);
    check_refused(m, &o, "in 4 bits; give the folder that it was made from");
    o = begin("loftq", 1);
    check_refused(m, &o, "in 4 bits; give the folder that it was made from");
    ql_model_close(&m);
    m = open_model(toy_in(), false);
    check_refused(m, &o, "use --method qlora");
    o = begin("pissa", 1);
    o.lora_target_modules = (ql_list){head, 1};
    check_refused(m, &o, "lm_head is no linear layer of a block");
    o = begin("pissa", 1);
    o.use_rslora = true;
    o.rank_pattern = (ql_list){ranks, 1};
    check_refused(m, &o, "leave use-rslora or the rank");
    o = begin("loftq", 0);
    check_refused(m, &o, "loftq-iter 0");
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        o = begin(unknown[i], 1);
        check_refused(m, &o, "is unknown; known are true");
    }
    ql_model_close(&m);
}

static void principal__survives_failing_allocations(void **state)
{
    const ql_train_options ways[] = {begin("pissa", 1), begin("loftq", 2)};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        bool ok = false;

        for (long n = 0; !ok; n += 7) {
            ql_model *m = open_model(toy_model(), true);
            ql_adapter a;

            ok = check_lacking(n, ql_adapter_make(&a, &m->config, &m->weights,
                                                  &ways[i], 1, false));
            ql_adapter_free(&a);
            ql_model_close(&m);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pissa__begins_as_the_base),
        cmocka_unit_test(principal__is_nearer_than_quantization_alone),
        cmocka_unit_test(loftq__of_one_round_keeps_the_base),
        cmocka_unit_test(pissa__is_written_as_a_plain_adapter),
        cmocka_unit_test(principal__goes_on_to_the_bit),
        cmocka_unit_test(pissa__takes_the_weights_of_the_folder),
        cmocka_unit_test(pissa__rounds_the_base_to_its_type),
        cmocka_unit_test(principal__that_cannot_be_is_refused),
        cmocka_unit_test(principal__survives_failing_allocations),
    };

    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
