/* The adapters of the golden models, merged: every weight against the formula
 * in double, every other tensor to the bit, and for each architecture that we
 * run the same greedy tokens before and after. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qlora/export.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/convert/adapter_folder.h"
#include "src/format/names.h"
#include "src/format/shards.h"
#include "src/model/run.h"
#include "tests/check/check.h"
#include "tests/check/toy_adapter.h"
#include "tests/golden/lost_bias.h"

enum {
    GREEDY = 12,
    NAME_BYTES = 256
};

static const struct {
    const char *model, *variant;
} cases[] = {
    {"llama2", "lora"},
    {"llama2", "lora_dora"},
    {"llama2", "lora_rslora"},
    {"llama2", "lora_embhead"},
    {"llama2", "lora_patterns"},
    {"llama2", "lora_modsave"},
    {"llama3_gqa_tied_rope31", "lora"},
    {"llama_linear_rope_bias_headdim", "lora"},
    {"llama_yarn", "lora"},
    {"mistral_swa4", "lora"},
    {"qwen2", "lora"},
    {"qwen3", "lora"},
    {"gemma1", "lora"},
    {"gemma2", "lora"},
    {"gemma3_text", "lora"},
    {"phi3", "lora"},
    {"phi3_longrope_long", "lora"},
    {"phi3_longrope_short", "lora"},
    {"phi4mini_partial_rotary", "lora"},
    {"smollm3_nope", "lora"},
    {"olmo2", "lora"},
    {"gpt_neox", "lora"},
    {"gpt2", "lora"},
    {"gpt2", "lora_dora"},
    {"bert_cls", "lora"},
};

enum {
    CASES = sizeof(cases) / sizeof(cases[0])
};

/* Where the adapter of a case and the result lie. */
static char adapter[4300];
static char merged[4300];

static const char *model_dir(size_t i)
{
    char path[NAME_BYTES];

    const char *dir;

    snprintf(path, sizeof(path), "golden/models/%s", cases[i].model);
    dir = check_shared(path);
    return lost_bias_is(dir) ? lost_bias_copy(dir) : dir;
}

/* Merges case i. */
static void merge(size_t i, const ql_export_options *opt,
                  ql_export_report *report)
{
    toy_golden_adapter(adapter, cases[i].model, cases[i].variant);
    check_ok(ql_export_merge(model_dir(i), adapter, merged, opt, report));
}

/* Its architecture is one that we run. */
static bool known(size_t i)
{
    ql_config c;
    const ql_status st = ql_config_init(&c, model_dir(i));

    ql_config_free(&c);
    assert_true(st == QL_OK || st == QL_EUNSUPPORTED || st == QL_ENOTFOUND);
    return st == QL_OK;
}

static double *widen(const ql_tensor *t)
{
    float *x = malloc(t->elements * sizeof(*x));
    double *out = malloc(t->elements * sizeof(*out));

    check_ok(ql_tensor_to_f32(x, t));
    for (size_t i = 0; i < t->elements; i++) {
        out[i] = (double)x[i];
    }
    free(x);
    return out;
}

/* W [rows, cols] += scale times the product of the pair, as W is stored; then
 * DoRA: out says whether an output is a row. */
static void fold(double *w, size_t rows, size_t cols, const ql_adapter_pair *p,
                 bool turned)
{
    double *a = widen(&p->a);
    double *b = widen(&p->b);

    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++) {
            const size_t o = turned ? j : i;
            const size_t in = turned ? i : j;
            double sum = 0;

            for (size_t k = 0; k < p->r; k++) {
                sum += b[o * p->r + k] * a[k * p->in + in];
            }
            w[i * cols + j] += p->scale * sum;
        }
    }
    free(a);
    free(b);
}

static void normalize(double *w, size_t rows, size_t cols,
                      const ql_adapter_pair *p, bool turned)
{
    double *m = widen(&p->magnitude);

    for (size_t o = 0; o < p->out; o++) {
        double sum = 0;

        for (size_t k = 0; k < p->in; k++) {
            const size_t at = turned ? k * cols + o : o * cols + k;

            sum += w[at] * w[at];
        }
        for (size_t k = 0; k < p->in; k++) {
            const size_t at = turned ? k * cols + o : o * cols + k;

            w[at] *= m[o] / sqrt(sum);
        }
    }
    (void)rows;
    free(m);
}

