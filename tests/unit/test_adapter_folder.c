/* Folders of adapters by the names of their tensors: PEFT's in all their
 * kinds, MLX's, and what is wrong with them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/convert/adapter_folder.h"
#include "src/convert/adapter_make.h"
#include "src/convert/peft.h"
#include "tests/check/check.h"
#include "tests/check/toy.h"
#include "tests/check/toy_adapter.h"
#include "tests/check/toy_folder.h"

#define LAYER "base_model.model.model.layers.0."

enum {
    PATH_BYTES = 4200
};

static const char *folder(void)
{
    const char *path = check_tmp_path("adapter");

    check_ok(ql_dir_make(path));
    return path;
}

static void write_weights(const char *name, const toy_tensor *t, size_t n)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%.4000s/%s", folder(), name);
    toy_tensors_write(path, t, n);
}

static const toy_tensor rich[] = {
    {.name = LAYER "mlp.up_proj.lora_A.weight", .shape = {2, 5}},
    {.name = LAYER "mlp.up_proj.lora_B.weight", .shape = {3, 2}},
    {.name = LAYER "self_attn.q_proj.lora_A.weight", .shape = {4, 5}},
    {.name = LAYER "self_attn.q_proj.lora_B.weight", .shape = {6, 4}},
    {.name = LAYER "self_attn.q_proj.bias", .shape = {6}, .rank = 1},
    {.name = "base_model.model.model.embed_tokens.lora_embedding_A",
     .shape = {2, 9}},
    {.name = "base_model.model.model.embed_tokens.lora_embedding_B",
     .shape = {5, 2}},
    {.name = "base_model.model.model.embed_tokens.base_layer.weight",
     .shape = {9, 5}},
    {.name = "base_model.model.lm_head.weight", .shape = {9, 5}},
};
static const char rich_config[] =
    "{'peft_type': 'LORA', 'r': 2, 'lora_alpha': 3, 'use_rslora': true, "
    "'rank_pattern': {'q_proj': 4, '.*proj': 2}, "
    "'alpha_pattern': {'layers\\\\.[0-3].*q_proj': 8}, 'bias': 'lora_only', "
    "'target_modules': ['q_proj', 'mlp.up_proj', 'embed_tokens'], "
    "'modules_to_save': ['lm_head', 'classifier']}";

enum {
    RICH = sizeof(rich) / sizeof(rich[0])
};

static void pairs__have_their_own_ranks_and_scales(void **state)
{
    ql_adapter_folder f;
    const ql_adapter_pair *p;

    (void)state;
    write_weights("adapter_model.safetensors", rich, RICH);
    toy_json_write(folder(), "adapter_config.json", rich_config);
    check_ok(ql_adapter_folder_init(&f, folder()));
    assert_int_equal(f.n_pairs, 3);
    p = ql_adapter_folder_pair(&f, "model.layers.0.self_attn.q_proj");
    assert_int_equal(p->r, 4);
    assert_int_equal(p->in, 5);
    assert_int_equal(p->out, 6);
    assert_true(p->alpha == 8 && p->scale == 8 / 2.0);
    p = ql_adapter_folder_pair(&f, "model.layers.0.mlp.up_proj");
    assert_true(p->r == 2 && p->alpha == 3 && p->scale == 3 / sqrt(2));
    assert_false(p->embedding);
    p = ql_adapter_folder_pair(&f, "model.embed_tokens");
    assert_true(p->embedding && p->in == 9 && p->out == 5);
    assert_null(ql_adapter_folder_pair(&f, "model.embed"));
    ql_adapter_folder_free(&f);
}

static void
tensors__that_stand_whole_are_kept_by_the_names_of_the_base(void **state)
{
    static const struct {
        const char *name;
        bool repeats;
    } want[] = {
        {"lm_head.weight", false},
        {"model.embed_tokens.weight", true},
        {"model.layers.0.self_attn.q_proj.bias", false},
    };
    ql_adapter_folder f;

    (void)state;
    write_weights("adapter_model.safetensors", rich, RICH);
    toy_json_write(folder(), "adapter_config.json", rich_config);
    check_ok(ql_adapter_folder_init(&f, folder()));
    assert_int_equal(f.n_wholes, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(f.wholes[i].name, want[i].name);
        assert_int_equal(f.wholes[i].repeats, want[i].repeats);
    }
    ql_adapter_folder_free(&f);
}

/* A module in which there are others is wrapped as a whole; and a head is
 * trained whole by the task, though no name says so. */
