/* ql_export_merge: types and shards of the result, tied heads, the base that
 * an adapter is merged into, and what goes along. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qlora/export.h"
#include "qlora/model.h"
#include "quant/half.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/format/shards.h"
#include "tests/check/check.h"
#include "tests/check/toy_adapter.h"
#include "tests/check/toy_folder.h"

enum {
    PATH_BYTES = 4300
};

static char adapter_dir[PATH_BYTES];
static ql_export_report report;

static void options(ql_export_options *o)
{
    ql_export_options_init(o);
    o->force = true;
}

static const toy_tensor plain[] = {TOY_PAIR};
static const toy_tensor both[] = {
    TOY_PAIR,
    {.name = TOY_Q1 ".lora_A.weight", .shape = {2, TOY_C}},
    {.name = TOY_Q1 ".lora_B.weight", .shape = {TOY_QKV, 2}},
    {.name = TOY_EMBED ".weight", .shape = {TOY_V, TOY_C}},
};
static const char plain_config[] =
    "{'peft_type': 'LORA', 'r': 2, 'lora_alpha': 1}";

static ql_status merge(const ql_export_options *o)
{
    return ql_export_merge(toy_in(), adapter_dir, toy_out(), o, &report);
}

/* A tensor of a folder in f32, or NULL. Owned: free. */
static float *tensor_of(const char *dir, const char *name, ql_dtype *dtype)
{
    ql_shards *s = NULL;
    const ql_tensor *t;
    float *x = NULL;

    check_ok(ql_shards_open(&s, dir));
    t = ql_shards_find(s, name);
    if (t) {
        x = malloc(t->elements * sizeof(*x));
        check_ok(ql_tensor_to_f32(x, t));
        *dtype = t->dtype;
    }
    ql_shards_close(&s);
    return x;
}

static json_t *config_of(const char *dir)
{
    char path[PATH_BYTES];
    json_t *root;

    snprintf(path, sizeof(path), "%.4000s/config.json", dir);
    check_ok(ql_json_load(&root, path, 1 << 20));
    return root;
}

/* The model's norms add so little. */
static void set_eps(double eps)
{
    char path[PATH_BYTES];
    json_t *root = config_of(toy_in());

    json_object_set_new(root, "rms_norm_eps", json_real(eps));
    snprintf(path, sizeof(path), "%.4000s/config.json", toy_in());
    check_ok(ql_json_save(root, false, path));
    json_decref(root);
}

static void check_key(const char *key, const char *want)
{
    json_t *root = config_of(toy_out());
    const json_t *v = json_object_get(root, key);

    if (want) {
        assert_string_equal(json_string_value(v), want);
    } else {
        assert_null(v);
    }
    json_decref(root);
}

static void types__are_those_asked_for(void **state)
{
    static const struct {
        ql_export_type type;
        ql_dtype dtype;
        const char *name;
    } cases[] = {
        {QL_EXPORT_TYPE_AUTO, QL_DTYPE_BF16, "bfloat16"},
        {QL_EXPORT_TYPE_F32, QL_DTYPE_F32, "float32"},
        {QL_EXPORT_TYPE_F16, QL_DTYPE_F16, "float16"},
        {QL_EXPORT_TYPE_BF16, QL_DTYPE_BF16, "bfloat16"},
    };
    const toy_folder how = {.dtype = QL_DTYPE_BF16};
    static const char name[] = "model.layers.0.self_attn.q_proj.weight";
    float *exact = NULL;

    (void)state;
    toy_folder_write(toy_in(), &how);
    toy_adapter_write(adapter_dir, plain_config, both, 4);
    for (size_t i = 0; i < 4; i++) {
        ql_export_options o;
        ql_dtype dtype = QL_DTYPE_U8;
        float *x;

        options(&o);
        o.type = cases[i].type;
        check_ok(merge(&o));
        x = tensor_of(toy_out(), "model.norm.weight", &dtype);
        assert_int_equal(dtype, cases[i].dtype);
        free(x);
        x = tensor_of(toy_out(), name, &dtype);
        assert_int_equal(dtype, cases[i].dtype);
        check_key("torch_dtype", cases[i].name);
        for (size_t k = 0; exact && k < TOY_QKV * TOY_C; k++) {
            assert_true(fabsf(x[k] - exact[k]) <= 0x1p-8F * fabsf(exact[k]));
        }
        if (cases[i].dtype == QL_DTYPE_F32) {
            exact = x;
        } else {
            free(x);
        }
        assert_true(report.merged == 2 && report.files == 1);
        assert_int_equal(report.bytes, toy_tensor_bytes(toy_out()));
        assert_true(report.difference.tokens > 0);
    }
    free(exact);
}

