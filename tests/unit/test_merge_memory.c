/* ql_export_merge and ql_export_gguf need no more memory than twice the largest
 * tensor, the comparison included: the bytes of a model are several times
 * that. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qlora/export.h"
#include "src/base/file.h"
#include "src/convert/gguf_model.h"
#include "tests/check/check.h"
#include "tests/check/toy_adapter.h"
#include "tests/check/toy_folder.h"

enum {
    PATH_BYTES = 4300,
    NAME_BYTES = 96,
    LAYERS = 6,
    C = 512,
    F = 1536,
    KV = 64,
    V = 64,
    MOST = 16 * LAYERS + 8 /* tensors */
};

/* A folder under construction; all tensors share their values. */
typedef struct maker {
    char names[MOST][NAME_BYTES];
    toy_tensor t[MOST];
    size_t n;
    float *small, *ones;
} maker;

static char adapter[PATH_BYTES];
static char file[PATH_BYTES];

static void add(maker *m, const char *name, size_t rows, size_t cols)
{
    assert_true(m->n < MOST);
    snprintf(m->names[m->n], NAME_BYTES, "%s", name);
    m->t[m->n] = (toy_tensor){.name = m->names[m->n],
                              .shape = {rows, cols},
                              .rank = cols > 0 ? 2 : 1,
                              .values = cols > 0               ? m->small
                                        : strstr(name, "bias") ? m->ones + 3 * C
                                                               : m->ones};
    m->n++;
}

static void add_in(maker *m, const char *blocks, size_t layer, const char *rest,
                   size_t rows, size_t cols)
{
    char name[NAME_BYTES];

    snprintf(name, sizeof(name), "%s.%zu.%s", blocks, layer, rest);
    add(m, name, rows, cols);
}

static void fill(maker *m)
{
    const size_t n = (size_t)3 * C * C;

    m->small = malloc(n * sizeof(float));
    m->ones = calloc((size_t)6 * C, sizeof(float));
    check_fill(m->small, n, 1);
    for (size_t i = 0; i < n; i++) {
        m->small[i] *= 0.05F;
    }
    for (size_t i = 0; i < (size_t)3 * C; i++) {
        m->ones[i] = 1;
    }
}

static void write_folder(maker *m, const char *config)
{
    char path[PATH_BYTES];

    check_ok(ql_dir_remove(toy_in()));
    check_ok(ql_dir_make(toy_in()));
    toy_json_write(toy_in(), "config.json", config);
    snprintf(path, sizeof(path), "%.4000s/model.safetensors", toy_in());
    toy_tensors_write(path, m->t, m->n);
    free(m->small);
    free(m->ones);
}

static void write_llama(void)
{
    static maker m;

    m.n = 0;
    fill(&m);
    add(&m, "model.embed_tokens.weight", V, C);
    add(&m, "model.norm.weight", C, 0);
    for (size_t i = 0; i < LAYERS; i++) {
        add_in(&m, "model.layers", i, "input_layernorm.weight", C, 0);
        add_in(&m, "model.layers", i, "post_attention_layernorm.weight", C, 0);
        add_in(&m, "model.layers", i, "self_attn.q_proj.weight", C, C);
        add_in(&m, "model.layers", i, "self_attn.k_proj.weight", KV, C);
        add_in(&m, "model.layers", i, "self_attn.v_proj.weight", KV, C);
        add_in(&m, "model.layers", i, "self_attn.o_proj.weight", C, C);
        add_in(&m, "model.layers", i, "mlp.gate_proj.weight", F, C);
        add_in(&m, "model.layers", i, "mlp.up_proj.weight", F, C);
        add_in(&m, "model.layers", i, "mlp.down_proj.weight", C, F);
    }
    write_folder(
        &m, "{'model_type': 'llama', 'hidden_size': 512, "
            "'intermediate_size': 1536, 'num_hidden_layers': 6, "
            "'num_attention_heads': 8, 'num_key_value_heads': 1, 'vocab_size': "
            "64, 'max_position_embeddings': 64, 'rms_norm_eps': 1e-5, "
            "'hidden_act': 'silu', 'tie_word_embeddings': true}");
}

static void write_gpt2(void)
{
    static maker m;

    m.n = 0;
    fill(&m);
    add(&m, "transformer.wte.weight", V, C);
    add(&m, "transformer.wpe.weight", V, C);
    add(&m, "transformer.ln_f.weight", C, 0);
    add(&m, "transformer.ln_f.bias", C, 0);
    for (size_t i = 0; i < LAYERS; i++) {
        add_in(&m, "transformer.h", i, "ln_1.weight", C, 0);
        add_in(&m, "transformer.h", i, "ln_1.bias", C, 0);
        add_in(&m, "transformer.h", i, "ln_2.weight", C, 0);
        add_in(&m, "transformer.h", i, "ln_2.bias", C, 0);
        add_in(&m, "transformer.h", i, "attn.c_attn.weight", C, 3 * C);
        add_in(&m, "transformer.h", i, "attn.c_attn.bias", 3 * C, 0);
        add_in(&m, "transformer.h", i, "attn.c_proj.weight", C, C);
        add_in(&m, "transformer.h", i, "attn.c_proj.bias", C, 0);
        add_in(&m, "transformer.h", i, "mlp.c_fc.weight", C, F);
        add_in(&m, "transformer.h", i, "mlp.c_fc.bias", F, 0);
        add_in(&m, "transformer.h", i, "mlp.c_proj.weight", F, C);
        add_in(&m, "transformer.h", i, "mlp.c_proj.bias", C, 0);
    }
    write_folder(&m, "{'model_type': 'gpt2', 'n_embd': 512, 'n_inner': 1536, "
                     "'n_head': 8, 'n_layer': 6, 'n_positions': 64, "
                     "'vocab_size': 64, 'layer_norm_epsilon': 1e-5, "
                     "'activation_function': 'gelu_new'}");
}

