/* Folders as the hub has them: config.json in old and new spellings, tensors
 * under other names, buffers that are no weights, heads that are stored though
 * they are the embedding, 4-bit weights of which some are dense, or lie in
 * tensors of another type. Each is a golden folder told otherwise, and must
 * match what the reference made of that to the same tolerances. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qlora/quantize.h"
#include "src/base/file.h"
#include "src/convert/adapter_make.h"
#include "src/model/run.h"
#include "tests/check/check.h"
#include "tests/golden/matches.h"
#include "tests/golden/reference.h"
#include "tests/golden/rewrite.h"

static void check_told(const char *where, const char *name, const rewrite *how)
{
    char from[4200];
    char dir[4200];

    snprintf(from, sizeof(from), "%s/%s", check_shared(where), name);
    snprintf(dir, sizeof(dir), "%s", check_tmp_path("told"));
    print_message("%s\n", how->config ? how->config : how->to ? how->to : "");
    rewrite_folder(from, dir, how);
    matches_reference(dir);
}

/* What transformers 5 writes, and what older files have. */
static const struct {
    const char *name, *config;
} spellings[] = {
    {"llama2", "{'rope_theta': '-', 'rope_scaling': '-', 'torch_dtype': '-', "
               "'dtype': 'float32', 'rope_parameters': {'rope_type': "
               "'default', 'rope_theta': 10000.0}}"},
    /* what a key means that is absent */
    {"llama2", "{'rope_theta': '-', 'rope_scaling': '-', 'torch_dtype': '-', "
               "'head_dim': null, 'attention_bias': '-', 'mlp_bias': '-', "
               "'tie_word_embeddings': '-', 'num_key_value_heads': '-', "
               "'max_position_embeddings': '-', 'hidden_act': '-'}"},
    {"llama3_gqa_tied_rope31",
     "{'rope_theta': '-', 'rope_scaling': '-', 'torch_dtype': '-', 'dtype': "
     "'float32', 'rope_parameters': {'rope_type': 'llama3', 'rope_theta': "
     "500000.0, 'factor': 8.0, 'high_freq_factor': 4.0, 'low_freq_factor': "
     "1.0, 'original_max_position_embeddings': 16}}"},
    {"llama3_gqa_tied_rope31",
     "{'rope_theta': '-', 'rope_scaling': {}, 'rope_parameters': {'rope_type': "
     "'llama3', 'rope_theta': 500000.0, 'factor': 8.0, 'high_freq_factor': "
     "4.0, "
     "'low_freq_factor': 1.0, 'original_max_position_embeddings': 16}}"},
    {"llama_linear_rope_bias_headdim",
     "{'rope_scaling': {'type': 'linear', 'factor': 2.0}}"},
    {"llama_linear_rope_bias_headdim",
     "{'rope_theta': '-', 'rope_scaling': null, 'rope_parameters': "
     "{'rope_type': 'linear', 'factor': 2, 'rope_theta': 10000}}"},
    {"llama_yarn", "{'rope_scaling': {'type': 'yarn', 'factor': 4.0, "
                   "'original_max_position_embeddings': 16}}"},
    {"llama_yarn",
     "{'rope_theta': '-', 'rope_scaling': '-', 'rope_parameters': "
     "{'rope_type': 'yarn', 'factor': 4.0, 'rope_theta': 10000.0, "
     "'original_max_position_embeddings': 16}}"},
    {"mistral_swa4", "{'layer_types': ['sliding_attention', "
                     "'sliding_attention'], 'rope_theta': '-', "
                     "'rope_parameters': {'rope_type': 'default', "
                     "'rope_theta': 10000.0}}"},
    {"qwen2", "{'layer_types': '-', 'sliding_window': 4, 'use_sliding_window': "
              "false, 'max_window_layers': 0}"},
    {"qwen2", "{'layer_types': '-', 'sliding_window': 4, 'use_sliding_window': "
              "true, 'max_window_layers': 2, 'rope_theta': '-', "
              "'rope_parameters': {'rope_theta': 1000000.0}}"},
    {"qwen3", "{'layer_types': '-', 'rope_theta': '-', 'rope_scaling': '-', "
              "'rope_parameters': {'rope_type': 'default', 'rope_theta': "
              "1000000.0}}"},
    {"gemma1", "{'hidden_act': 'gelu', 'hidden_activation': null, "
               "'rope_theta': '-', 'tie_word_embeddings': '-'}"},
    {"gemma2", "{'layer_types': '-', 'rope_theta': '-', 'rope_parameters': "
               "{'rope_type': 'default', 'rope_theta': 10000.0}}"},
    {"gemma3_text", "{'layer_types': '-', 'sliding_window_pattern': 3}"},
    {"gemma3_text", "{'layer_types': '-', '_sliding_window_pattern': 3}"},
    {"gemma3_text",
     "{'rope_theta': '-', 'rope_local_base_freq': '-', 'rope_scaling': '-', "
     "'torch_dtype': '-', 'dtype': 'float32', 'rope_parameters': "
     "{'full_attention': {'rope_type': 'linear', 'factor': 8.0, 'rope_theta': "
     "1000000.0}, 'sliding_attention': {'rope_type': 'default', 'rope_theta': "
     "10000.0}}}"},
    {"gemma3_text", "{'rope_theta': '-', 'rope_local_base_freq': '-'}"},
    {"phi3", "{'layer_types': ['sliding_attention', 'sliding_attention'], "
             "'partial_rotary_factor': '-', "
             "'original_max_position_embeddings': '-'}"},
    {"phi3_longrope_long",
     "{'rope_scaling': {'type': 'su', 'long_factor': [1.0, 1.5, 2.0, 3.0, 5.0, "
     "8.0, 12.0, 20.0], 'short_factor': [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, "
     "1.7]}}"},
    {"phi3_longrope_long",
     "{'rope_scaling': {'type': 'yarn', 'long_factor': [1.0, 1.5, 2.0, 3.0, "
     "5.0, 8.0, 12.0, 20.0], 'short_factor': [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, "
     "1.6, 1.7]}}"},
    {"phi3_longrope_short",
     "{'rope_theta': '-', 'rope_scaling': '-', 'partial_rotary_factor': '-', "
     "'rope_parameters': {'rope_type': 'longrope', 'rope_theta': 10000.0, "
     "'partial_rotary_factor': 1.0, 'long_factor': [1.0, 1.5, 2.0, 3.0, 5.0, "
     "8.0, 12.0, 20.0], 'short_factor': [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, "
     "1.7], 'original_max_position_embeddings': 32}}"},
    {"phi4mini_partial_rotary",
     "{'rope_theta': '-', 'rope_scaling': '-', 'partial_rotary_factor': '-', "
     "'rope_parameters': {'rope_type': 'default', 'rope_theta': 10000.0, "
     "'partial_rotary_factor': 0.75}}"},
    {"smollm3_nope", "{'layer_types': '-', 'no_rope_layers': '-', "
                     "'no_rope_layer_interval': 2, 'rope_theta': '-', "
                     "'tie_word_embeddings': '-'}"},
    {"smollm3_nope", "{'rope_theta': '-', 'rope_scaling': '-', "
                     "'rope_parameters': {'rope_type': 'default', "
                     "'rope_theta': 2000000.0}}"},
    {"olmo2", "{'rope_theta': '-', 'rope_scaling': '-', 'rope_parameters': "
              "{'rope_type': 'default', 'rope_theta': 500000.0}}"},
    {"gpt2", "{'tie_word_embeddings': '-', 'activation_function': '-', "
             "'layer_norm_epsilon': '-', 'n_inner': 256, 'torch_dtype': '-'}"},
    {"gpt_neox", "{'rotary_pct': '-', 'rotary_emb_base': '-', 'rope_theta': "
                 "'-', 'partial_rotary_factor': '-', 'rope_scaling': '-', "
                 "'rope_parameters': {'rope_type': 'default', 'rope_theta': "
                 "10000, 'partial_rotary_factor': 0.25}}"},
    {"gpt_neox", "{'rope_theta': '-', 'partial_rotary_factor': '-'}"},
    {"gpt_neox", "{'rotary_emb_base': '-', 'rotary_pct': '-'}"},
    {"bert_cls", "{'position_embedding_type': '-', 'hidden_act': '-', "
                 "'layer_norm_eps': '-', 'type_vocab_size': '-'}"},
    /* null is as good as absent, but where it says that there is none */
    {"gemma1", "{'hidden_act': null, 'hidden_activation': null}"},
    {"gemma2", "{'hidden_activation': null}"},
    {"gemma3_text", "{'hidden_activation': null, 'rope_theta': null}"},
    {"gpt2", "{'activation_function': null, 'layer_norm_epsilon': null, "
             "'n_inner': null}"},
    {"gpt_neox", "{'hidden_act': null, 'layer_norm_eps': null, 'rotary_pct': "
                 "null}"},
    {"olmo2", "{'hidden_act': null, 'rms_norm_eps': null}"},
    {"bert_cls", "{'hidden_act': null, 'layer_norm_eps': null}"},
    {"qwen2", "{'head_dim': null, 'sliding_window': null}"},
};

