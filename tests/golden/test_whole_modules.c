/* What modules_to_save trains whole beside pairs, but embedding and head:
 * linear layers of blocks, norms, a pooler, learned positions. A fresh adapter
 * changes nothing, so the gradients are those of the reference with all weights
 * trained; of matrices, those of ours, which test_full holds to the reference.
 * Then the adapter goes to PEFT's folder and back. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/convert/adapter_make.h"
#include "src/convert/peft.h"
#include "tests/check/check.h"
#include "tests/golden/lost_bias.h"

static const double NOTHING = 1e-7;

enum {
    NAME_BYTES = 300,
    MOST = 96 /* modules of a golden model that can be trained whole */
};

/* A folder at work. */
typedef struct folder {
    const char *dir;
    ql_model *m;
    const ql_safetensors *f;
    reference_rows rows;
    ql_adapter full;    /* all weights, with their gradients */
    const char *target; /* of pairs beside all that is whole; NULL: any */
} folder;

/* Gradients into a; the mean loss. */
static double run_with(const folder *d, ql_adapter *a, size_t keep)
{
    const ql_batch *b = &d->rows.batch;
    const ql_run_train how = {.scale = (float)(1.0 / (double)d->rows.trained)};
    ql_loss sum = {0};
    ql_run *run;

    ql_model_use_adapter(d->m, a);
    run = reference_run(d->m, b, keep);
    memset(a->grad, 0, a->count * sizeof(float));
    ql_run_loss(run, b, &how, &sum);
    ql_run_close(&run);
    ql_model_use_adapter(d->m, NULL);
    return sum.sum / (double)sum.count;
}

/* Tensor i of an adapter, by its name, among all weights. */
static size_t find_full(const folder *d, const ql_adapter *a, size_t i)
{
    char want[NAME_BYTES];
    char name[NAME_BYTES];

    ql_adapter_name(a, i, want, sizeof(want));
    for (size_t j = 0; j < d->full.n_tensors; j++) {
        ql_adapter_name(&d->full, j, name, sizeof(name));
        if (strcmp(want + strlen("base_model.model."), name) == 0) {
            return j;
        }
    }
    fail_msg("%s: no weight %s", d->dir, want);
    return 0;
}

/* The gradient of one, by the reference where that has it, which of vectors
 * only files of others may lack. Owned: free. */
static double *want_of(const folder *d, size_t j)
{
    const size_t n = d->full.sizes[j];
    char name[NAME_BYTES] = "fullgrad.";
    double *want;

    ql_adapter_name(&d->full, j, name + 9, sizeof(name) - 9);
    if (ql_safetensors_find(d->f, name)) {
        return reference_doubles(d->f, name);
    }
    assert_true(d->full.tensors[j].rank == 2 || reference_elsewhere());
    want = malloc(n * sizeof(*want));
    for (size_t k = 0; k < n; k++) {
        want[k] = (double)d->full.grad[d->full.tensors[j].at + k];
    }
    return want;
}

static bool is_whole(const ql_adapter *a, size_t i)
{
    return a->tensors[i].part == QL_PART_WHOLE;
}

/* Gradients of what is trained whole. Returns how many were looked at. */
static size_t check_gradients(const folder *d, const ql_adapter *a)
{
    size_t n = 0;

    for (size_t i = 0; i < a->n_tensors; i++) {
        const float *got = a->grad + a->tensors[i].at;
        double square = 0;
        double *want;

        if (!is_whole(a, i) ||
            a->entries[a->tensors[i].entry].site.place == QL_PLACE_HEAD) {
            continue;
        }
        want = want_of(d, find_full(d, a, i));
        for (size_t k = 0; k < a->sizes[i]; k++) {
            square += want[k] * want[k];
        }
        if (square > NOTHING * NOTHING &&
            !(check_distance(got, want, a->sizes[i]) <=
              reference_tolerance(a, i))) {
            char name[NAME_BYTES];

            ql_adapter_name(a, i, name, sizeof(name));
            fail_msg("%s: %s: off by %.3g", d->dir, name,
                     check_distance(got, want, a->sizes[i]));
        }
        free(want);
        n++;
    }
    return n;
}