static void wrappers__of_modules_with_others_are_read(void **state)
{
    static const toy_tensor t[] = {
        {.name = LAYER "self_attn.q_proj.lora_A.weight", .shape = {2, 5}},
        {.name = LAYER "self_attn.q_proj.lora_B.weight", .shape = {6, 2}},
        {.name = "base_model.model.classifier.modules_to_save.dense.weight",
         .shape = {4, 4}},
        {.name = "base_model.model.classifier.original_module.dense.weight",
         .shape = {4, 4}},
        {.name = "base_model.model.classifier.modules_to_save.default.out.bias",
         .shape = {4},
         .rank = 1},
        {.name = "base_model.model.classifier.out.bias",
         .shape = {4},
         .rank = 1},
        {.name = "base_model.model.score.modules_to_save.default.weight",
         .shape = {4, 4}},
    };
    static const char *const want[] = {"classifier.dense.weight",
                                       "classifier.out.bias", "score.weight"};
    static const char *const configs[] = {
        "{'r': 2, 'modules_to_save': ['classifier', 'score']}",
        "{'r': 2, 'task_type': 'SEQ_CLS'}"};
    ql_adapter_folder f;

    (void)state;
    write_weights("adapter_model.safetensors", t, 7);
    for (size_t i = 0; i < 2; i++) {
        toy_json_write(folder(), "adapter_config.json", configs[i]);
        check_ok(ql_adapter_folder_init(&f, folder()));
        assert_int_equal(f.n_wholes, 3);
        for (size_t k = 0; k < 3; k++) {
            assert_string_equal(f.wholes[k].name, want[k]);
            assert_false(f.wholes[k].unnamed);
        }
        ql_adapter_folder_free(&f);
    }
    toy_json_write(folder(), "adapter_config.json", "{'r': 2}");
    check_fails(ql_adapter_folder_init(&f, folder()), QL_EMISMATCH,
                "neither part");
}

/* The rich folder, with tensor i changed. */
static void refused(size_t i, const toy_tensor *t, const char *config,
                    ql_status st, const char *say)
{
    toy_tensor all[RICH];
    ql_adapter_folder f;

    memcpy(all, rich, sizeof(all));
    if (t) {
        all[i] = *t;
    }
    write_weights("adapter_model.safetensors", all, RICH);
    toy_json_write(folder(), "adapter_config.json", config);
    check_fails(ql_adapter_folder_init(&f, folder()), st, say);
    assert_null(f.pairs);
    assert_null(f.file);
}

static void tensors__without_a_place_are_refused(void **state)
{
    static const float bad[18] = {[7] = INFINITY};
    static const toy_tensor wrong[] = {
        {.name = "model.lm_head.weight", .shape = {9, 5}},
        {.name = "base_model.model.model.norm.weight", .shape = {9, 5}},
        {.name = "base_model.model.x.lora_C.weight", .shape = {9, 5}},
        {.name = LAYER "mlp.lora_B.weight", .shape = {9, 5}},
        {.name = LAYER "mlp.up_proj.lora_magnitude_vector",
         .shape = {3},
         .rank = 1},
    };
    static const char *const say[] = {
        "not a name that PEFT gives", "neither part", "neither part",
        "mlp must have a lora_A", "\"use_dora\" of"};
    static const toy_tensor not_finite = {
        .name = "base_model.model.model.embed_tokens.lora_embedding_A",
        .shape = {2, 9},
        .values = bad};
    static const toy_tensor vector = {
        .name = LAYER "mlp.up_proj.lora_A.weight", .shape = {2}, .rank = 1};

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        refused(RICH - 1, &wrong[i], rich_config, QL_EMISMATCH, say[i]);
    }
    refused(5, &not_finite, rich_config, QL_EFORMAT, "not finite");
    refused(0, &vector, rich_config, QL_EMISMATCH, "not the part");
}

