/* What adapters of PEFT may say, and means the same wherever they are used:
 * loaded, merged, and written as GGUF. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qlora/export.h"
#include "qlora/model.h"
#include "src/base/file.h"
#include "src/convert/adapter_make.h"
#include "src/convert/peft.h"
#include "src/format/gguf.h"
#include "src/format/shards.h"
#include "tests/check/check.h"
#include "tests/check/toy_adapter.h"
#include "tests/check/toy_folder.h"

enum {
    PATH_BYTES = 4300
};

static char adapter_dir[PATH_BYTES];
static ql_export_report report;

static const toy_tensor plain[] = {
    TOY_PAIR,
};

static void options(ql_export_options *o)
{
    ql_export_options_init(o);
    o->force = true;
}

static ql_status merge(const ql_export_options *o)
{
    return ql_export_merge(toy_in(), adapter_dir, toy_out(), o, &report);
}

/* A tensor of a folder in f32. Owned: free. */
static float *tensor_of(const char *dir, const char *name)
{
    ql_shards *s = NULL;
    const ql_tensor *t;
    float *x;

    check_ok(ql_shards_open(&s, dir));
    t = ql_shards_find(s, name);
    assert_non_null(t);
    x = malloc(t->elements * sizeof(*x));
    check_ok(ql_tensor_to_f32(x, t));
    ql_shards_close(&s);
    return x;
}

/* The second tensor of the GGUF adapter at path, and its alpha. Owned: free. */
static float *gguf_b(const char *path, float *alpha)
{
    const ql_gguf_tensor *t;
    ql_gguf *g = NULL;
    float *x;

    check_ok(ql_gguf_open(&g, path));
    t = ql_gguf_tensor_at(g, 1);
    assert_string_equal(t->name, "blk.0.attn_q.weight.lora_b");
    x = malloc(t->bytes);
    memcpy(x, t->data, t->bytes);
    memcpy(alpha, ql_gguf_find(g, "adapter.lora.alpha")->data, sizeof(*alpha));
    ql_gguf_close(&g);
    return x;
}

/* PEFT takes any alpha: one below 0 takes off what the adapter has learnt, as
 * task vectors are, and 0 changes nothing. */
static void alpha__may_be_negative_or_zero(void **state)
{
    static const char *const configs[] = {
        "{'r': 2, 'lora_alpha': 3}", "{'r': 2, 'lora_alpha': -3}",
        "{'r': 2, 'lora_alpha': 5, 'alpha_pattern': {'q_proj': 0}}"};
    static const char name[] = "model.layers.0.self_attn.q_proj.weight";
    static const double signs[] = {1, -1, 0};
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    ql_export_options o;
    float *w[4];
    float *b[3];

    (void)state;
    toy_folder_write(toy_in(), &how);
    options(&o);
    w[3] = tensor_of(toy_in(), name);
    for (size_t i = 0; i < 3; i++) {
        const char *file;
        float alpha;
        ql_adapter a;
        ql_config c;

        toy_adapter_write(adapter_dir, configs[i], plain, 2);
        check_ok(merge(&o));
        w[i] = tensor_of(toy_out(), name);
        file = check_tmp_path("alpha.gguf");
        check_ok(
            ql_export_gguf_adapter(toy_in(), adapter_dir, file, &o, &report));
        b[i] = gguf_b(file, &alpha);
        assert_true(alpha > 0);
        check_ok(ql_config_init(&c, toy_in()));
        check_ok(ql_peft_load(&a, &c, adapter_dir));
        assert_true(a.entries[0].scale == (float)(1.5 * signs[i]));
        ql_adapter_free(&a);
        ql_config_free(&c);
    }
    for (size_t i = 0; i < TOY_QKV * TOY_C; i++) {
        assert_true(fabsf(w[0][i] - w[3][i] + w[1][i] - w[3][i]) < 1e-6F);
        assert_true(w[2][i] == w[3][i]);
    }
    assert_true(fabsf(w[0][0] - w[3][0]) > 1e-3F);
    for (size_t i = 0; i < TOY_QKV * 2; i++) {
        assert_true(b[1][i] == -b[0][i] && b[2][i] == 0);
    }
    for (size_t i = 0; i < 4; i++) {
        free(w[i]);
        free(i < 3 ? b[i] : NULL);
    }
}