/* Paths of what can be trained whole, but embedding and head; of linear layers
 * those of the last block, so that there is a place for pairs. */
static size_t list_wholes(const folder *d, char paths[MOST][200])
{
    const ql_config *c = &d->m->config;
    size_t n = 0;

    for (size_t i = 0; i < ql_site_count(c); i++) {
        const ql_site site = ql_site_at(c, i);

        if ((site.place != QL_PLACE_BLOCK || site.layer + 1 == c->layers) &&
            site.place != QL_PLACE_EMBED && site.place != QL_PLACE_HEAD) {
            assert_true(n < MOST);
            ql_site_path(c->arch, site, paths[n++], 200);
        }
    }
    return n;
}

static ql_train_options options(const char *const *targets, size_t n_targets,
                                const char *const *saves, size_t n_saves)
{
    ql_train_options o;

    ql_train_options_init(&o);
    o.lora_r = 2;
    o.lora_dropout = 0;
    o.lora_target_modules = (ql_list){targets, n_targets};
    o.modules_to_save = (ql_list){saves, n_saves};
    return o;
}

static ql_adapter make(const folder *d, const ql_train_options *o)
{
    ql_adapter a;

    check_ok(ql_adapter_make(&a, &d->m->config, &d->m->weights, o, 7, true));
    return a;
}

/* Each of them alone, with the pair of the head only, so that the backward has
 * a reason of its own to come that far; a pooler, which is the last of all that
 * takes a pair, with those of a projection. */
static void check_each(folder *d, char paths[MOST][200], size_t n)
{
    const ql_names *names = d->m->config.arch->names;
    const char *last = names->pooler ? names->pooler : names->head;

    for (size_t i = 0; i < n; i++) {
        const char *save[] = {paths[i]};
        const char *target[] = {strstr(paths[i], last) ? "query" : last};
        const ql_train_options o = options(target, 1, save, 1);
        ql_adapter a = make(d, &o);

        run_with(d, &a, 0);
        assert_true(check_gradients(d, &a) > 0);
        ql_adapter_free(&a);
    }
}

static void check_folder_of_peft(folder *d, ql_adapter *a,
                                 const ql_train_options *o)
{
    const char *dir = check_tmp_path("saved");
    ql_adapter back;

    check_ok(ql_dir_make(dir));
    check_ok(ql_peft_save(a, d->dir, dir));
    check_ok(ql_peft_load_onto(&back, d->m, dir));
    assert_int_equal(back.count, a->count);
    assert_memory_equal(back.param, a->param, a->count * sizeof(float));
    assert_int_equal(back.n_plain, a->n_plain);
    assert_null(back.fixed);
    check_ok(ql_adapter_matches(&back, &d->m->config, o, dir));
    check_ok(ql_adapter_train(&back));
    assert_true(run_with(d, &back, 0) == run_with(d, a, 0));
    ql_adapter_free(&back);
    check_ok(ql_dir_remove(dir));
}

/* Changed, the weights do what they do as the model's own. */
static void check_use(folder *d, ql_adapter *a)
{
    const double before = run_with(d, a, 0);
    double after;

    for (size_t i = 0; i < a->n_tensors; i++) {
        float *to = a->param + a->tensors[i].at;
        size_t j;

        if (!is_whole(a, i)) {
            continue;
        }
        j = find_full(d, a, i);
        assert_memory_equal(to, d->full.param + d->full.tensors[j].at,
                            a->sizes[i] * sizeof(float));
        for (size_t k = 0; k < a->sizes[i]; k++) {
            to[k] += 0.1F * (float)(k % 7) - 0.2F;
        }
        memcpy(d->full.param + d->full.tensors[j].at, to,
               a->sizes[i] * sizeof(float));
    }
    ql_adapter_settle(&d->full);
    after = run_with(d, a, 0);
    assert_true(fabs(after - run_with(d, &d->full, 0)) <= 1e-6 * after);
    assert_true(fabs(after - before) > 1e-4 * before);
}

/* All that can be whole is; saves[] holds the paths. */
static ql_train_options options_of_all(const folder *d, char paths[MOST][200],
                                       size_t n, const char *saves[MOST])
{
    for (size_t i = 0; i < n; i++) {
        saves[i] = paths[i];
    }
    return options(&d->target, d->target ? 1 : 0, saves, n);
}