/* What PEFT makes of a head that shall be one with such an embedding, and MLX
 * of an embedding, is something else. */
static void dora__of_an_embedding_that_is_the_head_is_refused(void **state)
{
    const toy_tensor peft[] = {
        {.name = "base_model.model.wte.lora_embedding_A", .shape = {2, 9}},
        {.name = "base_model.model.wte.lora_embedding_B", .shape = {5, 2}},
        {.name = "base_model.model.wte.lora_magnitude_vector",
         .shape = {5},
         .rank = 1},
    };
    const toy_tensor mlx[] = {
        {.name = "model.embed_tokens.lora_a", .shape = {9, 2}},
        {.name = "model.embed_tokens.lora_b", .shape = {2, 9}},
        {.name = "model.embed_tokens.m", .shape = {9}, .rank = 1},
    };
    ql_adapter_folder f;

    (void)state;
    write_weights("adapter_model.safetensors", peft, 3);
    toy_json_write(folder(), "adapter_config.json",
                   "{'peft_type': 'LORA', 'r': 2, 'use_dora': true}");
    check_ok(ql_adapter_folder_init(&f, folder()));
    ql_adapter_folder_free(&f);
    toy_json_write(folder(), "adapter_config.json",
                   "{'peft_type': 'LORA', 'r': 2, 'use_dora': true, "
                   "'ensure_weight_tying': true}");
    check_fails(ql_adapter_folder_init(&f, folder()), QL_EUNSUPPORTED,
                "with \"ensure_weight_tying\"");
    check_ok(ql_dir_remove(folder()));
    write_weights("adapters.safetensors", mlx, 3);
    toy_json_write(folder(), "adapter_config.json",
                   "{'fine_tune_type': 'dora', 'num_layers': 1, "
                   "'lora_parameters': {'rank': 2, 'scale': 1.0, 'dropout': "
                   "0.0}}");
    check_fails(ql_adapter_folder_init(&f, folder()), QL_EUNSUPPORTED,
                "in adapters of MLX");
}

static void mlx__is_turned_into_peft(void **state)
{
    static const float a[2 * 3] = {1, 2, 3, 4, 5, 6}; /* [in 2, r 3] */
    static const float b[3 * 1] = {7, 8, 9};          /* [r 3, out 1] */
    static const float m[1] = {10};
    const toy_tensor t[] = {
        {"model.layers.1.mlp.up_proj.lora_a", {2, 3}, 2, a},
        {"model.layers.1.mlp.up_proj.lora_b", {3, 1}, 2, b},
        {"model.layers.1.mlp.up_proj.m", {1}, 1, m},
    };
    static const float turned[3 * 2] = {1, 4, 2, 5, 3, 6};
    ql_adapter_folder f;
    const ql_adapter_pair *p;
    float got[6];

    (void)state;
    check_ok(ql_dir_remove(folder()));
    write_weights("adapters.safetensors", t, 3);
    toy_json_write(folder(), "adapter_config.json",
                   "{'fine_tune_type': 'dora', 'num_layers': 1, "
                   "'lora_parameters': {'rank': 3, 'scale': 20.0, "
                   "'alpha': 16, 'dropout': 0.25}}");
    check_ok(ql_adapter_folder_init(&f, folder()));
    assert_true(f.mlx && f.dora && f.tied && f.n_pairs == 1);
    assert_true(f.dropout == 0.25 && f.r == 3);
    p = ql_adapter_folder_pair(&f, "model.layers.1.mlp.up_proj");
    assert_true(p->r == 3 && p->in == 2 && p->out == 1 && p->scale == 20);
    check_ok(ql_tensor_to_f32(got, &p->a));
    assert_memory_equal(got, turned, sizeof(turned));
    check_ok(ql_tensor_to_f32(got, &p->b));
    assert_memory_equal(got, b, sizeof(b));
    check_ok(ql_tensor_to_f32(got, &p->magnitude));
    assert_true(got[0] == 10);
    ql_adapter_folder_free(&f);
}

