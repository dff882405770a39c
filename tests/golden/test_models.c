/* Forward, backward and three AdamW steps of whole models, against the
 * reference classes of transformers and PEFT in double precision.
 *
 * Folders: QL_GOLDEN_MODELS when set, then every folder in it that holds
 * golden.safetensors; else the Llama family of the shared golden data. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/model/run.h"
#include "src/op/vec.h"
#include "src/train/optimizer.h"
#include "tests/check/check.h"

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

/* Rows of the reference batch without their padding. */
typedef struct rows {
    ql_batch batch;
    size_t start[16];
    int32_t *ids, *target;
    size_t *place; /* [T] index of each token in the padded batch */
    size_t trained;
} rows;

static const ql_tensor *need(const ql_safetensors *f, const char *name)
{
    const ql_tensor *t = ql_safetensors_find(f, name);

    if (!t) {
        fail_msg("the golden file has no %s", name);
    }
    return t;
}

static int64_t integer(const ql_tensor *t, size_t i)
{
    int64_t x;

    memcpy(&x, t->data + 8 * i, 8);
    return x;
}

/* The tensor's numbers as doubles. Owned: free. */
static double *doubles(const ql_safetensors *f, const char *name)
{
    const ql_tensor *t = need(f, name);
    double *out = malloc(t->elements * sizeof(double));

    assert_int_equal(t->dtype, QL_DTYPE_F64);
    memcpy(out, t->data, t->bytes);
    return out;
}

/* Adds row r of the padded batch: its tokens under the mask. */
static void add_row(rows *b, const ql_safetensors *f, size_t r, size_t width)
{
    const ql_tensor *ids = need(f, "input_ids");
    const ql_tensor *mask = need(f, "attention_mask");
    const ql_tensor *labels = need(f, "labels");

    for (size_t i = 0; i < width; i++) {
        const size_t at = r * width + i;
        const int64_t next = i + 1 < width ? integer(labels, at + 1) : -100;

        if (integer(mask, at) == 0) {
            break;
        }
        b->ids[b->batch.T] = (int32_t)integer(ids, at);
        b->target[b->batch.T] = next >= 0 ? (int32_t)next : -1;
        b->place[b->batch.T] = at;
        b->trained += next >= 0;
        b->batch.T++;
    }
    b->start[r + 1] = b->batch.T;
    b->batch.sequences = r + 1;
}

static void load_rows(rows *b, const ql_safetensors *f)
{
    const ql_tensor *ids = need(f, "input_ids");

    *b = (rows){0};
    assert_true(ids->shape[0] < 16);
    b->ids = malloc(ids->elements * sizeof(int32_t));
    b->target = malloc(ids->elements * sizeof(int32_t));
    b->place = malloc(ids->elements * sizeof(size_t));
    for (size_t r = 0; r < ids->shape[0]; r++) {
        add_row(b, f, r, ids->shape[1]);
    }
    b->batch.ids = b->ids;
    b->batch.target = b->target;
    b->batch.start = b->start;
}

static void free_rows(rows *b)
{
    free(b->ids);
    free(b->target);
    free(b->place);
}

static ql_run *open_run(const ql_model *m, const rows *b, size_t keep)
{
    const ql_run_options opt = {.max_tokens = b->batch.T,
                                .max_length = b->batch.T,
                                .max_sequences = b->batch.sequences,
                                .training = true,
                                .keep_layers = keep};
    ql_run *run = NULL;

    check_ok(ql_run_open(&run, m, &opt));
    return run;
}

static void check_logits(const ql_model *m, const rows *b,
                         const ql_safetensors *f, const char *name)
{
    const size_t T = b->batch.T;
    const size_t V = m->config.V;
    double *want = doubles(f, name);
    float *got = malloc(T * V * sizeof(float));
    size_t *all = malloc(T * sizeof(size_t));
    double largest = 0;
    double off = 0;
    ql_run *run = open_run(m, b, 0);

    for (size_t t = 0; t < T; t++) {
        all[t] = t;
    }
    ql_run_logits(run, &b->batch, all, T, got);
    for (size_t t = 0; t < T; t++) {
        for (size_t v = 0; v < V; v++) {
            const double w = want[b->place[t] * V + v];

            largest = fmax(largest, fabs(w));
            off = fmax(off, fabs((double)got[t * V + v] - w));
        }
    }
    print_message("  %s: off by %.2g of the largest\n", name, off / largest);
    assert_true(off <= LOGIT_TOLERANCE * largest);
    ql_run_close(&run);
    free(want);
    free(got);
    free(all);
}

static double mean_loss(ql_run *run, const rows *b, bool train)
{
    const ql_run_train how = {.scale = (float)(1.0 / (double)b->trained)};
    ql_loss sum = {0};

    ql_run_loss(run, &b->batch, train ? &how : NULL, &sum);
    assert_int_equal(sum.count, b->trained);
    return sum.sum / (double)sum.count;
}