static void types__of_gguf_files_are_refused(void **state)
{
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    ql_export_options o;

    (void)state;
    toy_folder_write(toy_in(), &how);
    toy_adapter_write(adapter_dir, plain_config, plain, 2);
    options(&o);
    o.type = QL_EXPORT_TYPE_Q8_0;
    check_fails(merge(&o), QL_EINVAL, "choose --type f32, f16 or bf16");
    o.type = (ql_export_type)99;
    check_fails(merge(&o), QL_EINVAL, "type 99");
}

/* Embeddings so small that F16 makes zeros of them: logits are those of another
 * model, and the folder stays to be looked at. */
static void results__that_rounding_does_not_explain_are_told(void **state)
{
    static float tiny[TOY_V * TOY_C];
    static const toy_tensor whole[] = {
        {.name = TOY_EMBED ".weight", .shape = {TOY_V, TOY_C}, .values = tiny},
        TOY_PAIR,
    };
    const toy_folder how = {.dtype = QL_DTYPE_F32, .untied = true};
    ql_export_options o;

    (void)state;
    check_fill(tiny, TOY_V * TOY_C, 77);
    for (size_t i = 0; i < TOY_V * TOY_C; i++) {
        tiny[i] *= 1e-8F;
    }
    toy_folder_write(toy_in(), &how);
    set_eps(1e-20);
    toy_adapter_write(
        adapter_dir, "{'r': 2, 'modules_to_save': ['embed_tokens']}", whole, 3);
    options(&o);
    o.type = QL_EXPORT_TYPE_F16;
    check_fails(merge(&o), QL_ENUMERIC, "rounding to F16 explains");
    assert_true(report.difference.logit > report.difference.explained);
    assert_true(toy_has(toy_out(), "model.safetensors"));
    o.type = QL_EXPORT_TYPE_F32;
    check_ok(merge(&o));
    assert_true(report.difference.logit <= report.difference.explained);
    o.type = QL_EXPORT_TYPE_F16;
    o.compare = false;
    check_ok(merge(&o));
}

static void weights__beyond_the_type_are_refused(void **state)
{
    const toy_folder how = {.dtype = QL_DTYPE_F32,
                            .bad = "model.layers.1.mlp.up_proj.weight",
                            .bad_value = 70000};
    ql_export_options o;

    (void)state;
    toy_folder_write(toy_in(), &how);
    check_ok(ql_dir_remove(toy_out()));
    toy_adapter_write(adapter_dir, plain_config, plain, 2);
    options(&o);
    o.type = QL_EXPORT_TYPE_F16;
    check_fails(merge(&o), QL_EUNSUPPORTED,
                "up_proj.weight: a weight is beyond the range of F16");
    assert_false(ql_path_exists(toy_out()));
    o.type = QL_EXPORT_TYPE_BF16;
    o.compare = false; /* one such weight is all that counts */
    check_ok(merge(&o));
    toy_check_no_rest();
}

