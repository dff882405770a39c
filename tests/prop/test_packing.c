/* Training on packs is training on their records one by one: the same losses
 * and gradients, and no record knows of another that shares its sequence. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/convert/adapter_make.h"
#include "src/data/dataset_handle.h"
#include "src/train/step.h"
#include "tests/check/check.h"
#include "tests/check/toy.h"

enum {
    SAMPLES = 23,
    LONGEST = 40, /* the room of a pack */
    VOCAB = 30
};

/* The toy as another architecture, with more keys in its config.json. */
static const struct {
    const char *name, *keys;
} variants[] = {
    {"windowed", "\"model_type\": \"mistral\", \"sliding_window\": 4, "
                 "\"max_position_embeddings\": 64"},
    /* turned by the length of the text */
    {"dynamic", "\"model_type\": \"llama\", \"rope_scaling\": "
                "{\"rope_type\": \"dynamic\", \"factor\": 4.0}, "
                "\"max_position_embeddings\": 9"},
};

/* Borrowed. */
static const char *variant_dir(size_t i)
{
    static char dir[4096];
    char config[1024];
    char path[4200];
    char weights[4200];

    snprintf(dir, sizeof(dir), "%s", check_tmp_path(variants[i].name));
    if (ql_path_exists(dir)) {
        return dir;
    }
    snprintf(config, sizeof(config),
             "{\"hidden_size\": 20, \"intermediate_size\": 36, "
             "\"num_hidden_layers\": 2, \"num_attention_heads\": 2, "
             "\"num_key_value_heads\": 1, \"head_dim\": 6, "
             "\"vocab_size\": 30, \"hidden_act\": \"silu\", "
             "\"rms_norm_eps\": 1e-05, \"rope_theta\": 10000.0, "
             "\"tie_word_embeddings\": true, %s}",
             variants[i].keys);
    snprintf(path, sizeof(path), "%s/config.json", dir);
    check_ok(ql_dir_make(dir));
    check_ok(ql_file_write(path, config, strlen(config)));
    snprintf(path, sizeof(path), "%s/model.safetensors", dir);
    snprintf(weights, sizeof(weights), "%s/model.safetensors", toy_model());
    assert_int_equal(symlink(weights, path), 0);
    return dir;
}

/* Models of the shared golden data: windows, capped scores, tables of their
 * own for windowed layers, layers without positions, positions that are turned
 * by the length of the text. */
static const char *const golden[] = {
    "mistral_swa4", "gemma2",       "gemma3_text",        "qwen3",
    "olmo2",        "smollm3_nope", "phi3_longrope_long", "phi3_longrope_short",
};

enum {
    VARIANTS = sizeof(variants) / sizeof(variants[0]),
    GOLDEN = sizeof(golden) / sizeof(golden[0]),
    MODELS = 1 + VARIANTS + GOLDEN
};

/* The folder of model i, or NULL where it is not. Borrowed. */
static const char *model_dir(size_t i)
{
    char relative[64];
    const char *dir;

    if (i <= VARIANTS) {
        return i == 0 ? toy_model() : variant_dir(i - 1);
    }
    snprintf(relative, sizeof(relative), "golden/models/%s",
             golden[i - 1 - VARIANTS]);
    dir = check_shared(relative);
    if (!ql_path_exists(dir)) {
        printf("SKIP: %s is not there\n", dir);
        return NULL;
    }
    return dir;
}

/* A model with an adapter whose B is not zero, and data for it. */
typedef struct scene {
    ql_model *model;
    ql_adapter adapter;
    ql_dataset *data;
} scene;

/* Samples of 2 tokens up to LONGEST, of which some are trained. */
static ql_dataset *make_data(void)
{
    static int32_t ids[SAMPLES][LONGEST];
    static uint8_t train[SAMPLES][LONGEST];
    const uint64_t key = ql_rng_split(check_seed(), 1);
    ql_sample samples[SAMPLES];
    ql_dataset *ds = NULL;

    for (size_t i = 0; i < SAMPLES; i++) {
        const uint64_t own = ql_rng_split(key, i);

        for (size_t t = 0; t < LONGEST; t++) {
            ids[i][t] = (int32_t)ql_rng_below(own, t, VOCAB);
            train[i][t] = t == 1 || (t > 0 && ql_rng_at(own, t) % 3 != 0);
        }
        samples[i] = (ql_sample){
            .ids = ids[i],
            .train = train[i],
            .n = i == 0 ? LONGEST : 2 + ql_rng_below(key, i, LONGEST / 2)};
    }
    check_ok(ql_dataset_of_samples(&ds, samples, SAMPLES));
    return ds;
}