static void check_relative(double got, double want, double tolerance,
                           const char *what)
{
    print_message("  %s %.9g, off by %.2g\n", what, got,
                  fabs(got - want) / fabs(want));
    assert_true(fabs(got - want) <= tolerance * fabs(want));
}

/* Options of the adapter that a golden LoRA file holds: rank and targets from
 * its tensors, alpha 8 as its README says, or as its JSON has it. */
static void read_options(const ql_arch *arch, const ql_safetensors *f,
                         const char *json, ql_adapter_options *opt)
{
    json_t *o = NULL;
    const json_t *config;

    *opt = (ql_adapter_options){.r = 4, .alpha = 8};
    for (int m = 0; m < QL_MODULES; m++) {
        char name[NAME_BYTES];
        char path[200];

        ql_arch_path(arch, 0, (ql_module)m, path, sizeof(path));
        snprintf(name, sizeof(name), "init.base_model.model.%s.lora_A.weight",
                 path);
        if (ql_safetensors_find(f, name)) {
            opt->targets |= 1U << m;
            opt->r = ql_safetensors_find(f, name)->shape[0];
        }
    }
    if (json && ql_path_exists(json)) {
        check_ok(ql_json_load(&o, json, 1 << 20));
        config = json_object_get(o, "adapter_config");
        check_ok(ql_json_real(config, "lora_alpha", json, &opt->alpha));
        check_ok(ql_json_bool(config, "use_rslora", json, &opt->rslora));
        json_decref(o);
    }
}

static void golden_name(const ql_adapter *a, size_t i, const char *prefix,
                        char name[NAME_BYTES])
{
    char plain[256];

    ql_adapter_name(a, i / 2, i % 2, plain, sizeof(plain));
    snprintf(name, NAME_BYTES, "%s.%s", prefix, plain);
}

static size_t half_size(const ql_adapter *a, size_t i)
{
    const ql_adapter_entry *e = &a->entries[i / 2];

    return a->opt.r * (i % 2 ? e->out : e->in);
}

static float *half_of(const ql_adapter *a, float *array, size_t i)
{
    const ql_adapter_entry *e = &a->entries[i / 2];

    return array + (i % 2 ? e->b : e->a);
}

static void load_init(ql_adapter *a, const ql_safetensors *f)
{
    char name[NAME_BYTES];

    for (size_t i = 0; i < 2 * a->n; i++) {
        const ql_tensor *t;

        golden_name(a, i, "init", name);
        t = need(f, name);
        assert_int_equal(t->elements, half_size(a, i));
        check_ok(ql_tensor_to_f32(half_of(a, a->param, i), t));
    }
}

static void check_gradients(const ql_adapter *a, const ql_safetensors *f)
{
    char name[NAME_BYTES];
    double worst = 0;

    for (size_t i = 0; i < 2 * a->n; i++) {
        double *want;
        double off;

        golden_name(a, i, "grad", name);
        want = doubles(f, name);
        off = check_distance(half_of(a, a->grad, i), want, half_size(a, i));
        if (!(off <= GRAD_TOLERANCE)) {
            fail_msg("%s: off by %.3g in norm", name, off);
        }
        worst = fmax(worst, off);
        free(want);
    }
    print_message("  gradients: off by at most %.2g in norm\n", worst);
}

static void check_after(const ql_adapter *a, const ql_safetensors *f)
{
    char name[NAME_BYTES];

    for (size_t i = 0; i < 2 * a->n; i++) {
        double *want;

        golden_name(a, i, "after3", name);
        want = doubles(f, name);
        check_close(half_of(a, a->param, i), want, half_size(a, i),
                    AFTER_TOLERANCE, name);
        free(want);
    }
}

/* Three steps of AdamW as the golden data's README describes them; clipping
 * only in the third, and only where the file has its norm. */