/* Names as a state_dict() has them, without PEFT's prefix, or from a model
 * without its head, and a setting that PEFT puts right: it is the same adapter
 * everywhere. */
static void names__of_other_forms_are_those_of_the_model(void **state)
{
#define PATH "layers.0.self_attn.q_proj"
    static const struct {
        const char *a, *b, *config;
    } cases[] = {
        {TOY_Q0 ".lora_A.weight", TOY_Q0 ".lora_B.weight", "{'r': 2}"},
        {TOY_Q0 ".lora_A.weight", TOY_Q0 ".lora_B.weight",
         "{'r': 2, 'fan_in_fan_out': true}"},
        {TOY_Q0 ".lora_A.default.weight", TOY_Q0 ".lora_B.default.weight",
         "{'r': 2}"},
        {"model." PATH ".lora_A.weight", "model." PATH ".lora_B.weight",
         "{'r': 2}"},
        {"base_model.model." PATH ".lora_A.weight",
         "base_model.model." PATH ".lora_B.weight", "{'r': 2}"},
        {PATH ".lora_A.default.weight", PATH ".lora_B.default.weight",
         "{'r': 2, 'target_modules': '" PATH "'}"},
    };
    static const char name[] = "model.layers.0.self_attn.q_proj.weight";
    const toy_folder how = {.dtype = QL_DTYPE_F32, .layers = 1};
    float *want = NULL;
    ql_adapter first = {0};
    ql_export_options o;
    ql_config c;

    (void)state;
    toy_folder_write(toy_in(), &how);
    check_ok(ql_config_init(&c, toy_in()));
    options(&o);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const toy_tensor t[] = {{.name = cases[i].a, .shape = {2, TOY_C}},
                                {.name = cases[i].b, .shape = {TOY_QKV, 2}}};
        ql_adapter a;
        float *got;

        toy_adapter_write(adapter_dir, cases[i].config, t, 2);
        check_ok(merge(&o));
        assert_true(report.difference.tokens > 0);
        got = tensor_of(toy_out(), name);
        check_ok(ql_peft_load(&a, &c, adapter_dir));
        check_ok(ql_export_gguf_adapter(
            toy_in(), adapter_dir, check_tmp_path("names.gguf"), &o, &report));
        if (i == 0) {
            want = got;
            first = a;
            continue;
        }
        assert_memory_equal(got, want, TOY_QKV * TOY_C * sizeof(*got));
        assert_int_equal(a.count, first.count);
        assert_int_equal(a.fixed != NULL, i == 5); /* as a pattern says */
        assert_memory_equal(a.param, first.param, a.count * sizeof(float));
        ql_adapter_free(&a);
        free(got);
    }
    ql_adapter_free(&first);
    ql_config_free(&c);
    free(want);
#undef PATH
}

/* An embedding x and, where there is one, a head h, beside a pair: merged,
 * loaded, and written as GGUF. repeats: they are the base's. */
static void use_ends(const float *x, const float *h, bool repeats)
{
    const toy_tensor t[] = {
        TOY_PAIR,
        {.name = TOY_EMBED ".weight", .shape = {TOY_V, TOY_C}, .values = x},
        {.name = TOY_HEAD ".weight", .shape = {TOY_V, TOY_C}, .values = h},
    };
    const char *gguf = check_tmp_path("ends.gguf");
    const size_t bytes = TOY_V * TOY_C * sizeof(float);
    ql_export_options o;
    ql_model *m = NULL;
    ql_adapter a;
    float *e;

    options(&o);
    toy_adapter_write(adapter_dir, "{'r': 2}", t, h ? 4 : 3);
    check_ok(merge(&o));
    assert_true(report.difference.tokens > 0 && !report.untied);
    assert_true(report.difference.logit <= 1e-5 * report.difference.range);
    e = tensor_of(toy_out(), "model.embed_tokens.weight");
    assert_memory_equal(e, x, bytes);
    free(e);
    if (repeats) {
        check_ok(
            ql_export_gguf_adapter(toy_in(), adapter_dir, gguf, &o, &report));
    } else {
        check_fails(
            ql_export_gguf_adapter(toy_in(), adapter_dir, gguf, &o, &report),
            QL_EUNSUPPORTED, ".weight cannot be said");
    }
    check_ok(ql_model_open(&m, toy_in(), NULL));
    check_ok(ql_peft_load_onto(&a, m, adapter_dir));
    assert_int_equal(a.n == 1, repeats);
    assert_int_equal(a.fixed == NULL, repeats);
    ql_adapter_free(&a);
    ql_model_close(&m);
}

