#include "tests/golden/matches.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/convert/adapter_make.h"
#include "src/convert/peft.h"
#include "src/op/vec.h"
#include "src/train/optimizer.h"
#include "tests/check/check.h"
#include "tests/check/toy_run.h"
#include "tests/golden/lost_bias.h"

/* What the reference promises to agree with; see the issue of the golden
 * data. */
static const double LOGIT_TOLERANCE = 2e-5; /* of the largest */
static const double LOSS_TOLERANCE = 1e-6;  /* relative */
static const double GRAD_TOLERANCE = 3e-5;  /* relative, in norm */
static const double STEP_TOLERANCE = 1e-5;  /* of the three losses */
static const double AFTER_TOLERANCE = 5e-4; /* of the weights after them */

enum {
    NAME_BYTES = 300
};

/* A folder at work. */
typedef struct folder {
    const char *dir;
    ql_model *m;
    reference_rows rows;
} folder;

/* Logits of all tokens, or of a classifier's texts, as the reference has them:
 * got[i] belongs to row place[i]. Owned: *got, *place. */
static size_t logits_of(const folder *d, float **got, size_t **place)
{
    const ql_batch *b = &d->rows.batch;
    const size_t V = ql_config_head(&d->m->config);
    const bool classifier = d->m->config.arch->classifier;
    const size_t n = classifier ? b->sequences : b->T;
    size_t *all = malloc(n * sizeof(size_t));
    ql_run *run = reference_run(d->m, &d->rows.batch, 0);

    *got = malloc(n * V * sizeof(float));
    *place = malloc(n * sizeof(size_t));
    for (size_t i = 0; i < n; i++) {
        all[i] = i;
        (*place)[i] = classifier ? i : d->rows.place[i];
    }
    if (classifier) {
        ql_run_classes(run, b, *got);
    } else {
        ql_run_logits(run, b, all, n, *got);
    }
    ql_run_close(&run);
    free(all);
    return n;
}

static void check_logits(const folder *d, const ql_safetensors *f,
                         const char *name)
{
    const size_t V = ql_config_head(&d->m->config);
    double *want = reference_doubles(f, name);
    double largest = 0;
    double off = 0;
    size_t *place;
    float *got;
    const size_t n = logits_of(d, &got, &place);

    for (size_t t = 0; t < n; t++) {
        for (size_t v = 0; v < V; v++) {
            const double w = want[place[t] * V + v];

            largest = fmax(largest, fabs(w));
            off = fmax(off, fabs((double)got[t * V + v] - w));
        }
    }
    print_message("  %s: off by %.2g of the largest\n", name, off / largest);
    assert_true(off <= LOGIT_TOLERANCE * largest);
    free(want);
    free(got);
    free(place);
}

static double mean_loss(ql_run *run, const folder *d, bool train)
{
    const ql_run_train how = {.scale = (float)(1.0 / (double)d->rows.trained)};
    ql_loss sum = {0};

    ql_run_loss(run, &d->rows.batch, train ? &how : NULL, &sum);
    assert_int_equal(sum.count, d->rows.trained);
    return sum.sum / (double)sum.count;
}

static void check_relative(double got, double want, double tolerance,
                           const char *what)
{
    print_message("  %s %.9g, off by %.2g\n", what, got,
                  fabs(got - want) / fabs(want));
    assert_true(fabs(got - want) <= tolerance * fabs(want));
}

/* What begins as it is in the base does so: the reference's own beginning. */
static void check_start(const ql_adapter *a, const ql_safetensors *f)
{
    char name[NAME_BYTES];

    for (size_t i = 0; i < a->n_tensors; i++) {
        if (a->tensors[i].part == QL_PART_WHOLE) {
            const float *got = a->param + a->tensors[i].at;
            const ql_tensor *t;

            reference_name(a, i, "init.", name, sizeof(name));
            t = reference_need(f, name);
            assert_int_equal(t->bytes, a->sizes[i] * sizeof(float));
            assert_memory_equal(got, t->data, t->bytes);
        }
    }
}

static void check_gradients(const ql_adapter *a, const ql_safetensors *f)
{
    char name[NAME_BYTES];
    double worst = 0;

    for (size_t i = 0; i < a->n_tensors; i++) {
        double *want;
        double off;

        reference_name(a, i, "grad.", name, sizeof(name));
        want = reference_doubles(f, name);
        off = check_distance(a->grad + a->tensors[i].at, want, a->sizes[i]);
        if (!(off <= GRAD_TOLERANCE)) {
            fail_msg("%s: off by %.3g in norm", name, off);
        }
        worst = fmax(worst, off);
        free(want);
    }
    print_message("  gradients: off by at most %.2g in norm\n", worst);
}