static void mlx__with_another_meaning_is_refused(void **state)
{
    static const struct {
        const char *config;
        ql_status st;
        const char *say;
    } cases[] = {
        {"{}", QL_EFORMAT, "lora_parameters"},
        {"{'lora_parameters': {'rank': 2}}", QL_EFORMAT, "\"scale\""},
        {"{'lora_parameters': {'rank': 2, 'alpha': 16}}", QL_EFORMAT,
         "\"scale\""},
        {"{'lora_parameters': {'rank': 2, 'scale': -1}}", QL_EFORMAT,
         "\"scale\""},
        {"{'lora_parameters': {'scale': 2}}", QL_EFORMAT, "\"rank\""},
        {"{'lora_parameters': {'rank': 3, 'scale': 2}}", QL_EMISMATCH,
         "has rank 2, but adapter_config.json says 3"},
        {"{'lora_layers': 16, 'lora_parameters': {'rank': 2, 'scale': 10, "
         "'alpha': 16}}",
         QL_EUNSUPPORTED, "scale * alpha / rank"},
        {"{'fine_tune_type': 'full', 'lora_parameters': {'rank': 2, "
         "'scale': 2}}",
         QL_EUNSUPPORTED, "fine_tune_type"},
    };
    const toy_tensor t[] = {
        {.name = "model.embed_tokens.lora_a", .shape = {9, 2}},
        {.name = "model.embed_tokens.lora_b", .shape = {2, 5}},
        {.name = "model.embed_tokens.weight", .shape = {2, 5}},
    };
    ql_adapter_folder f;

    (void)state;
    check_ok(ql_dir_remove(folder()));
    write_weights("adapters.safetensors", t, 2);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        toy_json_write(folder(), "adapter_config.json", cases[i].config);
        check_fails(ql_adapter_folder_init(&f, folder()), cases[i].st,
                    cases[i].say);
    }
    toy_json_write(folder(), "adapter_config.json",
                   "{'lora_parameters': {'rank': 2, 'scale': 2}}");
    check_ok(ql_adapter_folder_init(&f, folder()));
    assert_true(f.pairs[0].embedding);
    ql_adapter_folder_free(&f);
    write_weights("adapters.safetensors", t, 3);
    check_fails(ql_adapter_folder_init(&f, folder()), QL_EUNSUPPORTED,
                "model.embed_tokens.weight is not part");
}

