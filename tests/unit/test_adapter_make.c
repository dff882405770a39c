/* From training options to an adapter: which modules it changes, with which
 * rank and scale, what is written of it, and what is refused. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quant/codec.h"
#include "src/base/file.h"
#include "src/convert/adapter_make.h"
#include "src/convert/peft.h"
#include "src/model/model_handle.h"
#include "tests/check/check.h"
#include "tests/check/toy.h"

enum {
    MOST = 4 /* names in a list of these tests */
};

static ql_model *toy;

/* A list of texts, ended by NULL. */
static ql_list list_of(const char *const *items)
{
    ql_list list = {items, 0};

    while (items[list.n]) {
        list.n++;
    }
    return list;
}

static ql_train_options options(void)
{
    ql_train_options o;

    ql_train_options_init(&o);
    o.lora_r = 3;
    o.lora_alpha = 6;
    return o;
}

static ql_adapter make(const ql_train_options *o)
{
    ql_adapter a;

    check_ok(ql_adapter_make(&a, &toy->config, &toy->weights, o, 7, true));
    return a;
}

/* Paths of all entries, joined by blanks. */
static const char *paths_of(const ql_adapter *a)
{
    static char text[8192];
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < a->n; i++) {
        char path[256];

        ql_adapter_path(a, i, path, sizeof(path));
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
                                 i ? " " : "", path);
    }
    return text;
}

static void check_targets(const char *const *names, const char *want)
{
    ql_train_options o = options();
    ql_adapter a;

    o.lora_target_modules = list_of(names);
    a = make(&o);
    assert_string_equal(paths_of(&a), want);
    ql_adapter_free(&a);
}

static void targets__are_ends_of_paths_or_one_pattern(void **state)
{
    (void)state;
    check_targets((const char *[]){"v_proj", NULL},
                  "model.layers.0.self_attn.v_proj "
                  "model.layers.1.self_attn.v_proj");
    check_targets(
        (const char *[]){"layers.1.mlp.up_proj", "0.self_attn.q_proj", NULL},
        "model.layers.0.self_attn.q_proj "
        "model.layers.1.mlp.up_proj");
    check_targets((const char *[]){".*\\.1\\..*_attn\\.(q|k)_proj", NULL},
                  "model.layers.1.self_attn.q_proj "
                  "model.layers.1.self_attn.k_proj");
    check_targets((const char *[]){"embed_tokens", "lm_head", NULL},
                  "model.embed_tokens lm_head");
}

static void targets__are_all_linear_layers_by_themselves(void **state)
{
    const ql_train_options o = options();
    ql_train_options named = options();
    ql_adapter a = make(&o);
    ql_adapter b;

    (void)state;
    named.lora_target_modules = list_of((const char *[]){"all-linear", NULL});
    b = make(&named);
    assert_int_equal(a.n, toy->config.layers * QL_MODULES);
    assert_int_equal(b.count, a.count);
    assert_memory_equal(a.param, b.param, a.count * sizeof(float));
    assert_true(json_equal(a.config, b.config));
    assert_string_equal(json_string_value(json_array_get(
                            json_object_get(a.config, "target_modules"), 0)),
                        "down_proj");
    ql_adapter_free(&a);
    ql_adapter_free(&b);
}

static void layers__can_be_chosen(void **state)
{
    ql_train_options o = options();
    ql_adapter a;

    (void)state;
    o.lora_target_modules = list_of((const char *[]){"q_proj", NULL});
    o.layers_to_transform = list_of((const char *[]){"1", NULL});
    a = make(&o);
    assert_string_equal(paths_of(&a), "model.layers.1.self_attn.q_proj");
    assert_int_equal(
        json_array_size(json_object_get(a.config, "layers_to_transform")), 1);
    ql_adapter_free(&a);
}