/* The first step of AdamW goes by signs. Of a gradient that is next to nothing
 * beside those of its tensor, single precision cannot tell the sign: it is
 * taken from the reference, for all that follows depends on it. */
static void settle_signs(const ql_adapter *a, const ql_safetensors *f)
{
    char name[NAME_BYTES];

    for (size_t i = 0; i < a->n_tensors; i++) {
        float *got = a->grad + a->tensors[i].at;
        double square = 0;
        double *want;

        reference_name(a, i, "grad.", name, sizeof(name));
        want = reference_doubles(f, name);
        for (size_t j = 0; j < a->sizes[i]; j++) {
            square += want[j] * want[j];
        }
        for (size_t j = 0; j < a->sizes[i]; j++) {
            if (want[j] * want[j] * (double)a->sizes[i] < 1e-10 * square) {
                got[j] = (float)want[j];
            }
        }
        free(want);
    }
}

static void check_after(const ql_adapter *a, const ql_safetensors *f)
{
    char name[NAME_BYTES];

    for (size_t i = 0; i < a->n_tensors; i++) {
        double *want;

        reference_name(a, i, "after3.", name, sizeof(name));
        want = reference_doubles(f, name);
        check_close(a->param + a->tensors[i].at, want, a->sizes[i],
                    AFTER_TOLERANCE, name);
        free(want);
    }
}

/* Three steps of AdamW as the golden data's README describes them; clipping
 * only in the third, and only where the file has its norm. */
static void check_steps(ql_run *run, const folder *d, ql_adapter *a,
                        const ql_safetensors *f)
{
    double *want = reference_doubles(f, "losses");
    const ql_optimizer_options kind = {.kind = QL_OPTIM_ADAMW_32BIT};
    ql_optimizer *o = NULL;

    check_ok(ql_optimizer_open(&o, &kind, a->sizes, a->n_tensors));
    for (size_t t = 0; t < 3; t++) {
        ql_adam_step s = {.lr = 1e-2,
                          .beta1 = 0.9,
                          .beta2 = 0.999,
                          .eps = 1e-8,
                          .weight_decay = 0.01,
                          .clip = 1};

        memset(a->grad, 0, a->count * sizeof(float));
        check_relative(mean_loss(run, d, true), want[t],
                       t == 0 ? LOSS_TOLERANCE : STEP_TOLERANCE, "step loss");
        if (t == 0) {
            check_gradients(a, f);
            settle_signs(a, f);
        }
        if (t == 2 && ql_safetensors_find(f, "gradnorm_step3_preclip")) {
            const double norm = sqrt(ql_vec_sumsq(a->grad, a->count));
            double *pre = reference_doubles(f, "gradnorm_step3_preclip");

            check_relative(norm, pre[0], 1e-4, "norm before clipping");
            s.clip = fmin(1, 1 / (norm + 1e-6));
            free(pre);
        }
        check_ok(ql_optimizer_update(o, a->param, a->grad, &s));
    }
    check_after(a, f);
    free(want);
    ql_optimizer_close(&o);
}

/* The tensors of a file are those of the list, by name and shape; copies of
 * the base, which PEFT may save, are left out. */
static void check_names(const char *path, json_t *names)
{
    ql_safetensors *f = NULL;
    const char *name;
    json_t *shape;
    size_t n = 0;

    check_ok(ql_safetensors_open(&f, path));
    json_object_foreach(names, name, shape)
    {
        const ql_tensor *t = ql_safetensors_find(f, name);

        if (strstr(name, ".base_layer.")) {
            continue;
        }
        if (!t || t->rank != json_array_size(shape)) {
            fail_msg("%s is not saved as it should be", name);
        }
        for (size_t i = 0; i < t->rank; i++) {
            const json_t *side = json_array_get(shape, i);

            assert_int_equal(t->shape[i], json_integer_value(side));
        }
        n++;
    }
    assert_int_equal(ql_safetensors_count(f), n);
    ql_safetensors_close(&f);
}

/* What adapter_config.json says of an adapter is what PEFT says. */
static void check_config(const char *path, const json_t *want)
{
    static const char *const keys[] = {
        "alpha_pattern",   "bias",
        "fan_in_fan_out",  "layers_pattern",
        "lora_alpha",      "layers_to_transform",
        "lora_dropout",    "peft_type",
        "modules_to_save", "r",
        "rank_pattern",    "target_modules",
        "task_type",       "use_dora",
        "use_rslora",
    };
    json_t *got = NULL;

    check_ok(ql_json_load(&got, path, 1 << 20));
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const json_t *w = json_object_get(want, keys[i]);

        if (w && !json_equal(w, json_object_get(got, keys[i]))) {
            fail_msg("%s of adapter_config.json is another than PEFT's",
                     keys[i]);
        }
    }
    json_decref(got);
}