static void shards__hold_the_same_tensors(void **state)
{
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    static const char name[] = "model.layers.0.self_attn.q_proj.weight";
    ql_export_options o;
    ql_dtype dtype;
    float *one;
    float *many;

    (void)state;
    toy_folder_write(toy_in(), &how);
    toy_adapter_write(adapter_dir, plain_config, plain, 2);
    options(&o);
    check_ok(merge(&o));
    one = tensor_of(toy_out(), name, &dtype);
    o.max_shard_bytes = 3000;
    check_ok(merge(&o));
    assert_true(report.files > 3);
    assert_true(toy_has(toy_out(), "model.safetensors.index.json"));
    many = tensor_of(toy_out(), name, &dtype);
    assert_memory_equal(one, many, TOY_QKV * TOY_C * sizeof(float));
    free(one);
    free(many);
}

/* What an adapter does to a tied model, and what the result must have. */
static void heads__that_were_tied_come_apart_where_they_differ(void **state)
{
    static const toy_tensor head[] = {
        {.name = TOY_HEAD ".lora_A.weight", .shape = {2, TOY_C}},
        {.name = TOY_HEAD ".lora_B.weight", .shape = {TOY_V, 2}},
    };
    static const toy_tensor embed[] = {
        {.name = TOY_EMBED ".lora_embedding_A", .shape = {2, TOY_V}},
        {.name = TOY_EMBED ".lora_embedding_B", .shape = {TOY_C, 2}},
    };
    static const struct {
        const toy_tensor *t;
        const char *config;
        bool untied, embed_changes, head_changes;
    } cases[] = {
        {head, "{'r': 2}", true, false, true},
        {embed, "{'r': 2}", true, true, false},
        {embed, "{'r': 2, 'ensure_weight_tying': true}", false, true, true},
        {plain, "{'r': 2}", false, false, false},
    };
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    const size_t bytes = TOY_V * TOY_C * sizeof(float);
    ql_dtype dtype;
    float *before;

    (void)state;
    toy_folder_write(toy_in(), &how);
    before = tensor_of(toy_in(), "model.embed_tokens.weight", &dtype);
    for (size_t i = 0; i < 4; i++) {
        ql_export_options o;
        ql_model *m = NULL;
        float *e;
        float *h;

        options(&o);
        toy_adapter_write(adapter_dir, cases[i].config, cases[i].t, 2);
        check_ok(merge(&o));
        assert_int_equal(report.untied, cases[i].untied);
        assert_true(report.difference.tokens > 0);
        assert_true(report.difference.logit <= 1e-5 * report.difference.range);
        e = tensor_of(toy_out(), "model.embed_tokens.weight", &dtype);
        h = tensor_of(toy_out(), "lm_head.weight", &dtype);
        assert_int_equal(h != NULL, cases[i].untied);
        assert_int_equal(memcmp(e, before, bytes) != 0, cases[i].embed_changes);
        if (h) {
            json_t *root = config_of(toy_out());

            assert_int_equal(memcmp(h, before, bytes) != 0,
                             cases[i].head_changes);
            assert_true(
                json_is_false(json_object_get(root, "tie_word_embeddings")));
            json_decref(root);
        }
        check_ok(ql_model_open(&m, toy_out(), NULL));
        ql_model_close(&m);
        free(e);
        free(h);
    }
    free(before);
}

/* DoRA on an embedding has a magnitude for each dimension, of the norm over
 * all tokens, merged and beside the model alike (source: peft lora/dora.py,
 * DoraEmbeddingLayer). */