static void patterns__give_ranks_and_alphas(void **state)
{
    ql_train_options o = options();
    ql_adapter a;

    (void)state;
    o.lora_target_modules = list_of((const char *[]){"q_proj", "v_proj", NULL});
    o.rank_pattern = list_of(
        (const char *[]){"q_proj=2", "layers.1.self_attn.v_proj=4", NULL});
    o.alpha_pattern = list_of((const char *[]){".*v_proj=16", NULL});
    o.use_rslora = true;
    a = make(&o);
    assert_int_equal(a.n, 4);
    assert_int_equal(a.entries[0].r, 2);
    assert_int_equal(a.entries[1].r, 3);
    assert_int_equal(a.entries[2].r, 2);
    assert_int_equal(a.entries[3].r, 4);
    assert_true(a.entries[0].scale == (float)(6 / sqrt(2)));
    assert_true(a.entries[1].scale == (float)(16 / sqrt(3)));
    assert_true(a.entries[3].scale == 8);
    ql_adapter_free(&a);
}

/* Tied or not, embedding and head are trained apart. */
static void modules__can_be_trained_whole(void **state)
{
    const ql_config *c = &toy->config;
    ql_train_options o = options();
    ql_adapter a;
    char name[256];

    (void)state;
    o.lora_target_modules = list_of((const char *[]){"q_proj", NULL});
    o.modules_to_save =
        list_of((const char *[]){"embed_tokens", "lm_head", NULL});
    a = make(&o);
    assert_int_equal(a.n, 4);
    assert_int_equal(a.entries[2].r, 0);
    ql_adapter_name(&a, a.n_tensors - 2, name, sizeof(name));
    assert_string_equal(name, "base_model.model.model.embed_tokens.weight");
    ql_adapter_name(&a, a.n_tensors - 1, name, sizeof(name));
    assert_string_equal(name, "base_model.model.lm_head.weight");
    assert_memory_equal(a.param + a.tensors[a.n_tensors - 1].at,
                        toy->weights.base_head.data,
                        c->V * c->C * sizeof(float));
    ql_model_use_adapter(toy, &a);
    assert_ptr_not_equal(toy->weights.head.w.data, toy->weights.base_head.data);
    assert_non_null(toy->weights.embed.dw);
    ql_model_use_adapter(toy, NULL);
    assert_ptr_equal(toy->weights.head.w.data, toy->weights.base_head.data);
    assert_null(toy->weights.embed.dw);
    ql_adapter_free(&a);
}

/* For PEFT a name of modules_to_save stands for each module whose path ends in
 * its letters: "norm" is the end of "input_layernorm". */
static void norms__can_be_trained_whole(void **state)
{
    ql_train_options o = options();
    ql_adapter a;

    (void)state;
    o.lora_target_modules = list_of((const char *[]){"1.mlp.up_proj", NULL});
    o.modules_to_save = list_of((const char *[]){"norm", NULL});
    a = make(&o);
    assert_string_equal(paths_of(&a), "model.layers.1.mlp.up_proj "
                                      "model.layers.0.input_layernorm "
                                      "model.layers.0.post_attention_layernorm "
                                      "model.layers.1.input_layernorm "
                                      "model.layers.1.post_attention_layernorm "
                                      "model.norm");
    assert_int_equal(a.n_plain, 5);
    assert_null(json_object_get(a.config, "exclude_modules"));
    ql_adapter_free(&a);
    o.modules_to_save = list_of((const char *[]){"model.norm", NULL});
    a = make(&o);
    assert_string_equal(paths_of(&a), "model.layers.1.mlp.up_proj model.norm");
    ql_adapter_free(&a);
}

/* A module that both lists name is trained whole, and PEFT is told that it has
 * no pair. */
static void modules__are_whole_or_have_a_pair(void **state)
{
    ql_train_options o = options();
    const json_t *excluded;
    ql_adapter a;

    (void)state;
    o.lora_target_modules =
        list_of((const char *[]){"q_proj", "lm_head", NULL});
    o.modules_to_save = list_of((const char *[]){"lm_head", NULL});
    a = make(&o);
    assert_int_equal(a.n, 3);
    assert_int_equal(a.entries[2].r, 0);
    excluded = json_object_get(a.config, "exclude_modules");
    assert_int_equal(json_array_size(excluded), 1);
    assert_string_equal(json_string_value(json_array_get(excluded, 0)),
                        "lm_head");
    ql_adapter_free(&a);
}