/* Saved, it is PEFT's; loaded again, it is the same. */
static void check_saved(const ql_adapter *a, const folder *d,
                        const json_t *root)
{
    const char *dir = check_tmp_path("saved");
    const char *again = check_tmp_path("saved again");
    ql_adapter back;

    check_ok(ql_dir_make(dir));
    check_ok(ql_peft_save(a, "x", dir));
    if (root) {
        check_names(reference_path(dir, "adapter_model.safetensors"),
                    json_object_get(root, "adapter_tensor_names"));
        check_config(reference_path(dir, "adapter_config.json"),
                     json_object_get(root, "adapter_config"));
    }
    check_ok(ql_peft_load(&back, &d->m->config, dir));
    assert_int_equal(back.count, a->count);
    assert_memory_equal(back.param, a->param, a->count * sizeof(float));
    check_ok(ql_dir_make(again));
    check_ok(ql_peft_save(&back, "x", again));
    toy_run_same_file(dir, again, "adapter_config.json");
    toy_run_same_file(dir, again, "adapter_model.safetensors");
    ql_adapter_free(&back);
    check_ok(ql_dir_remove(dir));
    check_ok(ql_dir_remove(again));
}

/* All that a golden LoRA file holds, with and without recomputation. */
static void check_lora(const folder *d, const char *path, const char *json)
{
    ql_safetensors *f = NULL;
    reference_adapter r;

    check_ok(ql_safetensors_open(&f, path));
    reference_adapter_load(&r, json, f, d->m->config.arch);
    for (size_t keep = 0; keep <= d->m->config.layers; keep++) {
        ql_adapter a;
        ql_run *run;

        check_ok(
            ql_adapter_make(&a, &d->m->config, &d->m->weights, &r.o, 1, true));
        check_start(&a, f);
        reference_adapter_init(&a, f);
        ql_model_use_adapter(d->m, &a);
        check_logits(d, f, "logits");
        run = reference_run(d->m, &d->rows.batch, keep);
        check_steps(run, d, &a, f);
        check_saved(&a, d, r.root);
        ql_run_close(&run);
        ql_model_use_adapter(d->m, NULL);
        ql_adapter_free(&a);
    }
    reference_adapter_free(&r);
    ql_safetensors_close(&f);
}

/* Every LoRA file "lora*.safetensors" of a folder, with its JSON. */
static size_t check_loras(const folder *d)
{
    char **names;
    size_t n;
    size_t checked = 0;

    check_ok(ql_dir_list(d->dir, &names, &n));
    for (size_t i = 0; i < n; i++) {
        char *dot = strrchr(names[i], '.');
        char json[256];

        if (strncmp(names[i], "lora", 4) == 0 && dot &&
            strcmp(dot, ".safetensors") == 0) {
            print_message(" %s\n", names[i]);
            snprintf(json, sizeof(json), "%.*s.json", (int)(dot - names[i]),
                     names[i]);
            check_lora(d, reference_path(d->dir, names[i]),
                       reference_path(d->dir, json));
            checked++;
        }
    }
    ql_dir_list_free(names, n);
    return checked;
}

void matches_reference(const char *dir)
{
    folder d = {.dir = dir};
    ql_model_options opt;
    ql_safetensors *f = NULL;
    const char *golden = reference_path(dir, "golden.safetensors");
    size_t checked = 0;
    double *want;
    ql_run *run;
    bool base;
    bool lost;

    print_message("%s\n", dir);
    ql_model_options_init(&opt);
    opt.quantize = false;
    lost = lost_bias_is(dir);
    check_ok(ql_model_open(&d.m, lost ? lost_bias_copy(dir) : dir, &opt));
    check_ok(ql_safetensors_open(&f, golden));
    reference_rows_load(&d.rows, f);
    if (lost) {
        lost_bias_find(d.m, dir, &d.rows);
    }
    base = ql_safetensors_find(f, "base_logits") != NULL;
    check_logits(&d, f, base ? "base_logits" : "logits");
    want = reference_doubles(f, base ? "base_loss" : "loss");
    run = reference_run(d.m, &d.rows.batch, 0);
    check_relative(mean_loss(run, &d, false), want[0], LOSS_TOLERANCE, "loss");
    if (base) {
        check_lora(&d, golden, NULL);
        checked++;
    } else {
        checked += check_loras(&d);
    }
    if (checked == 0) {
        fail_msg("%s holds no LoRA file to check", dir);
    }
    free(want);
    ql_run_close(&run);
    reference_rows_free(&d.rows);
    ql_safetensors_close(&f);
    ql_model_close(&d.m);
}