/* The pair of a tensor, by the name without ".weight". */
static const ql_adapter_pair *pair_of(const ql_adapter_folder *f,
                                      const char *name)
{
    char path[NAME_BYTES];

    snprintf(path, sizeof(path), "%s", name);
    if (!ql_name_ends(path, ".weight")) {
        return NULL;
    }
    path[strlen(path) - strlen(".weight")] = '\0';
    return ql_adapter_folder_pair(f, path);
}

static const ql_tensor *whole_of(const ql_adapter_folder *f, const char *name)
{
    for (size_t i = 0; i < f->n_wholes; i++) {
        if (strcmp(f->wholes[i].name, name) == 0) {
            return &f->wholes[i].tensor;
        }
    }
    return NULL;
}

/* One tensor of the result; returns 1 if it was to change. */
static size_t check_tensor(const ql_adapter_folder *f, const ql_tensor *base,
                           const ql_tensor *got, bool conv1d)
{
    const ql_adapter_pair *p = pair_of(f, base->name);
    const ql_tensor *whole = whole_of(f, base->name);
    const bool turned = p && (p->embedding || conv1d);
    double *want;
    double *is;

    assert_non_null(got);
    assert_int_equal(got->elements, base->elements);
    if (!p) {
        assert_memory_equal(got->data, whole ? whole->data : base->data,
                            base->bytes);
        return whole != NULL;
    }
    want = widen(base);
    is = widen(got);
    fold(want, base->shape[0], base->shape[1], p, turned);
    if (p->magnitude.name) {
        normalize(want, base->shape[0], base->shape[1], p, turned);
    }
    for (size_t i = 0; i < base->elements; i++) {
        if (!(fabs(is[i] - want[i]) <= 3e-7 * (fabs(want[i]) + 1e-3))) {
            fail_msg("%s[%zu]: %.9g, not %.9g", base->name, i, is[i], want[i]);
        }
    }
    free(want);
    free(is);
    return 1;
}

static void weights__are_those_of_the_formula(void **state)
{
    ql_export_options opt;

    (void)state;
    ql_export_options_init(&opt);
    opt.type = QL_EXPORT_TYPE_F32;
    opt.compare = false;
    opt.force = true;
    for (size_t i = 0; i < CASES; i++) {
        ql_adapter_folder f;
        ql_shards *before = NULL;
        ql_shards *after = NULL;
        ql_export_report report;
        size_t changed = 0;

        print_message("%s %s\n", cases[i].model, cases[i].variant);
        merge(i, &opt, &report);
        check_ok(ql_adapter_folder_init(&f, adapter));
        check_ok(ql_shards_open(&before, model_dir(i)));
        check_ok(ql_shards_open(&after, merged));
        assert_int_equal(ql_shards_count(before), ql_shards_count(after));
        for (size_t k = 0; k < ql_shards_count(before); k++) {
            const ql_tensor *t = ql_shards_at(before, k);

            changed += check_tensor(&f, t, ql_shards_find(after, t->name),
                                    strcmp(cases[i].model, "gpt2") == 0);
        }
        assert_int_equal(changed, f.n_pairs + f.n_wholes);
        assert_int_equal(changed, report.merged);
        assert_false(report.dequantized || report.untied);
        ql_shards_close(&before);
        ql_shards_close(&after);
        ql_adapter_folder_free(&f);
    }
}

/* The most likely tokens, one after the other, after the token 1; those of a
 * classifier are the classes of what there is so far. */
