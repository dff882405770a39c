/* What a run keeps of a model of any family changes its memory and its time,
 * never its numbers: loss and gradients are the same bits. */
#include <string.h>

#include "src/base/alloc.h"
#include "src/convert/adapter_make.h"
#include "src/model/block_parts.h"
#include "tests/check/check.h"
#include "tests/golden/lost_bias.h"
#include "tests/golden/reference.h"

/* Products of single layers since the last look. */
static size_t products;

void __real_ql_linear_fwd(float *y, bool add, ql_linear_kept kept,
                          const float *x, const ql_linear *lin, size_t T,
                          ql_drop drop, void *work);
void __wrap_ql_linear_fwd(float *y, bool add, ql_linear_kept kept,
                          const float *x, const ql_linear *lin, size_t T,
                          ql_drop drop, void *work);

/* Takes ql_linear_fwd's place, by the linker. */
void __wrap_ql_linear_fwd(float *y, bool add, ql_linear_kept kept,
                          const float *x, const ql_linear *lin, size_t T,
                          ql_drop drop, void *work)
{
    products++;
    __real_ql_linear_fwd(y, add, kept, x, lin, T, drop, work);
}

/* The most that was used of any arena since this was 0. */
static size_t most_used;

void *__real_ql_arena_take(ql_arena *a, size_t n, size_t size);
void *__wrap_ql_arena_take(ql_arena *a, size_t n, size_t size);

void *__wrap_ql_arena_take(ql_arena *a, size_t n, size_t size)
{
    void *piece = __real_ql_arena_take(a, n, size);

    most_used = ql_larger(most_used, a->used);
    return piece;
}

void __real_ql_frame_mlp_bwd(const ql_frame *f, float *dx, float *dy,
                             const ql_saved *s, const float *x);
void __wrap_ql_frame_mlp_bwd(const ql_frame *f, float *dx, float *dy,
                             const ql_saved *s, const float *x);

/* Its scratch is what is planned for it. */
void __wrap_ql_frame_mlp_bwd(const ql_frame *f, float *dx, float *dy,
                             const ql_saved *s, const float *x)
{
    const size_t before = ql_arena_mark(f->pass->scratch);

    most_used = 0;
    __real_ql_frame_mlp_bwd(f, dx, dy, s, x);
    assert_int_equal(most_used - before, ql_frame_mlp_bytes(f->c, f->T));
}

/* What a pass gives and takes. */
typedef struct outcome {
    double loss;
    float *grad; /* Owned: ql_free */
    size_t count, products;
    ql_run_need need;
} outcome;

typedef struct folder {
    const char *dir;
    ql_model *m;
    ql_adapter a;
    reference_rows rows;
} folder;

/* A step after another one and an evaluation, as they are in a training. */
static outcome pass(folder *d, size_t keep, size_t outputs)
{
    const ql_batch *b = &d->rows.batch;
    const ql_run_train how = {.scale = 0.5F, .dropout = 0.1F, .key = 5};
    const ql_run_options opt = {.max_tokens = b->T,
                                .max_length = reference_longest(b),
                                .max_sequences = b->sequences,
                                .training = true,
                                .keep_layers = keep,
                                .keep_outputs = outputs};
    const size_t held = ql_alloc_bytes(QL_TAG_ACTIV);
    outcome o = {.count = d->a.count, .need = ql_run_needs(d->m, &opt)};
    ql_loss none = {0};
    ql_loss sum = {0};
    ql_run *run;

    check_ok(ql_run_open(&run, d->m, &opt));
    assert_int_equal(ql_alloc_bytes(QL_TAG_ACTIV) - held, o.need.kept);
    ql_run_loss(run, b, &how, &none);
    ql_run_loss(run, b, NULL, &none);
    memset(d->a.grad, 0, d->a.count * sizeof(float));
    products = 0;
    ql_run_loss(run, b, &how, &sum);
    o.products = products;
    o.loss = sum.sum;
    o.grad = ql_alloc(QL_TAG_GRAD, o.count, sizeof(float));
    assert_non_null(o.grad);
    memcpy(o.grad, d->a.grad, o.count * sizeof(float));
    ql_run_close(&run);
    return o;
}