static void check_steps(ql_run *run, const rows *b, ql_adapter *a,
                        const ql_safetensors *f)
{
    double *want = doubles(f, "losses");
    const ql_optimizer_options kind = {.kind = QL_OPTIM_ADAMW_32BIT};
    ql_optimizer *o = NULL;

    check_ok(ql_optimizer_open(&o, &kind, a->sizes, 2 * a->n));
    for (size_t t = 0; t < 3; t++) {
        ql_adam_step s = {.lr = 1e-2,
                          .beta1 = 0.9,
                          .beta2 = 0.999,
                          .eps = 1e-8,
                          .weight_decay = 0.01,
                          .clip = 1};

        memset(a->grad, 0, a->count * sizeof(float));
        check_relative(mean_loss(run, b, true), want[t],
                       t == 0 ? LOSS_TOLERANCE : STEP_TOLERANCE, "step loss");
        if (t == 0) {
            check_gradients(a, f);
        }
        if (t == 2 && ql_safetensors_find(f, "gradnorm_step3_preclip")) {
            const double norm = sqrt(ql_vec_sumsq(a->grad, a->count));
            double *pre = doubles(f, "gradnorm_step3_preclip");

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

/* All that a golden LoRA file holds, with and without recomputation. */
static void check_lora(ql_model *m, const rows *b, const char *path,
                       const char *json)
{
    ql_safetensors *f = NULL;
    ql_adapter_options opt;

    check_ok(ql_safetensors_open(&f, path));
    read_options(m->config.arch, f, json, &opt);
    for (size_t keep = 0; keep <= m->config.layers; keep++) {
        ql_adapter a;
        ql_run *run;

        check_ok(ql_adapter_init(&a, &m->config, &opt, 1, true));
        load_init(&a, f);
        ql_model_use_adapter(m, &a);
        check_logits(m, b, f, "logits");
        run = open_run(m, b, keep);
        check_steps(run, b, &a, f);
        ql_run_close(&run);
        ql_model_use_adapter(m, NULL);
        ql_adapter_free(&a);
    }
    ql_safetensors_close(&f);
}

static const char *in(const char *dir, const char *name)
{
    static char paths[4][4200];
    static size_t next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%.4000s/%s", dir, name);
    return path;
}

/* One folder: the base's logits and loss, then each LoRA file that we can
 * represent. */
static void check_folder(const char *dir)
{
    static const char *const variants[] = {"lora", "lora_rslora"};
    ql_model_options opt;
    ql_safetensors *f = NULL;
    ql_model *m = NULL;
    size_t checked = 0;
    bool base;
    rows b;

    print_message("%s\n", dir);
    ql_model_options_init(&opt);
    opt.quantize = false;
    check_ok(ql_model_open(&m, dir, &opt));
    check_ok(ql_safetensors_open(&f, in(dir, "golden.safetensors")));
    load_rows(&b, f);
    base = ql_safetensors_find(f, "base_logits") != NULL;
    check_logits(m, &b, f, base ? "base_logits" : "logits");
    {
        double *want = doubles(f, base ? "base_loss" : "loss");
        ql_run *run = open_run(m, &b, 0);

        check_relative(mean_loss(run, &b, false), want[0], LOSS_TOLERANCE,
                       "loss");
        ql_run_close(&run);
        free(want);
    }
    if (base) {
        check_lora(m, &b, in(dir, "golden.safetensors"), NULL);
        checked++;
    }
    for (size_t i = 0; !base && i < 2; i++) {
        char name[64];
        char json[64];

        snprintf(name, sizeof(name), "%s.safetensors", variants[i]);
        snprintf(json, sizeof(json), "%s.json", variants[i]);
        if (ql_path_exists(in(dir, name))) {
            print_message(" %s\n", name);
            check_lora(m, &b, in(dir, name), in(dir, json));
            checked++;
        }
    }
    if (checked == 0) {
        fail_msg("%s holds no LoRA file to check", dir);
    }
    free_rows(&b);
    ql_safetensors_close(&f);
    ql_model_close(&m);
}

/* Every folder of a folder that holds golden data. */
static void check_all(const char *dir)
{
    char **names;
    size_t n;
    size_t found = 0;

    check_ok(ql_dir_list(dir, &names, &n));
    for (size_t i = 0; i < n; i++) {
        char sub[4096];
        char file[4200];

        snprintf(sub, sizeof(sub), "%s/%s", dir, names[i]);
        snprintf(file, sizeof(file), "%s/golden.safetensors", sub);
        if (ql_path_exists(file)) {
            check_folder(sub);
            found++;
        }
    }
    ql_dir_list_free(names, n);
    assert_true(found > 0);
}

static void models__match_the_reference(void **state)
{
    static const char *const folders[] = {
        "golden/models/llama2",
        "golden/models/llama3_gqa_tied_rope31",
        "golden/models/llama_linear_rope_bias_headdim",
        "golden/models/llama_yarn",
        "golden/models/gemma1",
        "golden/models/gemma2",
        "golden/models/gemma3_text",
        "golden/models/mistral_swa4",
        "golden/models/olmo2",
        "golden/models/qwen2",
        "golden/models/qwen3",
        "golden/models/smollm3_nope",
    };
    const char *elsewhere = getenv("QL_GOLDEN_MODELS");

    (void)state;
    if (elsewhere && *elsewhere) {
        check_all(elsewhere);
        return;
    }
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        check_folder(check_shared(folders[i]));
    }
}

static void quantized_models__match_the_reference(void **state)
{
    (void)state;
    check_all(check_shared("golden/qlora"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models__match_the_reference),
        cmocka_unit_test(quantized_models__match_the_reference),
    };

    check_need_shared();
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
