/* What a run keeps, repeats or reads again changes its memory, never its
 * numbers: losses and gradients are the same bits. Those who read weights again
 * are told the order in which they are used. */
#include <math.h>
#include <string.h>

#include "qlora/quantize.h"
#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/convert/adapter_make.h"
#include "src/model/run.h"
#include "tests/check/check.h"
#include "tests/check/toy_folder.h"

enum {
    LAYERS = 5,
    TOKENS = 23,
    RANK = 3
};

static ql_model *model;
static ql_adapter adapter;

/* What the passes told of the weights that they are about to use. */
static struct {
    struct {
        size_t part;
        ql_stream_way way;
        bool read; /* there is a stream */
    } of[16 * (LAYERS + 1)];
    size_t n;
} told;

void __real_ql_stream_enter(ql_stream *s, size_t i, ql_stream_way way);
void __wrap_ql_stream_enter(ql_stream *s, size_t i, ql_stream_way way);

/* Takes ql_stream_enter's place, by the linker. */
void __wrap_ql_stream_enter(ql_stream *s, size_t i, ql_stream_way way)
{
    if (told.n < sizeof(told.of) / sizeof(told.of[0])) {
        told.of[told.n].part = i;
        told.of[told.n].way = way;
        told.of[told.n].read = s != NULL;
    }
    told.n++;
    __real_ql_stream_enter(s, i, way);
}

static int open_model(void **state)
{
    const toy_folder folder = {.dtype = QL_DTYPE_BF16, .layers = LAYERS};
    static const char *const targets[] = {"q_proj",    "k_proj",  "v_proj",
                                          "gate_proj", "up_proj", "down_proj"};
    const ql_train_options opt = {
        .lora_r = RANK, .lora_alpha = 6, .lora_target_modules = {targets, 6}};
    ql_quantize_options quantize;

    (void)state;
    check_ok(ql_runtime_open(&check_runtime));
    toy_folder_write(toy_in(), &folder);
    ql_quantize_options_init(&quantize);
    quantize.force = true;
    check_ok(ql_quantize_model(toy_in(), toy_out(), &quantize, NULL));
    check_ok(ql_model_open(&model, toy_out(), NULL));
    check_ok(ql_adapter_make(&adapter, &model->config, &model->weights, &opt, 1,
                             true));
    for (size_t i = 0; i < adapter.count; i++) {
        adapter.param[i] = (float)(ql_rng_unit(2, i) - 0.5);
    }
    ql_model_use_adapter(model, &adapter);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    ql_model_close(&model);
    ql_adapter_free(&adapter);
    return 0;
}

/* Loss of one batch of two sequences; the gradients are in the adapter. A
 * second pass after an evaluation must give the same once more. */
static double pass(const ql_run_options *how)
{
    static const size_t start[] = {0, 9, TOKENS};
    static int32_t ids[TOKENS];
    static int32_t target[TOKENS];
    const ql_batch batch = {.T = TOKENS,
                            .sequences = 2,
                            .start = start,
                            .ids = ids,
                            .target = target};
    const ql_run_train train = {.scale = 0.5F, .dropout = 0.1F, .key = 7};
    ql_run_options opt = *how;
    ql_run *run;
    double sums[2];

    for (size_t t = 0; t < TOKENS; t++) {
        ids[t] = (int32_t)ql_rng_below(3, t, TOY_V);
        target[t] = t % 3 ? (int32_t)ql_rng_below(4, t, TOY_V) : -1;
    }
    opt.max_tokens = opt.max_length = TOKENS;
    opt.max_sequences = 2;
    opt.training = true;
    check_ok(ql_run_open(&run, model, &opt));
    for (int i = 0; i < 2; i++) {
        ql_loss sum = {0};

        memset(adapter.grad, 0, adapter.count * sizeof(float));
        ql_run_loss(run, &batch, &train, &sum);
        sums[i] = sum.sum;
        ql_run_loss(run, &batch, NULL, &sum);
    }
    assert_memory_equal(&sums[0], &sums[1], sizeof(*sums));
    ql_run_close(&run);
    return sums[0];
}

static void check_same(const ql_run_options *how, double loss,
                       const float *grad)
{
    const double again = pass(how);

    if (memcmp(&again, &loss, sizeof(loss)) != 0 ||
        memcmp(adapter.grad, grad, adapter.count * sizeof(float)) != 0) {
        fail_msg("%zu layers kept, %zu bytes of weights: loss %.17g instead "
                 "of %.17g, or other gradients",
                 how->keep_layers, how->weight_memory, again, loss);
    }
}

static void passes__give_the_same_bits_in_any_memory(void **state)
{
    const ql_run_options all = {.keep_layers = LAYERS};
    const double loss = pass(&all);
    float *grad = ql_alloc(QL_TAG_GRAD, adapter.count, sizeof(float));
    size_t mapped;
    size_t least;

    (void)state;
    assert_non_null(grad);
    memcpy(grad, adapter.grad, adapter.count * sizeof(float));
    ql_stream_needs(&model->weights, &mapped, &least);
    assert_true(mapped > least);
    for (size_t keep = 0; keep <= LAYERS + 1; keep++) {
        const size_t memory[] = {0, 1, least, mapped - 1, mapped};

        for (size_t i = 0; i < 5; i++) {
            check_same(&(ql_run_options){.keep_layers = keep,
                                         .weight_memory = memory[i]},
                       loss, grad);
        }
    }
    ql_free(grad);
}

