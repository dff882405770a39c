/* Gradients of all weights of whole models against the reference classes of
 * transformers in double precision.
 *
 * Those of vectors are in golden.safetensors, as "fullgrad.NAME". Those of
 * matrices are seen
 * through the adapters of the folder: with W' = W + s B A and a gradient dW'
 *
 *   dA = s B^T dW',   dB = s dW' A^T
 *
 * and what modules_to_save trains whole has its own. Embeddings, which a tied
 * head shares, are also held to the slope of the loss. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/convert/adapter_make.h"
#include "src/convert/trained_folder.h"
#include "src/op/vec.h"
#include "tests/check/check.h"
#include "tests/golden/lost_bias.h"

static const double LOSS_TOLERANCE = 1e-6;   /* relative */
static const double MATRIX_TOLERANCE = 1e-5; /* relative, in norm */
static const double SLOPE_TOLERANCE = 1e-3;
static const double HALF_TOLERANCE = 0x1p-8;
static const double NOTHING = 1e-7;

enum {
    NAME_BYTES = 300
};

/* A folder at work. */
typedef struct folder {
    const char *dir;
    ql_model *m;
    reference_rows rows;
    ql_adapter full;
    size_t seen; /* matrices */
    double worst;
} folder;

/* Copies of all weights, with the biases that lost_bias_find put in place. */
static void make_full(folder *d)
{
    const ql_train_options o = {.method = QL_METHOD_FULL};
    ql_adapter *a = &d->full;

    check_ok(ql_adapter_make(a, &d->m->config, &d->m->weights, &o, 0, true));
    for (size_t i = 0; i < a->n; i++) {
        const ql_site s = a->entries[i].site;

        if (s.place == QL_PLACE_BLOCK && s.bias) {
            memcpy(a->param + a->tensors[i].at,
                   d->m->weights.layers[s.layer].linear[s.module].bias,
                   a->sizes[i] * sizeof(float));
        }
    }
}

/* Gradients into d->full; the mean loss. */
static double run_full(folder *d, size_t keep)
{
    const ql_batch *b = &d->rows.batch;
    const ql_run_train how = {.scale = (float)(1.0 / (double)d->rows.trained)};
    ql_loss sum = {0};
    ql_run *run;

    ql_model_use_adapter(d->m, &d->full);
    run = reference_run(d->m, b, keep);
    memset(d->full.grad, 0, d->full.count * sizeof(float));
    ql_run_loss(run, b, &how, &sum);
    ql_run_close(&run);
    ql_model_use_adapter(d->m, NULL);
    return sum.sum / (double)sum.count;
}

static void note(folder *d, double off, double tolerance, const char *name)
{
    if (!(off <= tolerance)) {
        fail_msg("%s: %s: off by %.3g in norm", d->dir, name, off);
    }
    d->worst = fmax(d->worst, off);
}

/* One tensor. Biases of keys that are not turned add the same to all scores of
 * a query: their gradient is nothing but what rounding leaves. */
static void check_one(folder *d, const float *got, const double *want, size_t n,
                      double tolerance, const char *name)
{
    double square = 0;

    for (size_t j = 0; j < n; j++) {
        square += want[j] * want[j];
    }
    if (square > NOTHING * NOTHING) {
        note(d, check_distance(got, want, n), tolerance, name);
    } else {
        check_close(got, want, n, NOTHING, name);
    }
}

/* Every vector is in the file, and nothing else is; files of others may have
 * none at all. */
static void check_vectors(folder *d, const ql_safetensors *f)
{
    const ql_adapter *a = &d->full;
    size_t want = 0;
    size_t got = 0;

    for (size_t i = 0; i < ql_safetensors_count(f); i++) {
        want += strncmp(ql_safetensors_at(f, i)->name, "fullgrad.", 9) == 0;
    }
    if (want == 0 && reference_elsewhere()) {
        return;
    }
    for (size_t i = 0; i < a->n_tensors; i++) {
        char name[NAME_BYTES] = "fullgrad.";
        double *g;

        ql_adapter_name(a, i, name + 9, sizeof(name) - 9);
        if (a->tensors[i].rank == 1) {
            g = reference_doubles(f, name);
            check_one(d, a->grad + a->tensors[i].at, g, a->sizes[i],
                      reference_tolerance(a, i), name);
            free(g);
            got++;
        }
    }
    assert_int_equal(got, want);
    assert_int_equal(got, a->n_plain);
}