static void
magnitudes__of_an_embedding_are_those_of_its_dimensions(void **state)
{
    static float a[2][TOY_V];
    static float b[TOY_C][2];
    static float magnitude[TOY_C];
    const toy_tensor t[] = {
        {.name = TOY_EMBED ".lora_embedding_A",
         .shape = {2, TOY_V},
         .values = *a},
        {.name = TOY_EMBED ".lora_embedding_B",
         .shape = {TOY_C, 2},
         .values = *b},
        {.name = TOY_EMBED ".lora_magnitude_vector",
         .shape = {TOY_C},
         .rank = 1,
         .values = magnitude},
    };
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    ql_export_options o;
    ql_dtype dtype;
    float *before;
    float *after;

    (void)state;
    check_fill(*a, sizeof(a) / sizeof(**a), 1);
    check_fill(*b, sizeof(b) / sizeof(**b), 2);
    check_fill(magnitude, TOY_C, 3);
    toy_folder_write(toy_in(), &how);
    before = tensor_of(toy_in(), "model.embed_tokens.weight", &dtype);
    toy_adapter_write(adapter_dir,
                      "{'r': 2, 'lora_alpha': 3, 'use_dora': true}", t, 3);
    options(&o);
    o.type = QL_EXPORT_TYPE_F32;
    check_ok(merge(&o));
    after = tensor_of(toy_out(), "model.embed_tokens.weight", &dtype);
    for (size_t c = 0; c < TOY_C; c++) {
        double sum[TOY_V];
        double square = 0;

        for (size_t v = 0; v < TOY_V; v++) {
            sum[v] = (double)before[v * TOY_C + c] +
                     1.5 * ((double)a[0][v] * (double)b[c][0] +
                            (double)a[1][v] * (double)b[c][1]);
            square += sum[v] * sum[v];
        }
        for (size_t v = 0; v < TOY_V; v++) {
            const double want = (double)magnitude[c] * sum[v] / sqrt(square);

            assert_true(fabs((double)after[v * TOY_C + c] - want) <=
                        1e-5 * fabs((double)magnitude[c]));
        }
    }
    free(before);
    free(after);
    assert_true(report.difference.tokens > 0);
    assert_true(report.difference.logit <= 1e-5 * report.difference.range);
}

/* A folder in 4 bits, and the dense one with the same settings. */
static void base__is_the_one_of_the_training(void **state)
{
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    ql_quantize_options q;
    ql_export_options o;
    char packed[PATH_BYTES];
    ql_dtype dtype;
    float *of_packed;
    float *x;
    static const char name[] = "model.layers.1.mlp.down_proj.weight";

    (void)state;
    toy_folder_write(toy_in(), &how);
    snprintf(packed, sizeof(packed), "%s", check_tmp_path("packed"));
    ql_quantize_options_init(&q);
    q.quant.double_quant = false;
    q.force = true;
    check_ok(ql_quantize_model(toy_in(), packed, &q, NULL));
    toy_adapter_write(adapter_dir, plain_config, plain, 2);
    options(&o);
    check_ok(ql_export_merge(packed, adapter_dir, toy_out(), &o, &report));
    assert_true(report.dequantized);
    check_key("quantization_config", NULL);
    of_packed = tensor_of(toy_out(), name, &dtype);
    check_fails((o.base = QL_EXPORT_BASE_ORIGINAL,
                 ql_export_merge(packed, adapter_dir, toy_out(), &o, &report)),
                QL_EINVAL, "is in 4 bits");

    o.base = QL_EXPORT_BASE_AUTO;
    check_ok(merge(&o));
    assert_false(report.dequantized);
    toy_json_write(adapter_dir, "run.yaml",
                   "model: x\nquant_type: nf4\ndouble_quant: false\n");
    check_ok(merge(&o));
    assert_true(report.dequantized);
    x = tensor_of(toy_out(), name, &dtype);
    assert_memory_equal(x, of_packed, TOY_C * TOY_F * sizeof(float));
    free(x);
    toy_json_write(adapter_dir, "run.yaml",
                   "method: lora\nquant_type: nf4\ndouble_quant: false\n");
    check_ok(merge(&o));
    assert_false(report.dequantized);
    o.base = QL_EXPORT_BASE_DEQUANTIZED;
    check_ok(merge(&o));
    x = tensor_of(toy_out(), name, &dtype);
    assert_memory_equal(x, of_packed, TOY_C * TOY_F * sizeof(float));
    free(x);
    free(of_packed);
}