/* Modules that MLX calls otherwise. */
static void mlx__names_become_those_of_the_model(void **state)
{
    static const char *const names[][2] = {
        {"model.embed_in", "gpt_neox.embed_in"},
        {"model.embed_out", "embed_out"},
        {"model.h.0.attention.query_key_value",
         "gpt_neox.layers.0.attention.query_key_value"},
        {"model.h.0.attn.c_attn", "transformer.h.0.attn.c_attn"},
        {"model.h.1.mlp.c_fc", "transformer.h.1.mlp.c_fc"},
        {"model.h.1.mlp.dense_h_to_4h", "gpt_neox.layers.1.mlp.dense_h_to_4h"},
        {"model.layers.1.mlp.up_proj", "model.layers.1.mlp.up_proj"},
        {"model.wte", "transformer.wte"},
    };
    enum {
        N = sizeof(names) / sizeof(names[0])
    };
    char text[2 * N][80];
    toy_tensor t[2 * N];
    ql_adapter_folder f;

    (void)state;
    for (size_t i = 0; i < 2 * N; i++) {
        snprintf(text[i], sizeof(text[i]), "%s.lora_%c", names[i / 2][0],
                 i % 2 ? 'b' : 'a');
        t[i] = (toy_tensor){.name = text[i],
                            .shape = {i % 2 ? 2 : 5, i % 2 ? 3 : 2}};
    }
    check_ok(ql_dir_remove(folder()));
    write_weights("adapters.safetensors", t, 2 * N);
    toy_json_write(folder(), "adapter_config.json",
                   "{'lora_layers': 16, 'lora_parameters': {'rank': 2, "
                   "'scale': 2, 'alpha': 2}}");
    check_ok(ql_adapter_folder_init(&f, folder()));
    assert_int_equal(f.n_pairs, N);
    for (size_t i = 0; i < N; i++) {
        const ql_adapter_pair *p = ql_adapter_folder_pair(&f, names[i][1]);

        assert_non_null(p);
        assert_int_equal(p->in, 5);
        assert_int_equal(p->out, 3);
    }
    ql_adapter_folder_free(&f);
}

/* What PEFT saved and what MLX would have saved of it are one adapter. */
static void mlx__is_served_as_the_same_adapter_of_peft(void **state)
{
    static const char *const o_proj = "o_proj";
    const ql_train_options opt = {
        .lora_r = 2, .lora_alpha = 5, .lora_target_modules = {&o_proj, 1}};
    static ql_weights none;
    toy_tensor t[4];
    float turned[4][TOY_C * TOY_C];
    char names[4][64];
    ql_adapter a;
    ql_adapter b;
    ql_config c;

    (void)state;
    check_ok(ql_config_init(&c, toy_model()));
    check_ok(ql_adapter_make(&a, &c, &none, &opt, 1, false));
    check_fill(a.param, a.count, 5);
    for (size_t i = 0; i < 4; i++) {
        const size_t rows = a.tensors[i].shape[0];
        const size_t cols = a.tensors[i].shape[1];
        const float *from = a.param + a.tensors[i].at;

        for (size_t k = 0; k < rows * cols; k++) {
            turned[i][k % cols * rows + k / cols] = from[k];
        }
        snprintf(names[i], sizeof(names[i]),
                 "model.layers.%zu.self_attn.o_proj.lora_%c", i / 2,
                 i % 2 ? 'b' : 'a');
        t[i] = (toy_tensor){names[i], {cols, rows}, 2, turned[i]};
    }
    check_ok(ql_dir_remove(folder()));
    write_weights("adapters.safetensors", t, 4);
    toy_json_write(folder(), "adapter_config.json",
                   "{'lora_parameters': {'rank': 2, 'scale': 2.5}}");
    check_ok(ql_peft_load(&b, &c, folder()));
    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.param, b.param, a.count * sizeof(float));
    assert_true(b.opt.alpha == 5 && b.n == a.n);
    ql_adapter_free(&a);
    ql_adapter_free(&b);
    ql_config_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs__have_their_own_ranks_and_scales),
        cmocka_unit_test(
            tensors__that_stand_whole_are_kept_by_the_names_of_the_base),
        cmocka_unit_test(wrappers__of_modules_with_others_are_read),
        cmocka_unit_test(tensors__without_a_place_are_refused),
        cmocka_unit_test(dora__of_an_embedding_that_is_the_head_is_refused),
        cmocka_unit_test(mlx__is_turned_into_peft),
        cmocka_unit_test(mlx__with_another_meaning_is_refused),
        cmocka_unit_test(mlx__names_become_those_of_the_model),
        cmocka_unit_test(mlx__is_served_as_the_same_adapter_of_peft),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