static scene scene_open(const char *dir)
{
    const ql_train_options lora = {.lora_r = 3, .lora_alpha = 6};
    scene s = {.data = make_data()};

    check_ok(ql_model_open(&s.model, dir, NULL));
    check_ok(ql_adapter_make(&s.adapter, &s.model->config, &s.model->weights,
                             &lora, 5, true));
    for (size_t i = 0; i < s.adapter.count; i++) {
        s.adapter.param[i] += (float)(0.2 * ql_rng_unit(77, i) - 0.1);
    }
    ql_model_use_adapter(s.model, &s.adapter);
    return s;
}

static void scene_close(scene *s)
{
    ql_model_use_adapter(s->model, NULL);
    ql_adapter_free(&s->adapter);
    ql_model_close(&s->model);
    ql_dataset_close(&s->data);
}

static ql_run *run_open(const scene *s, size_t tokens, size_t sequences)
{
    const ql_run_options opt = {.max_tokens = tokens,
                                .max_length = tokens,
                                .max_sequences = sequences,
                                .training = true};
    ql_run *run = NULL;

    check_ok(ql_run_open(&run, s->model, &opt));
    return run;
}

/* The gradient of a batch's loss, and the loss. Owned: free. */
static float *gradient(scene *s, const ql_batch *b, ql_loss *loss)
{
    ql_run *run = run_open(s, b->T, b->sequences);
    float *grad = malloc(s->adapter.count * sizeof(*grad));

    assert_non_null(grad);
    *loss = (ql_loss){0};
    memset(s->adapter.grad, 0, s->adapter.count * sizeof(*grad));
    ql_run_loss(run, b, &(ql_run_train){.scale = 1}, loss);
    memcpy(grad, s->adapter.grad, s->adapter.count * sizeof(*grad));
    ql_run_close(&run);
    return grad;
}

/* Record i of a batch, alone. */
static ql_batch record_of(const ql_batch *b, size_t i, size_t *ends)
{
    const size_t at = b->start[i];

    ends[0] = 0;
    ends[1] = b->start[i + 1] - at;
    return (ql_batch){.T = ends[1],
                      .sequences = 1,
                      .start = ends,
                      .ids = b->ids + at,
                      .target = b->target + at};
}

static void check_batch(scene *s, const ql_batch *b)
{
    const size_t n = s->adapter.count;
    double *sum = calloc(n, sizeof(*sum));
    ql_loss whole;
    ql_loss apart = {0};
    float *grad = gradient(s, b, &whole);

    assert_non_null(sum);
    for (size_t i = 0; i < b->sequences; i++) {
        size_t ends[2];
        const ql_batch one = record_of(b, i, ends);
        ql_loss loss;
        float *own = gradient(s, &one, &loss);

        for (size_t j = 0; j < n; j++) {
            sum[j] += (double)own[j];
        }
        apart.sum += loss.sum;
        apart.count += loss.count;
        apart.hits += loss.hits;
        free(own);
    }
    assert_int_equal(whole.count, apart.count);
    assert_int_equal(whole.hits, apart.hits);
    assert_true(fabs(whole.sum - apart.sum) < 1e-6 * apart.sum);
    for (size_t i = 0; i < s->adapter.n_tensors; i++) { /* every matrix */
        const size_t at = s->adapter.tensors[i].at;

        assert_true(check_distance(grad + at, sum + at, s->adapter.sizes[i]) <
                    1e-5);
    }
    free(grad);
    free(sum);
}

static void check_model(const char *dir)
{
    scene s = scene_open(dir);
    ql_batches b;

    check_ok(ql_batches_init(
        &b, s.data,
        &(ql_batches_options){.size = 2, .packing = true, .shuffle = true}));
    assert_true(b.max_sequences > 2);
    for (size_t i = 0; i < b.n; i++) {
        ql_batch batch;

        ql_batches_get(&b, i, &batch);
        check_batch(&s, &batch);
    }
    ql_batches_free(&b);
    scene_close(&s);
}

static void packs__have_the_gradients_of_their_records(void **state)
{
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        const char *dir = model_dir(i);

        if (dir) {
            check_model(dir);
        }
    }
}