/* The tensor of all weights that an adapter's entry is about. */
static const ql_adapter_tensor *tensor_at(const ql_adapter *full, ql_site site)
{
    for (size_t i = 0; i < full->n; i++) {
        const ql_site s = full->entries[i].site;

        if (s.place == site.place && s.bias == site.bias &&
            (s.place != QL_PLACE_BLOCK ||
             (s.layer == site.layer && s.module == site.module))) {
            return &full->tensors[i];
        }
    }
    fail_msg("no such weight");
    return NULL;
}

/* One pair of an adapter, in the form of the matrix [rows, cols]:
 * W += left right, left [rows, r], right [r, cols]. An embedding is stored
 * [V, C], which makes A^T the left one. */
typedef struct pair {
    size_t rows, cols, r;
    const float *left, *right; /* by strides: */
    size_t left_row, left_r, right_r, right_col;
    double scale;
} pair;

static pair pair_of(const ql_adapter *a, const ql_adapter_entry *e)
{
    const float *down = a->param + a->tensors[e->first].at;
    const float *up = a->param + a->tensors[e->first + 1].at;

    if (e->site.place == QL_PLACE_EMBED) {
        return (pair){e->in, e->out, e->r, down, up,
                      1,     e->in,  1,    e->r, (double)e->scale};
    }
    return (pair){e->out, e->in, e->r,  up, down,
                  e->r,   1,     e->in, 1,  (double)e->scale};
}

static void merge(float *w, const pair *p)
{
    for (size_t i = 0; i < p->rows; i++) {
        for (size_t j = 0; j < p->cols; j++) {
            double sum = 0;

            for (size_t k = 0; k < p->r; k++) {
                sum += (double)p->left[i * p->left_row + k * p->left_r] *
                       (double)p->right[k * p->right_r + j * p->right_col];
            }
            w[i * p->cols + j] += (float)(p->scale * sum);
        }
    }
}

/* Gradients of both, laid out as they are. */
static void through(const float *dw, const pair *p, float *dleft, float *dright)
{
    for (size_t k = 0; k < p->r; k++) {
        for (size_t i = 0; i < p->rows; i++) {
            double sum = 0;

            for (size_t j = 0; j < p->cols; j++) {
                sum += (double)dw[i * p->cols + j] *
                       (double)p->right[k * p->right_r + j * p->right_col];
            }
            dleft[i * p->left_row + k * p->left_r] = (float)(p->scale * sum);
        }
        for (size_t j = 0; j < p->cols; j++) {
            double sum = 0;

            for (size_t i = 0; i < p->rows; i++) {
                sum += (double)dw[i * p->cols + j] *
                       (double)p->left[i * p->left_row + k * p->left_r];
            }
            dright[k * p->right_r + j * p->right_col] = (float)(p->scale * sum);
        }
    }
}

static void compare(folder *d, const ql_adapter *a, size_t tensor,
                    const float *got, const ql_safetensors *f)
{
    char name[NAME_BYTES];
    double *want;

    reference_name(a, tensor, "grad.", name, sizeof(name));
    want = reference_doubles(f, name);
    note(d, check_distance(got, want, a->sizes[tensor]), MATRIX_TOLERANCE,
         name);
    free(want);
}

/* Puts what an adapter makes of the weights in their place. */
static void merge_all(folder *d, const ql_adapter *a)
{
    for (size_t i = 0; i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];
        float *w = d->full.param + tensor_at(&d->full, e->site)->at;

        if (e->r > 0) {
            const pair p = pair_of(a, e);

            merge(w, &p);
        } else {
            memcpy(w, a->param + a->tensors[e->first].at,
                   a->sizes[e->first] * sizeof(float));
        }
    }
}

static void compare_all(folder *d, const ql_adapter *a, const ql_safetensors *f)
{
    for (size_t i = 0; i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];
        const float *dw = d->full.grad + tensor_at(&d->full, e->site)->at;

        if (e->r > 0) {
            const bool embed = e->site.place == QL_PLACE_EMBED;
            const pair p = pair_of(a, e);
            float *da = malloc(a->sizes[e->first] * sizeof(float));
            float *db = malloc(a->sizes[e->first + 1] * sizeof(float));

            through(dw, &p, embed ? da : db, embed ? db : da);
            compare(d, a, e->first, da, f);
            compare(d, a, e->first + 1, db, f);
            free(da);
            free(db);
        } else {
            compare(d, a, e->first, dw, f);
        }
        d->seen++;
    }
}

/* A pair of a head that shares the embedding changes only one of its two uses,
 * as no weight of the model can. */
static bool parts_head(const folder *d, const ql_adapter *a)
{
    for (size_t i = 0; i < a->n; i++) {
        if (a->entries[i].site.place == QL_PLACE_HEAD && d->m->config.tied) {
            return true;
        }
    }
    return false;
}