static void spellings__old_and_new_mean_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
        check_told("golden/models", spellings[i].name,
                   &(rewrite){.config = spellings[i].config});
    }
}

/* Files of a model without its head lack what names begin with; buffers of old
 * checkpoints are no weights; a head that is the embedding may be stored. */
static const struct {
    const char *name;
    rewrite how;
} names[] = {
    {"llama3_gqa_tied_rope31", {.from = "model.", .to = ""}},
    {"llama2", {.from = "model.", .to = ""}},
    {"llama2",
     {.more = "model.layers.0.self_attn.rotary_emb.inv_freq "
              "model.layers.1.self_attn.rotary_emb.inv_freq "
              "model.rotary_emb.inv_freq"}},
    {"llama3_gqa_tied_rope31",
     {.copy = "model.embed_tokens.weight", .as = "lm_head.weight"}},
    {"gemma2", {.copy = "model.embed_tokens.weight", .as = "lm_head.weight"}},
    {"llama3_gqa_tied_rope31",
     {.from = "model.embed_tokens.weight", .to = "lm_head.weight"}},
    {"gpt2", {.from = "transformer.wte.weight", .to = "lm_head.weight"}},
    {"gemma3_text", {.from = "model.", .to = ""}},
    {"qwen3", {.from = "model.", .to = ""}},
    {"olmo2", {.from = "model.", .to = ""}},
    {"phi3", {.from = "model.", .to = ""}},
    {"gpt2",
     {.from = "transformer.",
      .to = "",
      .more = "h.0.attn.bias h.0.attn.masked_bias h.1.attn.bias "
              "h.1.attn.masked_bias",
      .copy = "transformer.wte.weight",
      .as = "lm_head.weight"}},
    {"gpt2", {.more = "transformer.h.0.attn.bias transformer.h.1.attn.bias"}},
    {"gpt_neox",
     {.more = "gpt_neox.layers.0.attention.bias "
              "gpt_neox.layers.0.attention.masked_bias "
              "gpt_neox.layers.0.attention.rotary_emb.inv_freq "
              "gpt_neox.layers.1.attention.bias"}},
    {"gpt_neox", {.from = "gpt_neox.", .to = ""}},
    {"bert_cls",
     {.from = "bert.",
      .to = "",
      .more = "embeddings.position_ids cls.predictions.bias "
              "cls.seq_relationship.bias"}},
    {"bert_cls", {.more = "bert.embeddings.position_ids"}},
    /* what torch.compile and training on several devices put before them */
    {"llama2", {.from = "", .to = "_orig_mod."}},
    {"qwen3", {.from = "", .to = "module."}},
    {"gemma3_text", {.from = "", .to = "_orig_mod.module."}},
    {"phi3", {.from = "model.layers.1.", .to = "model.layers.1._orig_mod."}},
    {"bert_cls", {.from = "", .to = "module._orig_mod."}},
};