static void check_all(folder *d, char paths[MOST][200], size_t n)
{
    const char *saves[MOST];
    const ql_train_options o = options_of_all(d, paths, n, saves);
    ql_adapter a = make(d, &o);

    for (size_t keep = 0; keep <= d->m->config.layers; keep++) {
        run_with(d, &a, keep);
        assert_true(check_gradients(d, &a) >= n);
    }
    check_use(d, &a);
    check_folder_of_peft(d, &a, &o);
    ql_adapter_free(&a);
}

/* Beside weights that are quantized while they are loaded, they begin as the
 * folder has them, all the same. */
static void check_quantized(const folder *d, const char *dir,
                            char paths[MOST][200], size_t n)
{
    folder q = *d;
    const char *saves[MOST];
    const ql_train_options o = options_of_all(d, paths, n, saves);
    ql_adapter a;

    check_ok(ql_model_open(&q.m, dir, NULL));
    a = make(&q, &o);
    for (size_t i = 0; i < a.n_tensors; i++) {
        if (is_whole(&a, i) && a.tensors[i].rank == 2) {
            const size_t j = find_full(d, &a, i);

            assert_memory_equal(a.param + a.tensors[i].at,
                                d->full.param + d->full.tensors[j].at,
                                a.sizes[i] * sizeof(float));
        }
    }
    ql_adapter_free(&a);
    ql_model_close(&q.m);
}

static void make_full(folder *d)
{
    const ql_train_options o = {.method = QL_METHOD_FULL};

    d->full = make(d, &o);
    for (size_t i = 0; i < d->full.n; i++) {
        const ql_site s = d->full.entries[i].site;

        if (s.place == QL_PLACE_BLOCK && s.bias) { /* found by lost_bias */
            memcpy(d->full.param + d->full.tensors[i].at,
                   d->m->weights.layers[s.layer].linear[s.module].bias,
                   d->full.sizes[i] * sizeof(float));
        }
    }
}

/* Of a single block nothing is left for pairs: the head gets one, or, where a
 * pooler is whole, the embedding. */
static const char *target_beside_all(const ql_config *c)
{
    const ql_names *names = c->arch->names;

    return c->layers > 1   ? NULL
           : names->pooler ? ql_name_leaf(names->embed)
                           : names->head;
}

static void check_folder(const char *dir)
{
    folder d = {.dir = dir};
    const bool lost = lost_bias_is(dir);
    char paths[MOST][200];
    ql_safetensors *f = NULL;
    ql_model_options opt;
    size_t n;

    ql_model_options_init(&opt);
    opt.quantize = false;
    check_ok(ql_model_open(&d.m, lost ? lost_bias_copy(dir) : dir, &opt));
    check_ok(
        ql_safetensors_open(&f, reference_path(dir, "golden.safetensors")));
    d.f = f;
    reference_rows_load(&d.rows, f);
    if (lost) {
        lost_bias_find(d.m, dir, &d.rows);
    }
    d.target = target_beside_all(&d.m->config);
    make_full(&d);
    run_with(&d, &d.full, 0);
    n = list_wholes(&d, paths);
    assert_true(n > 0);
    check_quantized(&d, lost ? lost_bias_copy(dir) : dir, paths, n);
    check_each(&d, paths, n);
    check_all(&d, paths, n);
    print_message("%s: %zu modules\n", dir, n);
    ql_adapter_free(&d.full);
    reference_rows_free(&d.rows);
    ql_safetensors_close(&f);
    ql_model_close(&d.m);
}

static void whole_modules__train_as_the_reference(void **state)
{
    (void)state;
    reference_each(reference_models(), check_folder);
}

static void whole_modules__of_classifiers_train_as_the_reference(void **state)
{
    (void)state;
    if (reference_classifiers(reference_models(), check_folder) == 0) {
        assert_true(reference_elsewhere());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_modules__train_as_the_reference),
        cmocka_unit_test(whole_modules__of_classifiers_train_as_the_reference),
    };

    check_need_shared();
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