/* PEFT saves embedding and head unasked, with save_embedding_layers, or where
 * they were resized, and loads what it has saved. */
static void ends__saved_unasked_repeat_the_base_or_replace_it(void **state)
{
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        const toy_folder how = {.dtype = QL_DTYPE_F32, .untied = !tied};
        const toy_tensor more[] = {
            TOY_PAIR,
            {.name = TOY_EMBED ".weight", .shape = {TOY_V + 2, TOY_C}},
        };
        ql_export_options o;
        ql_model *m = NULL;
        float *x;
        float *h;

        toy_folder_write(toy_in(), &how);
        x = tensor_of(toy_in(), "model.embed_tokens.weight");
        h = tied ? NULL : tensor_of(toy_in(), "lm_head.weight");
        use_ends(x, tied ? x : h, true);
        x[7] += 0.5F;
        use_ends(x, NULL, false);
        free(x);
        free(h);
        options(&o);
        toy_adapter_write(adapter_dir, "{'r': 2}", more, 3);
        check_fails(merge(&o), QL_EMISMATCH,
                    "is of 32 tokens, but the model has 30");
        check_ok(ql_model_open(&m, toy_in(), NULL));
        check_fails(ql_model_load_adapter(m, adapter_dir), QL_EMISMATCH,
                    "resize_token_embeddings(32)");
        ql_model_close(&m);
    }
}

/* What is trained whole lies there twice more, then. */
static void wrappers__of_what_is_trained_whole_are_read_over(void **state)
{
    static const toy_tensor t[] = {
        TOY_PAIR,
        {.name = TOY_HEAD ".modules_to_save.weight", .shape = {TOY_V, TOY_C}},
        {.name = TOY_HEAD ".original_module.weight", .shape = {TOY_V, TOY_C}},
        {.name = TOY_HEAD ".weight", .shape = {TOY_V, TOY_C}},
    };
    static const char config[] = "{'r': 2, 'modules_to_save': ['lm_head']}";
    const toy_folder how = {.dtype = QL_DTYPE_F32, .untied = true};
    ql_export_options o;

    (void)state;
    options(&o);
    toy_folder_write(toy_in(), &how);
    toy_adapter_write(adapter_dir, config, t, 5);
    check_ok(merge(&o));
    assert_int_equal(report.merged, 2);
    assert_true(report.difference.tokens > 0);
}

/* A state_dict() has what is trained whole by the name of its wrapper alone. */
static void wrappers__stand_for_what_the_file_lacks(void **state)
{
    static const char *const endings[] = {".weight", ".modules_to_save.weight",
                                          ".modules_to_save.default.weight",
                                          ".original_module.weight"};
    static const char config[] = "{'r': 2, 'modules_to_save': ['lm_head']}";
    const toy_folder how = {.dtype = QL_DTYPE_F32, .untied = true};
    ql_export_options o;
    float *x;

    (void)state;
    options(&o);
    toy_folder_write(toy_in(), &how);
    x = tensor_of(toy_in(), "lm_head.weight");
    x[7] += 0.5F;
    for (size_t i = 0; i < 4; i++) {
        char name[64];
        const toy_tensor t[] = {
            TOY_PAIR,
            {.name = TOY_HEAD ".original_module.bias",
             .shape = {TOY_V},
             .rank = 1},
            {.name = name, .shape = {TOY_V, TOY_C}, .values = x},
        };
        float *head;

        snprintf(name, sizeof(name), TOY_HEAD "%s", endings[i]);
        toy_adapter_write(adapter_dir, config, t, 4);
        if (i == 3) {
            check_fails(merge(&o), QL_EMISMATCH,
                        "lm_head.weight must be there");
            break;
        }
        check_ok(merge(&o));
        assert_int_equal(report.merged, 2);
        head = tensor_of(toy_out(), "lm_head.weight");
        assert_memory_equal(head, x, TOY_V * TOY_C * sizeof(*x));
        free(head);
    }
    free(x);
}