/* Magnitudes begin as norms, so that a fresh adapter changes nothing. */
static void magnitudes__begin_as_norms(void **state)
{
    ql_train_options o = options();
    const ql_linear *lin = &toy->weights.layers[0].linear[QL_MODULE_O];
    const float *w = lin->w.data;
    ql_adapter a;

    (void)state;
    o.use_dora = true;
    o.lora_target_modules = list_of((const char *[]){"o_proj", NULL});
    a = make(&o);
    assert_int_equal(a.tensors[2].part, QL_PART_MAGNITUDE);
    assert_int_equal(lin->w.storage, QL_STORAGE_F32);
    for (size_t n = 0; n < lin->w.rows; n++) {
        double sum = 0;

        for (size_t k = 0; k < lin->w.cols; k++) {
            const double x = (double)w[n * lin->w.cols + k];

            sum += x * x;
        }
        assert_true(fabs((double)a.param[a.tensors[2].at + n] - sqrt(sum)) <
                    1e-6);
    }
    ql_adapter_free(&a);
}

/* Sums of the second and fourth powers of A's values, each by what it is to be
 * divided by; all of B is zero. Returns their number. */
static size_t moments_of(const ql_adapter *a, bool gaussian, double sum[2])
{
    size_t count = 0;

    sum[0] = sum[1] = 0;
    for (size_t i = 0; i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];
        const double by =
            gaussian ? (double)e->r : sqrt((double)e->in); /* PEFT's */
        const float *x = a->param + a->tensors[e->first].at;
        const float *b = a->param + a->tensors[e->first + 1].at;

        for (size_t k = 0; k < e->r * e->in; k++) {
            const double z = (double)x[k] * by;

            sum[0] += z * z;
            sum[1] += z * z * z * z;
        }
        for (size_t k = 0; k < e->r * e->out; k++) {
            assert_true(b[k] == 0);
        }
        count += e->r * e->in;
    }
    return count;
}

/* Source: PEFT, reset_lora_parameters: normal with 1 / r, or Kaiming's uniform
 * with a = sqrt(5), which is within 1 / sqrt(in). */
static void pairs__begin_as_those_of_peft(void **state)
{
    static const struct {
        const char *init;
        double second, fourth;
    } cases[] = {{"gaussian", 1, 3}, {"true", 1 / 3.0, 1 / 5.0}};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        ql_train_options o = options();
        ql_adapter a;
        double sum[2];
        size_t n;

        o.lora_r = 64;
        o.init_lora_weights = cases[i].init;
        a = make(&o);
        n = moments_of(&a, i == 0, sum);
        assert_true(n > 10000);
        assert_true(fabs(sum[0] / (double)n / cases[i].second - 1) < 0.05);
        assert_true(fabs(sum[1] / (double)n / cases[i].fourth - 1) < 0.15);
        ql_adapter_free(&a);
    }
}