/* One step over all records, in micro-batches of so many packs or records. */
static float *step_gradient(scene *s, size_t size, bool packing, ql_step *step)
{
    const size_t n = s->adapter.count;
    float *grad = malloc(n * sizeof(*grad));
    ql_train_options o;
    ql_batches b;
    ql_run *run;

    assert_non_null(grad);
    ql_train_options_init(&o);
    o.lora_dropout = 0;
    check_ok(ql_batches_init(
        &b, s->data,
        &(ql_batches_options){
            .size = size, .packing = packing, .shuffle = true, .seed = 9}));
    run = run_open(s, b.max_tokens, b.max_sequences);
    *step = (ql_step){.to = b.n};
    check_ok(ql_step_gradient(step, run, &b, &s->adapter, &o));
    memcpy(grad, s->adapter.grad, n * sizeof(*grad));
    ql_run_close(&run);
    ql_batches_free(&b);
    return grad;
}

/* Accumulation over n micro-batches of 1 equals 1 of n, packed or not. */
static void step__does_not_depend_on_packing_or_cutting(void **state)
{
    scene s = scene_open(toy_model());
    const size_t n = s.adapter.count;
    double *want = malloc(n * sizeof(*want));
    ql_step whole;
    float *grad = step_gradient(&s, SAMPLES, false, &whole);

    (void)state;
    assert_non_null(want);
    for (size_t i = 0; i < n; i++) {
        want[i] = (double)grad[i];
    }
    free(grad);
    for (size_t size = 1; size <= 8; size++) {
        for (int packing = 0; packing < 2; packing++) {
            ql_step step;

            grad = step_gradient(&s, size, packing, &step);
            assert_int_equal(step.tokens, whole.tokens);
            assert_int_equal(step.loss.count, whole.loss.count);
            assert_true(fabs(step.loss.sum - whole.loss.sum) <
                        1e-6 * whole.loss.sum);
            assert_true(fabs(step.grad_norm - whole.grad_norm) <
                        1e-5 * whole.grad_norm);
            assert_true(check_distance(grad, want, n) < 1e-5);
            free(grad);
        }
    }
    free(want);
    scene_close(&s);
}

enum {
    MOST_STEPS = 64
};

/* The course of a run. */
typedef struct course {
    ql_train_event step[MOST_STEPS];
    size_t n;
} course;

static bool note(const ql_train_event *e, void *user)
{
    course *c = user;

    if (e->kind == QL_TRAIN_STEP) {
        assert_true(c->n < MOST_STEPS);
        c->step[c->n++] = *e;
    }
    return true;
}

/* Two epochs in steps of 4 packs or records. */
static course train(size_t size, bool packing, double clip)
{
    ql_train_options o;
    ql_model *m = NULL;
    ql_dataset *data = make_data();
    course c = {.n = 0};

    ql_train_options_init(&o);
    o.lora_r = 3;
    o.lora_dropout = 0;
    o.learning_rate = 1e-3;
    o.lr_scheduler_type = QL_SCHEDULER_LINEAR;
    o.max_grad_norm = clip;
    o.num_train_epochs = 2;
    o.per_device_train_batch_size = size;
    o.gradient_accumulation_steps = 4 / size;
    o.packing = packing;
    o.logging_steps = 1;
    o.save_strategy = QL_STRATEGY_NO;
    o.overwrite_output_dir = true;
    check_ok(ql_model_open(&m, toy_model(), NULL));
    check_ok(
        ql_train(m, data, NULL, check_tmp_path("course"), &o, note, &c, NULL));
    ql_model_close(&m);
    ql_dataset_close(&data);
    return c;
}

/* Steps of the same records: what differs is rounding. */
static void check_courses(const course *a, const course *b)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        const ql_train_event *x = &a->step[i];
        const ql_train_event *y = &b->step[i];

        assert_int_equal(x->total_steps, a->n);
        assert_int_equal(x->tokens, y->tokens);
        assert_true(x->epoch == y->epoch);
        assert_true(x->learning_rate == y->learning_rate);
        assert_true(fabs(x->loss - y->loss) < 1e-5 * y->loss);
        assert_true(fabs(x->grad_norm - y->grad_norm) < 1e-3 * y->grad_norm);
    }
}

static void training__does_not_depend_on_accumulation(void **state)
{
    (void)state;
    for (int packing = 0; packing < 2; packing++) {
        const course one = train(1, packing, 0.3);

        assert_true(one.n >= 4 && one.step[one.n - 1].epoch == 2);
        assert_true(one.step[0].sequences == (packing ? 8 : SAMPLES));
        for (size_t size = 2; size <= 4; size *= 2) {
            const course more = train(size, packing, 0.3);

            check_courses(&one, &more);
        }
    }
}