static void check_merged(folder *d, const ql_adapter *a,
                         const ql_safetensors *f)
{
    double *want = reference_doubles(f, "losses");

    make_full(d);
    merge_all(d, a);
    assert_true(fabs(run_full(d, 0) - want[0]) <=
                LOSS_TOLERANCE * fabs(want[0]));
    compare_all(d, a, f);
    ql_adapter_free(&d->full);
    free(want);
}

/* Gradients of the matrices that an adapter changes. DoRA has gains that no
 * matrix shows. */
static void check_matrices(folder *d, const char *path, const char *json)
{
    ql_safetensors *f = NULL;
    reference_adapter r;
    ql_adapter a;

    check_ok(ql_safetensors_open(&f, path));
    reference_adapter_load(&r, json, f, d->m->config.arch);
    if (!r.o.use_dora) {
        check_ok(
            ql_adapter_make(&a, &d->m->config, &d->m->weights, &r.o, 1, false));
        reference_adapter_init(&a, f);
        if (!parts_head(d, &a)) {
            check_merged(d, &a, f);
        }
        ql_adapter_free(&a);
    }
    reference_adapter_free(&r);
    ql_safetensors_close(&f);
}

static void check_all_matrices(folder *d)
{
    static const char *const names[] = {"lora", "lora_embhead", "lora_modsave",
                                        "lora_patterns", "lora_rslora"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char file[64];
        char json[64];

        snprintf(file, sizeof(file), "%s.safetensors", names[i]);
        snprintf(json, sizeof(json), "%s.json", names[i]);
        if (ql_path_exists(reference_path(d->dir, file))) {
            check_matrices(d, reference_path(d->dir, file),
                           reference_path(d->dir, json));
        }
    }
    assert_true(d->seen > 0 || reference_elsewhere());
}

static double shifted_loss(folder *d, const ql_adapter_tensor *t,
                           const float *before, const float *along, double by)
{
    const size_t n = t->shape[0] * t->shape[1];

    for (size_t j = 0; j < n; j++) {
        d->full.param[t->at + j] =
            (float)((double)before[j] + by * (double)along[j]);
    }
    return run_full(d, 0);
}

/* The loss rises along a gradient as its square says. */
static void check_slope_along(folder *d, size_t i)
{
    const ql_adapter_tensor *t = &d->full.tensors[i];
    const size_t n = d->full.sizes[i];
    float *before = malloc(n * sizeof(float));
    float *along = malloc(n * sizeof(float));
    double square = 0;
    double by;
    double slope;

    memcpy(before, d->full.param + t->at, n * sizeof(float));
    memcpy(along, d->full.grad + t->at, n * sizeof(float));
    for (size_t j = 0; j < n; j++) {
        square += (double)along[j] * (double)along[j];
    }
    by = 4e-3 / sqrt(square);
    slope = (shifted_loss(d, t, before, along, by) -
             shifted_loss(d, t, before, along, -by)) /
            (2 * by);
    shifted_loss(d, t, before, along, 0);
    if (!(fabs(slope - square) <= SLOPE_TOLERANCE * square)) {
        fail_msg("%s: tensor %zu: slope %.9g, but %.9g by the gradient", d->dir,
                 i, slope, square);
    }
    free(before);
    free(along);
}

static void check_embeddings(folder *d)
{
    for (size_t i = 0; i < d->full.n; i++) {
        const ql_site site = d->full.entries[i].site;
        const ql_place place = site.place;

        if (site.bias) {
            continue;
        }
        if (place == QL_PLACE_EMBED || place == QL_PLACE_HEAD ||
            place == QL_PLACE_POSITION || place == QL_PLACE_TYPES) {
            check_slope_along(d, i);
        }
    }
}

/* Saved as a model, all weights are read again to the bit, and are a model. */
static void check_saved(folder *d)
{
    const ql_train_options o = {.method = QL_METHOD_FULL,
                                .dtype = d->full.opt.half ? QL_WEIGHT_BF16
                                                          : QL_WEIGHT_FP32};
    const char *dir = check_tmp_path("saved");
    const size_t bytes = d->full.count * sizeof(float);
    ql_model_options opt;
    ql_model *m = NULL;
    ql_adapter back;

    ql_model_options_init(&opt);
    opt.quantize = false;
    check_ok(ql_dir_make(dir));
    check_ok(ql_trained_save(&d->full, d->m, true, dir));
    check_ok(ql_model_open(&m, dir, &opt));
    check_ok(ql_adapter_make(&back, &m->config, &m->weights, &o, 0, false));
    assert_int_equal(back.count, d->full.count);
    assert_memory_equal(back.param, d->full.param, bytes);
    memset(back.param, 0, bytes);
    check_ok(ql_trained_read(&back, dir));
    assert_memory_equal(back.param, d->full.param, bytes);
    ql_adapter_free(&back);
    ql_model_close(&m);
    check_ok(ql_dir_remove(dir));
}