static void names__of_the_hub_are_known(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        check_told("golden/models", names[i].name, &names[i].how);
    }
}

static const char *const quantized[] = {
    "llama2_nf4_nodq_f32", "llama3_nf4_dq_f32", "qwen2_nf4_dq_bf16"};

/* bnb_4bit_quant_storage: the same bytes, in tensors of another type. */
static void packed_weights__lie_in_any_type(void **state)
{
    static const ql_dtype types[] = {QL_DTYPE_BF16, QL_DTYPE_F16, QL_DTYPE_F32,
                                     QL_DTYPE_I8};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
            check_told("golden/qlora", quantized[i],
                       &(rewrite){.packed_as = true, .storage = types[t]});
        }
    }
}

/* llm_int8_skip_modules: what is named there stayed as it was. */
static void quantized_folders__may_be_so_in_part(void **state)
{
    static const char *const dense[] = {"down_proj", "layers.1.", "self_attn",
                                        "o_proj"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        for (size_t d = 0; d < sizeof(dense) / sizeof(dense[0]); d++) {
            check_told("golden/qlora", quantized[i],
                       &(rewrite){.dense = dense[d],
                                  .packed_as = d == 1,
                                  .storage = QL_DTYPE_BF16});
        }
    }
}

/* What a step from a fixed beginning gives. */
typedef struct outcome {
    double loss;
    float *grad;
    size_t n;
} outcome;