static void options__that_fit_no_model_are_refused(void **state)
{
    static const struct {
        const char *targets[MOST], *saves[MOST], *layers[MOST], *ranks[MOST];
        const char *say;
    } cases[] = {
        {.targets = {"q_proj", "c_attn"},
         .say = "\"c_attn\" is no module of this model, which has q_proj, "
                "k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, "
                "embed_tokens and lm_head"},
        {.targets = {"proj"}, .say = "\"proj\" is no module"},
        {.targets = {".*xyz"}, .say = "leave no module a pair of matrices"},
        {.targets = {"lm_head"},
         .saves = {"lm_head", "norm"},
         .say = "beside modules-to-save, leave no module a pair"},
        {.targets = {"q_proj("}, .say = "target_modules"},
        {.saves = {"score"}, .say = "modules-to-save: \"score\" is no module"},
        {.saves = {"score"},
         .say = "which can train whole: self_attn.q_proj, self_attn.k_proj, "
                "self_attn.v_proj, self_attn.o_proj, mlp.gate_proj, "
                "mlp.up_proj, mlp.down_proj, embed_tokens, lm_head, "
                "input_layernorm, post_attention_layernorm, norm"},
        {.saves = {""}, .say = "modules-to-save: \"\" is no module"},
        {.targets = {"norm"}, .say = "lora-target-modules: \"norm\" is no"},
        {.layers = {"2"}, .say = "\"2\" is no layer; there are 0 to 1"},
        {.layers = {"x"}, .say = "\"x\" is no layer"},
        {.layers = {"-1"}, .say = "\"-1\" is no layer"},
        {.ranks = {"q_proj"}, .say = "must be PATTERN=NUMBER"},
        {.ranks = {"q_proj=0"}, .say = "must be PATTERN=NUMBER"},
        {.ranks = {"q_proj=1.5"}, .say = "must be PATTERN=NUMBER"},
        {.ranks = {"=2"}, .say = "must be PATTERN=NUMBER"},
        {.ranks = {"q_proj=99999"}, .say = "rank 99999"},
        {.ranks = {"q_(=2"}, .say = "rank_pattern"},
        {.ranks = {"\xFF=2"}, .say = "rank-pattern: a name that is not UTF-8"},
        {.targets = {"\xFF"}, .say = "lora-target-modules: a name that is"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ql_train_options o = options();
        ql_adapter a;

        o.lora_target_modules = list_of(cases[i].targets);
        o.modules_to_save = list_of(cases[i].saves);
        o.layers_to_transform = list_of(cases[i].layers);
        o.rank_pattern = list_of(cases[i].ranks);
        check_fails(ql_adapter_fits(&toy->config, &o), QL_EINVAL, cases[i].say);
        check_fails(
            ql_adapter_make(&a, &toy->config, &toy->weights, &o, 7, true),
            QL_EINVAL, cases[i].say);
        assert_null(a.param);
    }
}

/* Its magnitudes are those of its columns, over all tokens. */
static void dora__of_an_embedding_begins_as_its_norms(void **state)
{
    ql_train_options o = options();
    const ql_qtensor *w = &toy->weights.base_embed;
    float *x = malloc(w->rows * w->cols * sizeof(*x));
    ql_adapter a;

    (void)state;
    o.use_dora = true;
    o.lora_target_modules = list_of((const char *[]){"embed_tokens", NULL});
    check_ok(ql_adapter_make(&a, &toy->config, &toy->weights, &o, 7, true));
    assert_int_equal(a.n_tensors, 3);
    assert_int_equal(a.sizes[2], w->cols);
    ql_dequantize(x, w, 0, w->rows * w->cols);
    for (size_t c = 0; c < w->cols; c++) {
        const double m = (double)a.param[a.tensors[2].at + c];
        double sum = 0;

        for (size_t v = 0; v < w->rows; v++) {
            sum += (double)x[v * w->cols + c] * (double)x[v * w->cols + c];
        }
        assert_true(fabs(m - sqrt(sum)) <= 1e-6 * m);
    }
    ql_adapter_free(&a);
    free(x);
}

/* Memory fails at each allocation in turn: no harm, no leak. */
static void adapter__survives_lack_of_memory(void **state)
{
    ql_train_options o = options();
    bool ok = false;

    (void)state;
    o.use_dora = true;
    o.modules_to_save = list_of((const char *[]){"lm_head", NULL});
    for (long n = 0; !ok; n++) {
        ql_adapter a;

        assert_true(n < 1000);
        ok = check_lacking(
            n, ql_adapter_make(&a, &toy->config, &toy->weights, &o, 7, true));
        ql_adapter_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets__are_ends_of_paths_or_one_pattern),
        cmocka_unit_test(targets__are_all_linear_layers_by_themselves),
        cmocka_unit_test(layers__can_be_chosen),
        cmocka_unit_test(patterns__give_ranks_and_alphas),
        cmocka_unit_test(modules__can_be_trained_whole),
        cmocka_unit_test(norms__can_be_trained_whole),
        cmocka_unit_test(modules__are_whole_or_have_a_pair),
        cmocka_unit_test(magnitudes__begin_as_norms),
        cmocka_unit_test(pairs__begin_as_those_of_peft),
        cmocka_unit_test(options__that_fit_no_model_are_refused),
        cmocka_unit_test(dora__of_an_embedding_begins_as_its_norms),
        cmocka_unit_test(adapter__survives_lack_of_memory),
    };
    ql_model_options opt;

    check_ok(ql_runtime_open(&check_runtime));
    ql_model_options_init(&opt);
    opt.quantize = false;
    check_ok(ql_model_open(&toy, toy_model(), &opt));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