static void write_greedy(ql_model *m, int32_t ids[GREEDY])
{
    const ql_run_options opt = {
        .max_tokens = GREEDY, .max_length = GREEDY, .max_sequences = 1};
    const size_t V = ql_config_head(&m->config);
    float *logits = malloc(V * sizeof(*logits));
    ql_run *run = NULL;

    check_ok(ql_run_open(&run, m, &opt));
    ids[0] = 1;
    for (size_t n = 1; n < GREEDY; n++) {
        const size_t start[] = {0, n};
        const size_t row = n - 1;
        const ql_batch batch = {
            .T = n, .sequences = 1, .start = start, .ids = ids};

        if (m->config.arch->classifier) {
            ql_run_classes(run, &batch, logits);
        } else {
            ql_run_logits(run, &batch, &row, 1, logits);
        }
        ids[n] = 0;
        for (size_t k = 1; k < V; k++) {
            ids[n] = logits[k] > logits[ids[n]] ? (int32_t)k : ids[n];
        }
    }
    ql_run_close(&run);
    free(logits);
}

/* Opens a folder, with an adapter unless NULL, and writes; false for what we
 * cannot run: the folder of GPT-2 lacks a bias. */
static bool run_folder(const char *dir, bool quantize, const char *with,
                       int32_t ids[GREEDY])
{
    ql_model_options opt;
    ql_model *m = NULL;
    ql_status st;

    ql_model_options_init(&opt);
    opt.quantize = quantize;
    st = ql_model_open(&m, dir, &opt);
    if (st == QL_OK && with) {
        st = ql_model_load_adapter(m, with);
    }
    if (st == QL_OK) {
        write_greedy(m, ids);
    }
    ql_model_close(&m);
    assert_true(st == QL_OK || st == QL_EUNSUPPORTED || st == QL_ENOTFOUND);
    return st == QL_OK;
}

/* From both bases: the merged model writes what model and adapter write. */
static void text__is_the_same_after_merging(void **state)
{
    ql_export_options opt;
    size_t ran = 0;

    (void)state;
    ql_export_options_init(&opt);
    opt.type = QL_EXPORT_TYPE_F32;
    opt.force = true;
    for (size_t i = 0; i < 2 * CASES; i++) {
        const bool quantize = i >= CASES;
        ql_export_report report;
        int32_t before[GREEDY];
        int32_t after[GREEDY];

        if (quantize && !known(i % CASES)) {
            continue;
        }
        opt.base =
            quantize ? QL_EXPORT_BASE_DEQUANTIZED : QL_EXPORT_BASE_ORIGINAL;
        merge(i % CASES, &opt, &report);
        if (!run_folder(model_dir(i % CASES), quantize, adapter, before)) {
            assert_int_equal(report.difference.tokens, 0);
            print_message("%s %s: not run\n", cases[i % CASES].model,
                          cases[i % CASES].variant);
            continue;
        }
        assert_int_equal(report.dequantized, quantize);
        assert_true(run_folder(merged, false, NULL, after));
        assert_memory_equal(before, after, sizeof(before));
        assert_true(report.difference.tokens > 10);
        assert_true(report.difference.logit < 1e-5 * report.difference.range);
        assert_true(report.difference.agree == 1);
        assert_true(fabs(report.difference.kl) < 1e-9);
        ran++;
    }
    assert_int_equal(ran, 2 * CASES);
}

/* The name under which PEFT saves the bias that is called so in the model,
 * where linear layers of the blocks and the pooler are adapted. */
static const char *saved_bias(const char *name)
{
    static char saved[NAME_BYTES];
    const size_t n = strlen(name) - strlen(".bias");
    const bool norm = strstr(name, "LayerNorm") != NULL;

    snprintf(saved, sizeof(saved), "base_model.model.%.*s%s.bias", (int)n, name,
             norm ? "" : ".base_layer");
    return saved;
}

/* The adapter becomes one beside which all biases of the classifier were
 * trained, which are random then. Those of the head, which is trained whole,
 * are in it three times. */