/* Single products of a block whose forward is repeated, by itself: what comes
 * out of O is needed where the second half reads it, down is not. */
static size_t repeated(const ql_config *c)
{
    return (c->arch->qkv != QL_QKV_APART) + !c->parallel +
           (!ql_config_gated(c) || ql_config_fused_gate(c)) +
           (ql_config_norm(c, QL_NORM_MLP_OUT) > 0);
}

/* Beside all that is kept: the same bits, and no product more than must be.
 * Beside the same with no outputs kept: one less for each of these, for no more
 * memory than they take. */
static void check_pass(folder *d, const outcome *all, size_t keep,
                       size_t outputs)
{
    const ql_config *c = &d->m->config;
    const size_t row = c->C + (c->arch->layer_norm ? 2 : 1);
    outcome some = pass(d, keep, outputs);
    outcome none = pass(d, keep, 0);
    const size_t most = c->layers > keep + 1 ? c->layers - keep - 1 : 0;
    const size_t n = ql_config_norm(c, QL_NORM_MLP_OUT) == 0 ? 0
                     : outputs < most                        ? outputs
                                                             : most;

    if (some.loss != all->loss ||
        memcmp(some.grad, all->grad, all->count * sizeof(float)) != 0) {
        fail_msg("%s: with %zu layers and %zu outputs kept the loss is %.17g "
                 "instead of %.17g, or gradients are others",
                 d->dir, keep, outputs, some.loss, all->loss);
    }
    assert_int_equal(some.need.outputs, n);
    assert_int_equal(none.products, all->products + most * repeated(c));
    assert_int_equal(some.products, none.products - n);
    assert_in_range(some.need.kept - none.need.kept,
                    n * row * d->rows.batch.T * sizeof(float),
                    n * (row * d->rows.batch.T * sizeof(float) + 128));
    ql_free(some.grad);
    ql_free(none.grad);
}

/* The model with the adapter of its golden data. */
static void open_folder(folder *d)
{
    const char *golden = reference_path(d->dir, "golden.safetensors");
    const char *lora = reference_path(d->dir, "lora.safetensors");
    ql_model_options opt;
    ql_safetensors *f = NULL;
    reference_adapter r;

    ql_model_options_init(&opt);
    opt.quantize = false;
    check_ok(ql_model_open(
        &d->m, lost_bias_is(d->dir) ? lost_bias_copy(d->dir) : d->dir, &opt));
    check_ok(ql_safetensors_open(&f, golden));
    reference_rows_load(&d->rows, f);
    ql_safetensors_close(&f);
    check_ok(ql_safetensors_open(&f, lora));
    reference_adapter_load(&r, reference_path(d->dir, "lora.json"), f,
                           d->m->config.arch);
    check_ok(
        ql_adapter_make(&d->a, &d->m->config, &d->m->weights, &r.o, 1, true));
    reference_adapter_init(&d->a, f);
    reference_adapter_free(&r);
    ql_safetensors_close(&f);
    ql_model_use_adapter(d->m, &d->a);
}

static void check_folder(const char *dir)
{
    folder d = {.dir = dir};
    outcome all;

    print_message("%s\n", dir);
    open_folder(&d);
    all = pass(&d, d.m->config.layers, 0);
    for (size_t keep = 0; keep <= d.m->config.layers; keep++) {
        for (size_t outputs = 0; outputs <= d.m->config.layers; outputs++) {
            check_pass(&d, &all, keep, outputs);
        }
    }
    ql_free(all.grad);
    reference_rows_free(&d.rows);
    ql_model_close(&d.m);
    ql_adapter_free(&d.a);
}

static void families__give_the_same_bits_in_any_memory(void **state)
{
    (void)state;
    reference_each(check_shared("golden/models"), check_folder);
    assert_true(
        reference_classifiers(check_shared("golden/models"), check_folder) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families__give_the_same_bits_in_any_memory),
    };

    check_need_shared();
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