static size_t check_told(size_t at, size_t part, ql_stream_way way, bool read)
{
    assert_true(at < told.n);
    assert_int_equal(told.of[at].part, part);
    assert_int_equal(told.of[at].way, way);
    assert_int_equal(told.of[at].read, read);
    return at + 1;
}

/* Two steps of training, each with an evaluation behind it: up to the head and
 * back down, and once around. */
static void check_order(const ql_run_options *how, bool read)
{
    size_t at = 0;

    told.n = 0;
    pass(how);
    for (int step = 0; step < 2; step++) {
        for (size_t i = 0; i <= LAYERS; i++) {
            at = check_told(at, i, QL_STREAM_UP, read);
        }
        for (size_t i = LAYERS; i-- > 0;) {
            at = check_told(at, i, QL_STREAM_DOWN, read);
        }
        for (size_t i = 0; i <= LAYERS; i++) {
            at = check_told(at, i, QL_STREAM_ROUND, read);
        }
    }
    assert_int_equal(told.n, at);
}

static void passes__tell_the_order_of_layers(void **state)
{
    size_t mapped;
    size_t least;

    (void)state;
    ql_stream_needs(&model->weights, &mapped, &least);
    for (size_t keep = 0; keep <= LAYERS; keep++) {
        check_order(
            &(ql_run_options){.keep_layers = keep, .weight_memory = least},
            true);
        /* with room for all, there is none who reads */
        check_order(
            &(ql_run_options){.keep_layers = keep, .weight_memory = mapped},
            false);
    }
}

/* What is said of a run's memory is what it takes. */
static void passes__take_what_is_planned(void **state)
{
    (void)state;
    for (size_t i = 0; i <= 4 * LAYERS; i++) {
        const ql_run_options opt = {.max_tokens = 64,
                                    .max_length = 64,
                                    .max_sequences = 1,
                                    .training = true,
                                    .keep_layers = i % (LAYERS + 1),
                                    .spill_layers = i / 3,
                                    .spill_dir = check_tmp(),
                                    .bf16_inputs = i % 4 == 3};
        const ql_run_need need = ql_run_needs(model, &opt);
        const size_t kept = ql_alloc_bytes(QL_TAG_ACTIV);
        const size_t scratch = ql_alloc_bytes(QL_TAG_WORK);
        ql_run *run;

        check_ok(ql_run_open(&run, model, &opt));
        assert_int_equal(ql_alloc_bytes(QL_TAG_ACTIV) - kept, need.kept);
        assert_int_equal(ql_alloc_bytes(QL_TAG_WORK) - scratch, need.scratch);
        ql_run_close(&run);
    }
}

/* Inputs of blocks that go through a file come back as they were. */
static void passes__give_the_same_bits_through_a_file(void **state)
{
    const ql_run_options all = {.keep_layers = LAYERS};
    const double loss = pass(&all);
    float *grad = ql_alloc(QL_TAG_GRAD, adapter.count, sizeof(float));

    (void)state;
    assert_non_null(grad);
    memcpy(grad, adapter.grad, adapter.count * sizeof(float));
    for (size_t spill = 1; spill <= LAYERS + 1; spill++) {
        for (size_t keep = 0; keep <= LAYERS; keep++) {
            const ql_run_options how = {.keep_layers = keep,
                                        .spill_layers = spill,
                                        .spill_dir = check_tmp()};

            check_same(&how, loss, grad);
        }
    }
    ql_free(grad);
}

/* Inputs in 16 bits: the loss is the same, gradients are close by, and do not
 * depend on where they are kept. */
static void passes__with_inputs_in_16_bits_are_close(void **state)
{
    const ql_run_options all = {.keep_layers = LAYERS};
    const double loss = pass(&all);
    ql_run_options how = {.bf16_inputs = true, .spill_dir = check_tmp()};
    float *exact = ql_alloc(QL_TAG_GRAD, adapter.count, sizeof(float));
    float *grad = ql_alloc(QL_TAG_GRAD, adapter.count, sizeof(float));
    double error = 0;
    double norm = 0;
    double again;

    (void)state;
    assert_true(exact && grad);
    memcpy(exact, adapter.grad, adapter.count * sizeof(float));
    again = pass(&how);
    memcpy(grad, adapter.grad, adapter.count * sizeof(float));
    assert_memory_equal(&loss, &again, sizeof(loss));
    for (size_t i = 0; i < adapter.count; i++) {
        const double d = (double)grad[i] - (double)exact[i];

        error += d * d;
        norm += (double)exact[i] * (double)exact[i];
    }
    print_message("gradients differ by %.2g of their norm\n",
                  sqrt(error / norm));
    assert_true(error > 0);
    assert_true(sqrt(error / norm) < 0.01); /* as train.h says */
    for (size_t spill = 0; spill <= LAYERS; spill++) {
        how.spill_layers = spill;
        how.keep_layers = spill;
        check_same(&how, loss, grad);
    }
    ql_free(exact);
    ql_free(grad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes__give_the_same_bits_in_any_memory),
        cmocka_unit_test(passes__tell_the_order_of_layers),
        cmocka_unit_test(passes__give_the_same_bits_through_a_file),
        cmocka_unit_test(passes__with_inputs_in_16_bits_are_close),
        cmocka_unit_test(passes__take_what_is_planned),
    };

    return cmocka_run_group_tests(tests, open_model, close_model);
}