static void add_biases(const ql_safetensors *model)
{
    static const char *const again[] = {
        "base_model.model.classifier.original_module.bias",
        "base_model.model.classifier.modules_to_save.bias"};
    const char *path = check_tmp_path("biases.safetensors");
    char file[4400];
    char config[4400];
    ql_safetensors *f = NULL;
    json_t *root;
    toy_tensor *t;
    size_t n;

    snprintf(file, sizeof(file), "%s/adapter_model.safetensors", adapter);
    snprintf(config, sizeof(config), "%s/adapter_config.json", adapter);
    check_ok(ql_safetensors_open(&f, file));
    n = ql_safetensors_count(f);
    t = calloc(n + ql_safetensors_count(model) + 2, sizeof(*t));
    for (size_t i = 0; i < n; i++) {
        const ql_tensor *from = ql_safetensors_at(f, i);

        t[i] = (toy_tensor){.name = strdup(from->name),
                            .shape = {from->shape[0], from->shape[1]},
                            .rank = from->rank,
                            .values = (const float *)(const void *)from->data};
    }
    for (size_t i = 0; i < ql_safetensors_count(model); i++) {
        const ql_tensor *from = ql_safetensors_at(model, i);

        if (ql_name_ends(from->name, ".bias") &&
            strcmp(from->name, "classifier.bias") != 0) {
            t[n++] = (toy_tensor){.name = strdup(saved_bias(from->name)),
                                  .shape = {from->shape[0]},
                                  .rank = 1};
        }
    }
    for (size_t i = 0; i < 2; i++) {
        t[n++] =
            (toy_tensor){.name = strdup(again[i]), .shape = {3}, .rank = 1};
    }
    toy_tensors_write(path, t, n);
    ql_safetensors_close(&f);
    check_ok(ql_file_copy(path, file));
    for (size_t i = 0; i < n; i++) {
        free((void *)(uintptr_t)t[i].name);
    }
    free(t);
    check_ok(ql_json_load(&root, config, 1 << 20));
    json_object_set_new(root, "bias", json_string("all"));
    assert_int_equal(json_dump_file(root, config, 0), 0);
    json_decref(root);
}

/* Every bias of a classifier may be trained beside the pairs: what is merged
 * has those of the adapter, to the bit, and computes what the model with the
 * adapter does. */
static void biases__of_classifiers_are_changed(void **state)
{
    const char *base = check_shared("golden/models/bert_cls");
    ql_export_options opt;
    ql_export_report report;
    ql_safetensors *m = NULL;
    ql_safetensors *a = NULL;
    ql_safetensors *out = NULL;
    char path[4400];
    size_t n = 0;

    (void)state;
    ql_export_options_init(&opt);
    opt.base = QL_EXPORT_BASE_ORIGINAL;
    opt.type = QL_EXPORT_TYPE_F32;
    opt.force = true;
    toy_golden_adapter(adapter, "bert_cls", "lora");
    snprintf(path, sizeof(path), "%s/model.safetensors", base);
    check_ok(ql_safetensors_open(&m, path));
    add_biases(m);
    check_ok(ql_export_merge(base, adapter, merged, &opt, &report));
    assert_true(report.difference.tokens > 0);
    assert_true(report.difference.logit < 1e-5);
    snprintf(path, sizeof(path), "%s/adapter_model.safetensors", adapter);
    check_ok(ql_safetensors_open(&a, path));
    snprintf(path, sizeof(path), "%s/model.safetensors", merged);
    check_ok(ql_safetensors_open(&out, path));
    for (size_t i = 0; i < ql_safetensors_count(m); i++) {
        const ql_tensor *t = ql_safetensors_at(m, i);
        const ql_tensor *want = ql_safetensors_find(a, saved_bias(t->name));
        const ql_tensor *got = ql_safetensors_find(out, t->name);

        if (ql_name_ends(t->name, ".bias") && want) {
            assert_int_equal(got->bytes, want->bytes);
            assert_memory_equal(got->data, want->data, want->bytes);
            assert_memory_not_equal(got->data, t->data, t->bytes);
            n++;
        }
    }
    assert_int_equal(n, 2 * 8 + 2); /* of blocks, pooler and embeddings */
    ql_safetensors_close(&m);
    ql_safetensors_close(&a);
    ql_safetensors_close(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights__are_those_of_the_formula),
        cmocka_unit_test(text__is_the_same_after_merging),
        cmocka_unit_test(biases__of_classifiers_are_changed),
    };

    check_need_shared();
    snprintf(adapter, sizeof(adapter), "%s", check_tmp_path("adapter"));
    snprintf(merged, sizeof(merged), "%s", check_tmp_path("merged"));
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