/* A pair for a module of each layer, whose weight is [out, in] for PEFT. */
static void write_adapter(const char *blocks, const char *path,
                          const char *config, size_t out, size_t in)
{
    char names[2 * LAYERS][NAME_BYTES + 48];
    toy_tensor t[2 * LAYERS];
    char name[PATH_BYTES];

    for (size_t i = 0; i < LAYERS; i++) {
        char module[NAME_BYTES];

        snprintf(module, sizeof(module), "%s.%zu.%s", blocks, i, path);
        snprintf(names[2 * i], sizeof(names[0]),
                 "base_model.model.%s.lora_A.weight", module);
        snprintf(names[2 * i + 1], sizeof(names[0]),
                 "base_model.model.%s.lora_B.weight", module);
        t[2 * i] = (toy_tensor){.name = names[2 * i], .shape = {2, in}};
        t[2 * i + 1] =
            (toy_tensor){.name = names[2 * i + 1], .shape = {out, 2}};
    }
    check_ok(ql_dir_remove(adapter));
    check_ok(ql_dir_make(adapter));
    snprintf(name, sizeof(name), "%.4000s/adapter_model.safetensors", adapter);
    toy_tensors_write(name, t, (size_t)2 * LAYERS);
    toy_json_write(adapter, "adapter_config.json", config);
}

/* The most that was ever held, over all purposes. */
static size_t peak(void)
{
    size_t sum = 0;

    for (int tag = 0; tag < QL_TAG_COUNT; tag++) {
        sum += ql_alloc_peak((ql_tag)tag);
    }
    return sum;
}

static void check_peak(size_t largest)
{
    if (peak() > 2 * largest) {
        fail_msg("%zu bytes, more than twice %zu", peak(), largest);
    }
}

/* From both bases, in each type. Compared where it is in f32: rounding is
 * another test's subject. */
static void check_merges(size_t largest)
{
    static const ql_export_type types[] = {QL_EXPORT_TYPE_F32,
                                           QL_EXPORT_TYPE_BF16};

    for (int i = 0; i < 4; i++) {
        ql_export_report report;
        ql_export_options o;

        ql_export_options_init(&o);
        o.force = true;
        o.base = i / 2 ? QL_EXPORT_BASE_DEQUANTIZED : QL_EXPORT_BASE_ORIGINAL;
        o.type = types[i % 2];
        o.compare = i % 2 == 0;
        check_ok(ql_export_merge(toy_in(), adapter, toy_out(), &o, &report));
        assert_int_equal(report.merged, LAYERS);
        assert_int_equal(report.dequantized, i / 2);
        assert_int_equal(report.difference.tokens > 0, o.compare);
        check_peak(largest);
    }
}

static void check_gguf(size_t largest)
{
    const ql_gguf_model_job what = {
        .model = toy_in(), .adapter = adapter, .out = file};
    ql_export_report report;
    ql_export_options o;

    ql_export_options_init(&o);
    o.force = true;
    o.base = QL_EXPORT_BASE_DEQUANTIZED;
    o.type = QL_EXPORT_TYPE_F32;
    check_ok(ql_gguf_model_write(&what, &o, &report));
    assert_int_equal(report.merged, LAYERS);
    check_peak(largest);
}

static void memory__of_a_llama_is_that_of_two_tensors(void **state)
{
    (void)state;
    write_llama();
    write_adapter("model.layers", "mlp.up_proj", "{'r': 2, 'lora_alpha': 0.05}",
                  F, C);
    check_merges((size_t)F * C * sizeof(float));
    check_gguf((size_t)F * C * sizeof(float));
}

static void memory__of_gpt2_is_that_of_two_tensors(void **state)
{
    (void)state;
    write_gpt2();
    write_adapter("transformer.h", "attn.c_attn",
                  "{'r': 2, 'lora_alpha': 0.05, 'fan_in_fan_out': true}",
                  (size_t)3 * C, C);
    check_merges((size_t)3 * C * C * sizeof(float));
    check_gguf((size_t)3 * C * C * sizeof(float));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory__of_a_llama_is_that_of_two_tensors),
        cmocka_unit_test(memory__of_gpt2_is_that_of_two_tensors),
    };

    snprintf(adapter, sizeof(adapter), "%s", check_tmp_path("adapter"));
    snprintf(file, sizeof(file), "%s", check_tmp_path("x.gguf"));
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