static outcome step_of(const char *dir, const char *golden)
{
    ql_train_options o;
    ql_model_options how;
    ql_safetensors *f = NULL;
    reference_rows rows;
    ql_model *m = NULL;
    ql_loss sum = {0};
    ql_run_train train = {.scale = 1};
    ql_adapter a;
    ql_run *run;
    outcome out;

    ql_model_options_init(&how);
    how.quantize = false;
    ql_train_options_init(&o);
    check_ok(ql_model_open(&m, dir, &how));
    check_ok(
        ql_safetensors_open(&f, reference_path(golden, "golden.safetensors")));
    reference_rows_load(&rows, f);
    check_ok(ql_adapter_make(&a, &m->config, &m->weights, &o, 7, true));
    for (size_t i = 0; i < a.n_tensors; i++) {
        check_fill(a.param + a.tensors[i].at, a.sizes[i], i);
        for (size_t k = 0; k < a.sizes[i]; k++) {
            a.param[a.tensors[i].at + k] *= 0.05F;
        }
    }
    ql_model_use_adapter(m, &a);
    run = reference_run(m, &rows.batch, 0);
    ql_run_loss(run, &rows.batch, &train, &sum);
    out = (outcome){sum.sum, malloc(a.count * sizeof(float)), a.count};
    memcpy(out.grad, a.grad, a.count * sizeof(float));
    ql_run_close(&run);
    ql_model_use_adapter(m, NULL);
    ql_adapter_free(&a);
    reference_rows_free(&rows);
    ql_safetensors_close(&f);
    ql_model_close(&m);
    return out;
}

static void check_outcomes(const outcome *got, const outcome *want,
                           double tolerance, const char *what)
{
    double *w = malloc(want->n * sizeof(*w));
    double off;

    assert_int_equal(got->n, want->n);
    for (size_t i = 0; i < want->n; i++) {
        w[i] = (double)want->grad[i];
    }
    off = check_distance(got->grad, w, want->n);
    print_message("%s: loss %.9g, not by %.2g; gradients off by %.2g\n", what,
                  got->loss, got->loss - want->loss, off);
    if (!(off <= 3 * tolerance) ||
        !(got->loss - want->loss <= tolerance * want->loss &&
          want->loss - got->loss <= tolerance * want->loss)) {
        fail_msg("%s: loss %.9g, not %.9g; gradients off by %.3g", what,
                 got->loss, want->loss, off);
    }
    free(w);
}

/* A golden model in 4 bits of this form computes what its weights, decoded by
 * the definition, give as F32; and the same to the bit from packed weights in
 * tensors of another type. */
static void check_form(ql_quant_type type, size_t block, bool nested)
{
    static const char golden[] = "golden/models/llama3_gqa_tied_rope31";
    char form[3][4200];
    char what[100];
    ql_quantize_options opt;
    outcome out[3];

    for (int i = 0; i < 3; i++) {
        snprintf(form[i], sizeof(form[0]), "%s",
                 check_tmp_path(i == 0   ? "form"
                                : i == 1 ? "dense"
                                         : "stored"));
    }
    ql_quantize_options_init(&opt);
    opt.quant = (ql_quant_options){
        .type = type, .block_size = block, .double_quant = nested};
    opt.force = true;
    check_ok(ql_quantize_model(check_shared(golden), form[0], &opt, NULL));
    rewrite_folder(form[0], form[1], &(rewrite){.dense = "layers."});
    rewrite_folder(form[0], form[2],
                   &(rewrite){.packed_as = true, .storage = QL_DTYPE_F16});
    for (int i = 0; i < 3; i++) {
        out[i] = step_of(form[i], check_shared(golden));
    }
    snprintf(what, sizeof(what), "%s in blocks of %zu%s",
             type == QL_QUANT_NF4 ? "NF4" : "FP4", block,
             nested ? ", nested" : "");
    check_outcomes(&out[0], &out[1], 2e-6, what);
    check_outcomes(&out[2], &out[0], 0, "the same in F16 tensors");
    for (int i = 0; i < 3; i++) {
        free(out[i].grad);
    }
}

static void blocks__have_any_size(void **state)
{
    (void)state;
    for (size_t block = 32; block <= 4096; block *= 2) {
        check_form(QL_QUANT_NF4, block, false);
        check_form(QL_QUANT_NF4, block, true);
        check_form(QL_QUANT_FP4, block, block % 256 == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spellings__old_and_new_mean_the_same),
        cmocka_unit_test(names__of_the_hub_are_known),
        cmocka_unit_test(packed_weights__lie_in_any_type),
        cmocka_unit_test(quantized_folders__may_be_so_in_part),
        cmocka_unit_test(blocks__have_any_size),
    };

    check_need_shared();
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