/* That an adapter is what it is trained on with: say NULL, or why it is not
 * where the options are others. */
static void check_options(void (*change)(ql_train_options *o), const char *say)
{
    ql_adapter_texts *texts;
    ql_train_options o;
    ql_adapter a;
    ql_config c;

    ql_train_options_init(&o);
    check_ok(ql_train_options_adapter(&o, adapter_dir, &texts));
    change(&o);
    check_ok(ql_config_init(&c, toy_in()));
    check_ok(ql_peft_load(&a, &c, adapter_dir));
    if (say) {
        check_fails(ql_adapter_matches(&a, &c, &o, "DIR"), QL_EMISMATCH, say);
    } else {
        check_ok(ql_adapter_matches(&a, &c, &o, "DIR"));
    }
    ql_adapter_texts_close(&texts);
    ql_adapter_free(&a);
    ql_config_free(&c);
}

static void nothing(ql_train_options *o)
{
    (void)o;
}

static void other_rank(ql_train_options *o)
{
    o->lora_r = 3;
}

static void other_alpha(ql_train_options *o)
{
    o->lora_alpha = 3;
}

static void other_scale(ql_train_options *o)
{
    o->use_rslora = true;
}

static void other_kind(ql_train_options *o)
{
    o->use_dora = true;
}

static void other_ranks(ql_train_options *o)
{
    static const char *const ranks[] = {"q_proj=1"};

    o->rank_pattern = (ql_list){ranks, 1};
}

static void more_modules(ql_train_options *o)
{
    static const char *const targets[] = {"q_proj"};

    o->lora_target_modules = (ql_list){targets, 1};
}

static void other_modules(ql_train_options *o)
{
    static const char *const saves[] = {"embed_tokens"};

    o->modules_to_save = (ql_list){saves, 1};
    o->lora_target_modules.n--;
}

static void fewer_modules(ql_train_options *o)
{
    o->lora_target_modules.n--;
}

/* A training goes on with the modules that an adapter has, however its settings
 * ask for them; options that ask for another one are told by name. */
static void modules__of_an_adapter_are_those_of_its_pairs(void **state)
{
#define NOT_V "^(?!.*layers\\\\.[01]\\\\.self_attn\\\\.q_proj$).*$"
    static const char *const configs[] = {
        "{'r': 2}",
        "{'r': 2, 'target_modules': 'all-linear', 'exclude_modules': '" NOT_V
        "'}",
        "{'r': 2, 'target_modules': ['q_proj', 'v_proj'], "
        "'exclude_modules': ['v_proj']}",
        "{'r': 2, 'target_modules': '.*(q|v)_proj', 'exclude_modules': "
        "['v_proj']}",
        "{'r': 2, 'target_modules': ['q_proj']}",
        "{'r': 2, 'target_modules': ['w1', 'q_proj', 'query_key_value']}",
    };
    static const toy_tensor t[] = {
        TOY_PAIR,
        {.name = TOY_Q1 ".lora_A.weight", .shape = {2, TOY_C}},
        {.name = TOY_Q1 ".lora_B.weight", .shape = {TOY_QKV, 2}},
    };
    const toy_folder how = {.dtype = QL_DTYPE_F32};

    (void)state;
    toy_folder_write(toy_in(), &how);
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        toy_adapter_write(adapter_dir, configs[i], t, 4);
        check_options(nothing, NULL);
    }
    toy_adapter_write(adapter_dir, configs[0], t, 4);
    check_options(other_rank, "DIR: the adapter has another lora-r than");
    check_options(other_alpha, "another lora-alpha");
    check_options(other_scale, "another use-rslora");
    check_options(other_kind, "another use-dora");
    check_options(other_ranks, "rank or scale of model.layers.0.self_attn.q_p");
    check_options(fewer_modules, "the adapter changes model.layers.1.self_att");
    check_options(other_modules, "ask for model.embed_tokens, which the");
    toy_adapter_write(adapter_dir, configs[0], t, 2);
    check_options(more_modules, "ask for model.layers.1.self_attn.q_proj, whi");