static void write_tokenizer(void)
{
    toy_json_write(toy_in(), "tokenizer_config.json",
                   "{'bos_token': '<s>', 'eos_token': '</s>'}");
    toy_json_write(toy_in(), "tokenizer.json",
                   "{'added_tokens': [{'id': 6, 'content': '<x>', 'special': "
                   "true}], 'model': {'type': 'BPE', 'vocab': {'<unk>': 0, "
                   "'<s>': 1, '</s>': 2, 'a': 3}, 'merges': []}}");
}

static void files__go_along(void **state)
{
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    ql_export_options o;
    char *text;

    (void)state;
    toy_folder_write(toy_in(), &how);
    toy_write(toy_in(), "generation_config.json", "{\"eos_token_id\": 2}");
    toy_write(toy_in(), "chat_template.jinja", "model's");
    toy_write(toy_in(), "pytorch_model.bin", "weights");
    toy_write(toy_in(), "modeling_own.py", "code");
    toy_write(toy_in(), "adapter_config.json", "{}");
    toy_adapter_write(adapter_dir, plain_config, plain, 2);
    options(&o);
    check_ok(merge(&o));
    assert_true(toy_has(toy_out(), "generation_config.json"));
    assert_false(toy_has(toy_out(), "pytorch_model.bin"));
    assert_true(toy_has(toy_out(), "modeling_own.py"));
    assert_false(toy_has(toy_out(), "adapter_config.json"));
    text = toy_read(toy_out(), "chat_template.jinja");
    assert_string_equal(text, "model's");
    ql_free(text);
    toy_write(adapter_dir, "chat_template.jinja", "adapter's");
    check_ok(merge(&o));
    text = toy_read(toy_out(), "chat_template.jinja");
    assert_string_equal(text, "adapter's");
    ql_free(text);
}

/* A file of a folder is this JSON, of which ' stands for ". */
static void check_json(const char *name, const char *want)
{
    char *text = toy_read(toy_out(), name);
    json_t *root = json_loads(text, 0, NULL);
    char *wanted = strdup(want);
    json_t *other;

    for (char *p = wanted; *p; p++) {
        *p = *p == '\'' ? '"' : *p;
    }
    other = json_loads(wanted, 0, NULL);
    assert_non_null(other);
    if (!json_equal(root, other)) {
        fail_msg("want %s, have %s", wanted, text);
    }
    json_decref(root);
    json_decref(other);
    ql_free(text);
    free(wanted);
}

/* transformers is told of the token by which the template ends answers. */
static void ends__of_answers_are_those_of_the_template(void **state)
{
    static const char *const cases[][2] = {
        {"{'eos_token_id': 2, 'top_p': 0.5}",
         "{'eos_token_id': [2, 6], 'top_p': 0.5}"},
        {"{'eos_token_id': 6}", "{'eos_token_id': 6}"},
        {"{'eos_token_id': [4]}", "{'eos_token_id': [4, 6]}"},
        {"{}", "{'eos_token_id': [2, 6]}"},
        {NULL, "{'eos_token_id': [2, 6]}"},
    };
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    ql_export_options o;
    char path[PATH_BYTES];

    (void)state;
    toy_folder_write(toy_in(), &how);
    write_tokenizer();
    toy_adapter_write(adapter_dir, plain_config, plain, 2);
    toy_write(adapter_dir, "chat_template.jinja",
              "{% for m in messages %}{{ m.content }}<x>\n{% endfor %}");
    options(&o);
    o.compare = false;
    snprintf(path, sizeof(path), "%.4000s/generation_config.json", toy_in());
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        remove(path);
        if (cases[i][0]) {
            toy_json_write(toy_in(), "generation_config.json", cases[i][0]);
        }
        check_ok(merge(&o));
        check_json("generation_config.json", cases[i][1]);
    }
}

/* A pair of the embedding, or of the head, and beside it what PEFT saves of the
 * base, in F32. */