/* Tensor i of arrays in bf16, or of vectors, in f32. Owned: free. */
static float *wide_of(const ql_adapter *a, const float *array, size_t i)
{
    const size_t n = a->sizes[i];
    float *wide = malloc(n * sizeof(float));

    if (i < a->n_half) {
        ql_vec_from_bf16(
            wide, (const uint16_t *)(const void *)(array + a->tensors[i].at),
            n);
    } else {
        memcpy(wide, array + a->tensors[i].at, n * sizeof(float));
    }
    return wide;
}

/* With matrices in bf16, loss and gradients are those of the same weights in
 * f32; gradients of matrices are rounded, some of them several times. */
static void check_half(folder *d)
{
    const ql_train_options o = {.method = QL_METHOD_FULL,
                                .dtype = QL_WEIGHT_BF16};
    folder half = {.dir = d->dir, .m = d->m, .rows = d->rows};
    double losses[2];

    check_ok(ql_adapter_make(&half.full, &d->m->config, &d->m->weights, &o, 0,
                             true));
    assert_int_equal(half.full.elements, d->full.elements);
    assert_true(half.full.count < d->full.count * 3 / 5);
    for (size_t i = 0; i < d->full.n_tensors; i++) {
        const size_t n = d->full.sizes[i] * sizeof(float);
        float *to = d->full.param + d->full.tensors[i].at;
        float *wide;

        if (i >= half.full.n_half) { /* lost_bias_find put some in place */
            memcpy(half.full.param + half.full.tensors[i].at, to, n);
        }
        wide = wide_of(&half.full, half.full.param, i);
        memcpy(to, wide, n);
        free(wide);
    }
    ql_adapter_settle(&half.full);
    losses[0] = run_full(d, 0);
    losses[1] = run_full(&half, 0);
    assert_true(fabs(losses[0] / losses[1] - 1) <= LOSS_TOLERANCE);
    for (size_t i = 0; i < d->full.n_tensors; i++) {
        double *want = malloc(d->full.sizes[i] * sizeof(double));
        float *got = wide_of(&half.full, half.full.grad, i);
        const float *from = d->full.grad + d->full.tensors[i].at;

        for (size_t j = 0; j < d->full.sizes[i]; j++) {
            want[j] = (double)from[j];
        }
        check_one(&half, got, want, d->full.sizes[i],
                  i < half.full.n_half ? HALF_TOLERANCE
                                       : reference_tolerance(&half.full, i),
                  "a tensor in bf16");
        free(got);
        free(want);
    }
    check_saved(&half);
    ql_adapter_free(&half.full);
    print_message("%s: in bf16 off by at most %.2g\n", d->dir, half.worst);
}

static void check_folder(const char *dir)
{
    folder d = {.dir = dir};
    const bool lost = lost_bias_is(dir);
    ql_model_options opt;
    ql_safetensors *f = NULL;
    double *want;

    ql_model_options_init(&opt);
    opt.quantize = false;
    check_ok(ql_model_open(&d.m, lost ? lost_bias_copy(dir) : dir, &opt));
    check_ok(
        ql_safetensors_open(&f, reference_path(dir, "golden.safetensors")));
    reference_rows_load(&d.rows, f);
    if (lost) {
        lost_bias_find(d.m, dir, &d.rows);
    }
    want = reference_doubles(f, "loss");
    make_full(&d);
    for (size_t keep = 0; keep <= d.m->config.layers; keep++) {
        assert_true(fabs(run_full(&d, keep) - want[0]) <=
                    LOSS_TOLERANCE * fabs(want[0]));
        check_vectors(&d, f);
    }
    check_embeddings(&d);
    check_saved(&d);
    check_half(&d);
    ql_adapter_free(&d.full);
    print_message("%s: vectors off by at most %.2g", dir, d.worst);
    d.worst = 0;
    check_all_matrices(&d);
    print_message(", %zu matrices by %.2g\n", d.seen, d.worst);
    free(want);
    reference_rows_free(&d.rows);
    ql_safetensors_close(&f);
    ql_model_close(&d.m);
}

static void gradients__of_all_weights_match_the_reference(void **state)
{
    (void)state;
    reference_each(reference_models(), check_folder);
}

static void gradients__of_classifiers_match_the_reference(void **state)
{
    (void)state;
    if (reference_classifiers(reference_models(), check_folder) == 0) {
        assert_true(reference_elsewhere());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients__of_all_weights_match_the_reference),
        cmocka_unit_test(gradients__of_classifiers_match_the_reference),
    };

    check_need_shared();
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