#undef NOT_V
}

/* Settings may name what other models have; options may not. */
static void names__of_other_models_are_read_over(void **state)
{
    static const char config[] = "{'r': 2, 'target_modules': ['c_attn', "
                                 "'q_proj'], 'modules_to_save': "
                                 "['wte', 'model.norm', 'ln_f']}";
    static const toy_tensor t[] = {
        TOY_PAIR,
        {.name = "base_model.model.model.norm.weight",
         .shape = {TOY_C},
         .rank = 1},
    };
    const toy_folder how = {.dtype = QL_DTYPE_F32, .layers = 1};
    ql_adapter_texts *texts;
    ql_train_options o;

    (void)state;
    ql_train_options_init(&o);
    toy_folder_write(toy_in(), &how);
    toy_adapter_write(adapter_dir, config, t, 3);
    check_options(nothing, NULL);
    check_ok(ql_train_options_adapter(&o, adapter_dir, &texts));
    assert_int_equal(o.lora_target_modules.n, 1);
    assert_string_equal(o.lora_target_modules.items[0], "q_proj");
    assert_int_equal(o.modules_to_save.n, 1);
    assert_string_equal(o.modules_to_save.items[0], "model.norm");
    ql_adapter_texts_close(&texts);
}

/* Where PEFT holds the two for one, an embedding that is trained whole leaves
 * nothing that the pair of the head would be beside; else they are two, and the
 * head's pair is beside the matrix that the model has. */
static void heads__by_a_pair_beside_a_whole_embedding_are_another(void **state)
{
    static const toy_tensor both_ends[] = {
        {.name = TOY_HEAD ".lora_A.weight", .shape = {2, TOY_C}},
        {.name = TOY_HEAD ".lora_B.weight", .shape = {TOY_V, 2}},
        {.name = TOY_EMBED ".weight", .shape = {TOY_V, TOY_C}},
    };
    toy_folder how = {.dtype = QL_DTYPE_F32};
    const char *config = "{'r': 2, 'modules_to_save': ['embed_tokens'], "
                         "'ensure_weight_tying': true}";
    ql_export_options o;
    ql_model *m = NULL;

    (void)state;
    options(&o);
    toy_folder_write(toy_in(), &how);
    toy_adapter_write(adapter_dir, config, both_ends, 3);
    check_fails(merge(&o), QL_EUNSUPPORTED, "says that they stay one matrix");
    check_ok(ql_model_open(&m, toy_in(), NULL));
    check_fails(ql_model_load_adapter(m, adapter_dir), QL_EUNSUPPORTED,
                "leave that setting out");
    ql_model_close(&m);
    toy_adapter_write(adapter_dir,
                      "{'r': 2, 'modules_to_save': ['embed_tokens']}",
                      both_ends, 3);
    check_ok(merge(&o));
    assert_true(report.untied && report.difference.tokens > 0);
    assert_true(report.difference.logit <= 1e-5 * report.difference.range);
    how.untied = true;
    toy_folder_write(toy_in(), &how);
    toy_adapter_write(adapter_dir, config, both_ends, 3);
    check_ok(merge(&o));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names__of_other_forms_are_those_of_the_model),
        cmocka_unit_test(alpha__may_be_negative_or_zero),
        cmocka_unit_test(ends__saved_unasked_repeat_the_base_or_replace_it),
        cmocka_unit_test(wrappers__of_what_is_trained_whole_are_read_over),
        cmocka_unit_test(wrappers__stand_for_what_the_file_lacks),
        cmocka_unit_test(modules__of_an_adapter_are_those_of_its_pairs),
        cmocka_unit_test(heads__by_a_pair_beside_a_whole_embedding_are_another),
        cmocka_unit_test(names__of_other_models_are_read_over),
    };

    snprintf(adapter_dir, sizeof(adapter_dir), "%s", check_tmp_path("adapter"));
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