static void write_repeat(bool head, const float *x)
{
    const toy_tensor pair[2][3] = {
        {{.name = TOY_EMBED ".lora_embedding_A", .shape = {2, TOY_V}},
         {.name = TOY_EMBED ".lora_embedding_B", .shape = {TOY_C, 2}},
         {.name = TOY_EMBED ".base_layer.weight",
          .shape = {TOY_V, TOY_C},
          .values = x}},
        {{.name = TOY_HEAD ".lora_A.weight", .shape = {2, TOY_C}},
         {.name = TOY_HEAD ".lora_B.weight", .shape = {TOY_V, 2}},
         {.name = TOY_HEAD ".base_layer.weight",
          .shape = {TOY_V, TOY_C},
          .values = x}},
    };

    toy_adapter_write(adapter_dir, plain_config, pair[head], 3);
}

/* Merging, loading and, where the model is not tied, a GGUF adapter. */
static void check_repeat(bool tied, bool fits)
{
    static const char say[] = "its embeddings were changed before";
    const char *const gguf = check_tmp_path("adapter.gguf");
    ql_export_options o;
    ql_model *m = NULL;

    options(&o);
    check_ok(ql_model_open(&m, toy_in(), NULL));
    if (fits) {
        check_ok(merge(&o));
        check_ok(ql_model_load_adapter(m, adapter_dir));
        check_ok(tied ? QL_OK
                      : ql_export_gguf_adapter(toy_in(), adapter_dir, gguf, &o,
                                               &report));
    } else {
        check_fails(merge(&o), QL_EMISMATCH, say);
        check_fails(ql_model_load_adapter(m, adapter_dir), QL_EMISMATCH, say);
        if (!tied) {
            check_fails(ql_export_gguf_adapter(toy_in(), adapter_dir, gguf, &o,
                                               &report),
                        QL_EMISMATCH, say);
        }
    }
    ql_model_close(&m);
}

/* Before a training on 4 bits PEFT casts embeddings and head to F32; and a base
 * of F32 may have been loaded in 16 bits. A head that is the embedding is in no
 * file of the model. */
static void base__of_the_adapter_is_known_in_any_type(void **state)
{
    static const ql_dtype types[] = {QL_DTYPE_F32, QL_DTYPE_BF16, QL_DTYPE_F16};

    (void)state;
    for (size_t i = 0; i < 6; i++) {
        const bool tied = i % 2;
        const toy_folder how = {.dtype = types[i / 2], .untied = !tied};
        ql_dtype dtype;
        float *x;
        float was;

        toy_folder_write(toy_in(), &how);
        x = tensor_of(toy_in(), "model.embed_tokens.weight", &dtype);
        write_repeat(tied, x);
        check_repeat(tied, true);
        was = x[7];
        x[7] += x[7] / 64;
        write_repeat(tied, x);
        check_repeat(tied, false);
        x[7] = was;
        for (size_t j = 0; j < TOY_V * TOY_C; j++) {
            x[j] = ql_bf16_to_f32(ql_f32_to_bf16(x[j]));
        }
        write_repeat(tied, x);
        check_repeat(tied, true);
        free(x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types__are_those_asked_for),
        cmocka_unit_test(types__of_gguf_files_are_refused),
        cmocka_unit_test(results__that_rounding_does_not_explain_are_told),
        cmocka_unit_test(weights__beyond_the_type_are_refused),
        cmocka_unit_test(shards__hold_the_same_tensors),
        cmocka_unit_test(heads__that_were_tied_come_apart_where_they_differ),
        cmocka_unit_test(
            magnitudes__of_an_embedding_are_those_of_its_dimensions),
        cmocka_unit_test(base__is_the_one_of_the_training),
        cmocka_unit_test(files__go_along),
        cmocka_unit_test(ends__of_answers_are_those_of_the_template),
        cmocka_unit_test(base__of_the_adapter_is_known_in_any_type),
    };

    snprintf(adapter_dir, sizeof(adapter_dir), "%s", check_tmp_path("adapter"));
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