/* Learning rates are those of the schedule; the norm of the gradient is told
 * as it was before clipping. */
static void training__tells_true_numbers(void **state)
{
    const course clipped = train(1, true, 1e-3);
    const course free = train(1, true, 0);
    const size_t n = clipped.n;

    (void)state;
    assert_int_equal(n, free.n);
    for (size_t i = 0; i < n; i++) {
        const double left = (double)(n - i) / (double)(n - 1);

        assert_true(fabs(clipped.step[i].learning_rate -
                         (i == 0 ? 0 : 1e-3 * left)) < 1e-15);
    }
    /* the first step, of learning rate 0, changes nothing */
    assert_true(clipped.step[0].grad_norm == free.step[0].grad_norm);
    assert_true(clipped.step[1].grad_norm == free.step[1].grad_norm);
    assert_true(clipped.step[0].grad_norm > 0.01);
}

/* Sets the targets of all records but one to none. */
static void learn_only(ql_batch *b, int32_t *target, size_t record)
{
    for (size_t t = 0; t < b->T; t++) {
        const bool own = t >= b->start[record] && t < b->start[record + 1];

        target[t] = own ? b->target[t] : -1;
    }
    b->target = target;
}

/* Whether the loss and the gradient of one record change, in any bit, when
 * another one does. */
static bool is_touched(scene *s, ql_batch b, size_t record, size_t other)
{
    int32_t ids[4 * LONGEST];
    int32_t target[4 * LONGEST];
    ql_loss before;
    ql_loss after;
    float *a;
    float *c;
    bool touched;

    learn_only(&b, target, record);
    a = gradient(s, &b, &before);
    memcpy(ids, b.ids, b.T * sizeof(*ids));
    for (size_t t = b.start[other]; t < b.start[other + 1]; t++) {
        ids[t] = (ids[t] + 7) % VOCAB;
    }
    b.ids = ids;
    c = gradient(s, &b, &after);
    touched = memcmp(&before.sum, &after.sum, sizeof(double)) != 0 ||
              memcmp(a, c, s->adapter.count * sizeof(*a)) != 0;
    free(a);
    free(c);
    return touched;
}

static void check_apart(const char *dir)
{
    scene s = scene_open(dir);
    ql_batches b;
    ql_batch batch;

    check_ok(ql_batches_init(
        &b, s.data,
        &(ql_batches_options){.size = 2, .packing = true, .shuffle = true}));
    ql_batches_get(&b, 0, &batch);
    assert_true(batch.sequences > 2 && batch.T <= 4 * LONGEST);
    for (size_t i = 0; i + 1 < batch.sequences; i++) {
        assert_true(is_touched(&s, batch, i, i));
        assert_false(is_touched(&s, batch, i, i + 1));
        assert_false(is_touched(&s, batch, i + 1, i));
    }
    ql_batches_free(&b);
    scene_close(&s);
}

static void records__do_not_know_of_each_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        const char *dir = model_dir(i);

        if (dir) {
            check_apart(dir);
        }
    }
}

/* As one sequence the same tokens do know of those before them. */
static void records__that_are_one_sequence_do(void **state)
{
    static const size_t two[] = {0, 10, 20};
    static const size_t one[] = {0, 20};
    scene s = scene_open(toy_model());
    const ql_sample sample = ql_dataset_sample(s.data, 0);
    int32_t target[20];
    ql_batch b = {.T = 20,
                  .sequences = 2,
                  .start = two,
                  .ids = sample.ids,
                  .target = target};
    ql_loss apart;
    ql_loss joined;

    (void)state;
    for (size_t t = 0; t < 20; t++) {
        target[t] = t >= 10 && t < 19 ? sample.ids[t + 1] : -1;
    }
    free(gradient(&s, &b, &apart));
    b.sequences = 1;
    b.start = one;
    free(gradient(&s, &b, &joined));
    assert_true(fabs(apart.sum - joined.sum) > 1e-4 * joined.sum);
    scene_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packs__have_the_gradients_of_their_records),
        cmocka_unit_test(step__does_not_depend_on_packing_or_cutting),
        cmocka_unit_test(training__does_not_depend_on_accumulation),
        cmocka_unit_test(training__tells_true_numbers),
        cmocka_unit_test(records__do_not_know_of_each_other),
        cmocka_unit_test(records__that_are_one_sequence_do),
    };

    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
