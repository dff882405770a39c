/* ql_export_merge and ql_export_gguf need no more memory than twice the largest
 * tensor, the comparison included: the bytes of a model are several times
 * that. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qlora/export.h"
#include "qlora/quantize.h"
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
static char packed[PATH_BYTES];
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

static void write_llama(size_t vocab)
{
    static maker m;
    char config[400];

    m.n = 0;
    fill(&m);
    add(&m, "model.embed_tokens.weight", vocab, C);
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
    snprintf(
        config, sizeof(config),
        "{'model_type': 'llama', 'hidden_size': 512, "
        "'intermediate_size': 1536, 'num_hidden_layers': 6, "
        "'num_attention_heads': 8, 'num_key_value_heads': 1, 'vocab_size': "
        "%zu, 'max_position_embeddings': 64, 'rms_norm_eps': 1e-5, "
        "'hidden_act': 'silu', 'tie_word_embeddings': true}",
        vocab);
    write_folder(&m, config);
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

/* A pair for a module of each layer, whose weight is [out, in] for PEFT; with
 * magnitudes, if the config says DoRA. */
static void write_adapter(const char *blocks, const char *path,
                          const char *config, size_t out, size_t in)
{
    static const char *const parts[] = {"lora_A.weight", "lora_B.weight",
                                        "lora_magnitude_vector"};
    const size_t shapes[][2] = {{2, in}, {out, 2}, {out}};
    const size_t n = strstr(config, "'use_dora': true") ? 3 : 2;
    char names[3 * LAYERS][NAME_BYTES + 48];
    toy_tensor t[3 * LAYERS];

    for (size_t i = 0; i < n * LAYERS; i++) {
        const size_t part = i % n;

        snprintf(names[i], sizeof(names[0]), "base_model.model.%s.%zu.%s.%s",
                 blocks, i / n, path, parts[part]);
        t[i] = (toy_tensor){.name = names[i],
                            .shape = {shapes[part][0], shapes[part][1]},
                            .rank = part == 2 ? 1 : 2};
    }
    toy_adapter_write(adapter, config, t, n * LAYERS);
}

static void check_peak(size_t largest)
{
    const size_t peak = ql_alloc_peak(QL_TAG_COUNT);

    if (peak > 2 * largest) {
        fail_msg("%zu bytes, more than twice %zu", peak, largest);
    }
}

/* So many tensors change. From both bases, in each type. Compared where it is
 * in f32: rounding is another test's subject. */
static void check_merges(size_t merged, size_t largest)
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
        assert_int_equal(report.merged, merged);
        assert_int_equal(report.dequantized, i / 2);
        assert_int_equal(report.difference.tokens > 0, o.compare);
        check_peak(largest);
    }
}

static void check_gguf(size_t merged, size_t largest)
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
    assert_int_equal(report.merged, merged);
    check_peak(largest);
}

static void memory__of_a_llama_is_that_of_two_tensors(void **state)
{
    static const char *const configs[] = {
        "{'r': 2, 'lora_alpha': 0.05}",
        "{'r': 2, 'lora_alpha': 0.05, 'use_dora': true}"};
    const size_t largest = (size_t)F * C * sizeof(float);

    (void)state;
    write_llama(V);
    for (size_t i = 0; i < 2; i++) {
        write_adapter("model.layers", "mlp.up_proj", configs[i], F, C);
        check_merges(LAYERS, largest);
        check_gguf(LAYERS, largest);
    }
}

static void memory__of_gpt2_is_that_of_two_tensors(void **state)
{
    static const char *const configs[] = {
        "{'r': 2, 'lora_alpha': 0.05, 'fan_in_fan_out': true}",
        "{'r': 2, 'lora_alpha': 0.05, 'fan_in_fan_out': true, 'use_dora': "
        "true}"};
    const size_t largest = (size_t)3 * C * C * sizeof(float);

    (void)state;
    write_gpt2();
    for (size_t i = 0; i < 2; i++) {
        write_adapter("transformer.h", "attn.c_attn", configs[i], (size_t)3 * C,
                      C);
        check_merges(LAYERS, largest);
        check_gguf(LAYERS, largest);
    }
}

/* The embedding, which is the largest tensor, by a pair, or trained whole; the
 * head becomes a matrix of its own. */
static void memory__of_an_embedding_is_that_of_two_tensors(void **state)
{
    const toy_tensor pair[] = {
        {.name = "base_model.model.model.embed_tokens.lora_embedding_A",
         .shape = {2, F}},
        {.name = "base_model.model.model.embed_tokens.lora_embedding_B",
         .shape = {C, 2}}};
    const toy_tensor whole[] = {
        {.name = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight",
         .shape = {2, C}},
        {.name = "base_model.model.model.layers.0.mlp.up_proj.lora_B.weight",
         .shape = {F, 2}},
        {.name = "base_model.model.model.embed_tokens.weight",
         .shape = {F, C}}};
    const size_t largest = (size_t)F * C * sizeof(float);

    (void)state;
    write_llama(F);
    toy_adapter_write(adapter,
                      "{'r': 2, 'lora_alpha': 0.05, 'target_modules': "
                      "['embed_tokens']}",
                      pair, 2);
    check_merges(1, largest);
    check_gguf(1, largest);
    toy_adapter_write(adapter,
                      "{'r': 2, 'lora_alpha': 0.05, 'modules_to_save': "
                      "['embed_tokens']}",
                      whole, 3);
    check_merges(2, largest);
    check_gguf(2, largest);
}

/* A base in 4 bits, whose tensors are a seventh of what they become. */
static void memory__of_a_packed_base_is_that_of_two_tensors(void **state)
{
    const size_t largest = (size_t)F * C * sizeof(float);
    ql_quantize_options q;
    ql_export_report report;
    ql_export_options o;

    (void)state;
    write_llama(V);
    write_adapter("model.layers", "mlp.up_proj", "{'r': 2, 'lora_alpha': 0.05}",
                  F, C);
    ql_quantize_options_init(&q);
    q.force = true;
    check_ok(ql_quantize_model(toy_in(), packed, &q, NULL));
    ql_export_options_init(&o);
    o.force = true;
    o.type = QL_EXPORT_TYPE_F32;
    check_ok(ql_export_merge(packed, adapter, toy_out(), &o, &report));
    assert_int_equal(report.merged, LAYERS);
    assert_true(report.dequantized);
    check_peak(largest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory__of_a_llama_is_that_of_two_tensors),
        cmocka_unit_test(memory__of_gpt2_is_that_of_two_tensors),
        cmocka_unit_test(memory__of_an_embedding_is_that_of_two_tensors),
        cmocka_unit_test(memory__of_a_packed_base_is_that_of_two_tensors),
    };

    snprintf(adapter, sizeof(adapter), "%s", check_tmp_path("adapter"));
    snprintf(packed, sizeof(packed), "%s", check_tmp_path("packed"));
    snprintf(file, sizeof(file), "%s", check_tmp_path("x.gguf"));
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
