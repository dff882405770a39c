/* What a folder may have that makes another model of it than those we run: each
 * is refused by its name before anything is computed, and what is harmless is
 * not. */
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/note.h"
#include "src/model/adapter.h"
#include "src/model/config.h"
#include "src/model/model_handle.h"
#include "tests/check/check.h"
#include "tests/check/toy_adapter.h"
#include "tests/check/toy_folder.h"
#include "tests/golden/rewrite.h"

enum {
    TEXT_BYTES = 2048
};

/* The config of a small model of a family, with heads of that width, which says
 * more. */
static ql_status read_heads(ql_config *c, const char *type, int D,
                            const char *more)
{
    char text[TEXT_BYTES];

    snprintf(text, sizeof(text),
             "{'model_type': '%s', 'num_hidden_layers': 2, 'n_layer': 2, "
             "'hidden_size': 64, 'n_embd': 64, 'intermediate_size': 96, "
             "'num_attention_heads': 4, 'n_head': 4, 'head_dim': %d, "
             "'vocab_size': 100%s%s}",
             type, D, *more ? ", " : "", more);
    check_ok(ql_dir_make(check_tmp_path("config")));
    toy_json_write(check_tmp_path("config"), "config.json", text);
    return ql_config_init(c, check_tmp_path("config"));
}

static ql_status read_config(ql_config *c, const char *type, const char *more)
{
    return read_heads(c, type, 16, more);
}

typedef struct row {
    const char *type, *more, *said;
} row;

static const row refused[] = {
    /* experts, by key and by family */
    {"llama", "'num_local_experts': 8", "a mixture of experts is not"},
    {"qwen3", "'num_experts': 128", "a mixture of experts is not"},
    {"mistral", "'n_routed_experts': 64", "a mixture of experts is not"},
    {"mixtral", "", "it is a mixture of experts"},
    {"qwen2_moe", "", "it is a mixture of experts"},
    {"qwen3_moe", "", "it is a mixture of experts"},
    {"gpt_oss", "", "it is a mixture of experts"},
    {"deepseek_v3", "", "it is a mixture of experts"},
    {"olmoe", "", "it is a mixture of experts"},
    {"phimoe", "", "it is a mixture of experts"},
    {"llama4", "", "it is a mixture of experts"},
    /* pictures and sound */
    {"gemma3", "", "it is a model with a vision tower"},
    {"qwen2_vl", "", "it is a model with a vision tower"},
    {"qwen2_5_vl", "", "it is a model with a vision tower"},
    {"mllama", "", "it is a model with a vision tower"},
    {"llava", "", "it is a model with a vision tower"},
    {"mistral3", "", "it is a model with a vision tower"},
    {"phi4mm", "", "it is a model with vision and audio towers"},
    {"llama", "'vision_config': {'hidden_size': 8}", "a vision tower is not"},
    {"llama", "'mm_vision_tower': 'clip'", "a vision tower is not supported"},
    {"llama", "'audio_config': {'hidden_size': 8}", "an audio tower is not"},
    /* positions */
    {"llama", "'alibi': true", "ALiBi positions is not supported"},
    {"llama", "'position_embedding_type': 'alibi'", "ALiBi is not supported"},
    {"bloom", "", "it is a model with ALiBi positions"},
    {"mpt", "", "it is a model with ALiBi positions"},
    {"falcon", "", "it is a model with ALiBi positions"},
    {"bert", "'position_embedding_type': 'relative_key'",
     "\"position_embedding_type\" relative_key is not supported"},
    {"qwen2", "'use_mrope': true", "positions in several dimensions"},
    {"qwen2", "'rope_scaling': {'type': 'mrope', 'mrope_section': [2, 3, 3]}",
     "rope type \"mrope\" is not supported"},
    {"llama", "'rope_scaling': {'rope_type': 'spiral', 'factor': 2}",
     "rope type \"spiral\" is not supported"},
    {"llama", "'rope_parameters': {'rope_type': 'spiral', 'factor': 2}",
     "rope type \"spiral\" is not supported"},
    {"gemma3_text",
     "'rope_parameters': {'sliding_attention': {'rope_type': 'spiral'}}",
     "rope type \"spiral\" is not supported"},
    {"llama", "'partial_rotary_factor': 0.5", "0.5 is not supported for llama"},
    {"qwen3", "'rope_parameters': {'partial_rotary_factor': 0.25}",
     "0.25 is not supported for qwen3"},
    /* who sees whom */
    {"llama", "'layer_types': ['full_attention', 'sliding_attention']",
     "\"sliding_attention\", which is not supported for llama"},
    {"llama", "'layer_types': ['full_attention', 'chunked_attention']",
     "\"chunked_attention\", which is not supported for llama"},
    {"qwen3", "'layer_types': ['full_attention', 'linear_attention']",
     "\"linear_attention\", which is not supported for qwen3"},
    {"llama", "'attention_chunk_size': 8192", "attends in chunks is not"},
    {"gemma3_text", "'use_bidirectional_attention': true",
     "sees behind itself is not supported"},
    {"gpt2", "'add_cross_attention': true", "cross-attention is not"},
    {"bert", "'is_encoder_decoder': true", "encoder and decoder is not"},
    {"bert", "'is_decoder': true", "a BERT that writes text is not"},
    {"t5", "", "it is a model of encoder and decoder"},
    {"mamba", "", "it is a state space model"},
    /* other arithmetic */
    {"llama", "'clip_qkv': 8.0", "clips q, k and v is not supported"},
    {"olmo2", "'clip_qkv': 8.0", "clips q, k and v is not supported"},
    {"llama", "'logit_scale': 0.0625", "a factor on its logits is not"},
    {"llama", "'use_qk_norm': true", "norms of q and k by that key is not"},
    {"gpt_neox", "'qk_layernorm': true", "norms of q and k by that key is not"},
    {"llama", "'attn_logit_softcapping': 50.0",
     "\"attn_logit_softcapping\" is set: a cap on logits in this"},
    {"gemma", "'final_logit_softcapping': 30.0",
     "\"final_logit_softcapping\" is set: a cap on logits in this"},
    {"gpt2", "'scale_attn_weights': false", "attention without its scale"},
    {"gpt2", "'scale_attn_by_inverse_layer_idx': true", "scaled by layer"},
    {"llama", "'hidden_act': 'relu'", "activation \"relu\" is not supported"},
    {"gpt2", "'activation_function': 'relu'", "activation \"relu\" is not"},
    {"gemma2", "'hidden_activation': 'mish'", "activation \"mish\" is not"},
    {"bert", "'hidden_act': 'relu'", "activation \"relu\" is not supported"},
    {"llama", "'torch_dtype': 'float64'", "dtype \"float64\" is not"},
    {"llama", "'dtype': 'float8_e4m3fn'", "dtype \"float8_e4m3fn\" is not"},
    /* heads for something else */
    {"qwen3", "'architectures': ['Qwen3ForSequenceClassification']",
     "names Qwen3ForSequenceClassification, whose head is not supported"},
    {"llama", "'architectures': ['LlamaForTokenClassification']",
     "whose head is not supported; llama is known as a language model"},
    {"bert", "'architectures': ['BertForTokenClassification']",
     "is not supported; bert is known as a classifier of texts"},
    {"bert", "'architectures': ['BertForQuestionAnswering']",
     "whose head is not supported"},
    {"bert", "'problem_type': 'regression'", "\"problem_type\" regression"},
    {"bert", "'problem_type': 'multi_label_classification'",
     "\"problem_type\" multi_label_classification"},
    {"bert", "'num_labels': 1", "a head with 1 labels is not supported"},
    /* quantized otherwise */
    {"llama", "'quantization_config': {'quant_method': 'gptq', 'bits': 4}",
     "weights quantized by \"gptq\" are not supported"},
    {"qwen2", "'quantization_config': {'quant_method': 'awq', 'bits': 4}",
     "weights quantized by \"awq\" are not supported"},
    {"llama", "'quantization_config': {'quant_method': 'fp8'}",
     "weights quantized by \"fp8\" are not supported"},
    {"llama", "'quantization_config': {'quant_method': 'compressed-tensors'}",
     "weights quantized by \"compressed-tensors\" are not supported"},
    {"llama",
     "'quantization_config': {'quant_method': 'bitsandbytes', "
     "'load_in_8bit': true, 'load_in_4bit': false}",
     "bitsandbytes 8-bit weights are not supported"},
    {"llama",
     "'quantization_config': {'quant_method': 'bitsandbytes', "
     "'_load_in_8bit': true, '_load_in_4bit': false}",
     "bitsandbytes 8-bit weights are not supported"},
    {"llama", "'quantization_config': {'load_in_8bit': true}",
     "bitsandbytes 8-bit weights are not supported"},
    {"llama", "'quantization_config': {'bits': 4}",
     "weights quantized by \"unnamed\" are not supported"},
    {"llama", "'quantization': {'group_size': 64, 'bits': 4}",
     "a model quantized for MLX is not supported"},
    {"llama", "'compression_config': {'format': 'pack-quantized'}",
     "a model packed by compressed-tensors is not supported"},
    /* families that nobody told us of */
    {"parrot", "", "\"parrot\" is not supported; known are: llama, mistral,"},
    {"roberta", "", "it is an encoder of another form than BERT's"},
    {"granite", "", "it is a model with factors on embeddings"},
};

static void features__that_are_not_supported_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        ql_config c;
        const ql_status st = read_config(&c, refused[i].type, refused[i].more);

        check_failed(st, QL_EUNSUPPORTED, refused[i].said, refused[i].more);
        assert_non_null(strstr(ql_last_error(), "config.json: "));
        assert_null(strchr(ql_last_error(), '\n'));
    }
}

/* The same keys as files of models have them that do without. */
static const struct {
    const char *type, *more;
} harmless[] = {
    {"llama", "'num_local_experts': 0, 'num_experts': null, 'alibi': false, "
              "'vision_config': {}, 'clip_qkv': null, 'use_qk_norm': false"},
    {"llama", "'rope_scaling': null, 'rope_parameters': null, 'head_dim_': 0, "
              "'quantization_config': null, 'layer_types': null"},
    {"llama", "'architectures': ['LlamaModel']"},
    {"llama", "'architectures': ['LLaMAForCausalLM'], 'sliding_window': 4096"},
    {"gpt2", "'architectures': ['GPT2LMHeadModel'], 'scale_attn_weights': "
             "true, 'reorder_and_upcast_attn': true, 'n_inner': null"},
    {"gpt2", "'activation_function': 'gelu_fast'"},
    {"gpt_neox", "'hidden_act': 'gelu_fast', 'tie_word_embeddings': false"},
    {"gpt_neox", "'hidden_act': 'gelu_python', 'use_parallel_residual': false"},
    {"qwen2", "'use_sliding_window': false, 'sliding_window': 131072, "
              "'use_mrope': false, 'max_window_layers': 28"},
    {"mistral", "'sliding_window': null"},
    {"phi3", "'sliding_window': 262144, 'auto_map': {'AutoConfig': 'x'}, "
             "'embd_pdrop': 0.0, 'resid_pdrop': 0.0"},
    {"gemma", "'hidden_act': 'gelu', 'hidden_activation': null"},
    {"gemma3_text", "'final_logit_softcapping': null, "
                    "'attn_logit_softcapping': null, 'layer_types': null"},
    {"bert", "'architectures': ['BertForMaskedLM'], 'gradient_checkpointing': "
             "false, 'classifier_dropout': null"},
    {"bert", "'architectures': ['BertForSequenceClassification'], "
             "'problem_type': 'single_label_classification'"},
};

static void features__that_are_off_are_read_over(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
        ql_config c;

        check_ok(read_config(&c, harmless[i].type, harmless[i].more));
        assert_true(c.max_position > 0);
        ql_config_free(&c);
    }
}

/* What a layer's type says must fit the window. */
static void windows__are_those_that_the_config_gives(void **state)
{
    static const char types[] =
        "'layer_types': ['sliding_attention', 'full_attention']";
    char more[TEXT_BYTES];
    ql_config c;

    (void)state;
    check_fails(read_config(&c, "qwen2", types), QL_EFORMAT,
                "no \"sliding_window\" is in use");
    snprintf(more, sizeof(more),
             "%s, 'use_sliding_window': true, 'sliding_window': 7", types);
    check_ok(read_config(&c, "qwen2", more));
    assert_int_equal(c.layer[0].window, 7);
    assert_int_equal(c.layer[1].window, 0);
    ql_config_free(&c);
    check_ok(read_config(&c, "qwen2",
                         "'use_sliding_window': true, 'sliding_window': 7, "
                         "'max_window_layers': 1"));
    assert_int_equal(c.layer[0].window, 0);
    assert_int_equal(c.layer[1].window, 7);
    ql_config_free(&c);
    check_ok(read_config(&c, "mistral", ""));
    assert_int_equal(c.layer[1].window, 4096);
    ql_config_free(&c);
    check_ok(read_config(&c, "smollm3",
                         "'use_sliding_window': true, 'sliding_window': 9, "
                         "'no_rope_layers': [1, 0]"));
    assert_int_equal(c.layer[0].window, 0);
    assert_int_equal(c.layer[1].window, 9);
    assert_int_equal(c.layer[1].rope, -1);
    ql_config_free(&c);
}

/* Only what ropes turn must be even. */
static void heads__may_be_of_odd_width_where_nothing_is_turned(void **state)
{
    static const struct {
        const char *type, *more, *said;
    } cases[] = {
        {"gpt2", "", NULL},
        {"bert", "", NULL},
        {"gpt_neox", "'rotary_pct': 0.4", NULL},
        {"gpt_neox", "'rotary_pct': 0.2",
         "\"rotary_pct\" 0.2 of head_dim 15 is no even number"},
        {"llama", "", "head_dim 15 is odd"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ql_config c;
        const ql_status st = read_heads(&c, cases[i].type, 15, cases[i].more);

        if (cases[i].said) {
            check_failed(st, QL_EFORMAT, cases[i].said, cases[i].type);
            continue;
        }
        check_ok(st);
        assert_int_equal(c.D, 15);
        ql_config_free(&c);
    }
}

/* Qwen's card has its users add a factor and leave max_position as it is. */
static void ropes__are_stretched_by_the_factor_or_the_lengths(void **state)
{
    static const struct {
        const char *more;
        double stretch; /* 0: refused */
    } cases[] = {
        {"'factor': 4.0, 'original_max_position_embeddings': 32768", 4},
        {"'factor': 2, 'original_max_position_embeddings': 8192", 2},
        {"'original_max_position_embeddings': 8192", 4},
        {"'factor': null, 'original_max_position_embeddings': 8192", 4},
        {"'factor': 8", 8},
        {"'beta_fast': 32", 0},
        {"'factor': 0.5, 'original_max_position_embeddings': 8192", 0},
        {"'original_max_position_embeddings': 65536", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char more[TEXT_BYTES];
        ql_config c;
        ql_status st;

        snprintf(more, sizeof(more),
                 "'max_position_embeddings': 32768, 'rope_scaling': {'type': "
                 "'yarn', %s}",
                 cases[i].more);
        st = read_config(&c, "qwen2", more);
        if (cases[i].stretch == 0) {
            check_failed(st, QL_EFORMAT, "\"factor\" must be at least 1", more);
            continue;
        }
        check_ok(st);
        assert_true(ql_rope_stretch(&c.rope[0]) == cases[i].stretch);
        ql_config_free(&c);
    }
}

/* What stands beside a rope's parameters counts more than what is in them;
 * where those are given for each type of layer, it does not count. */
static void ropes__have_one_original_length(void **state)
{
    static const struct {
        const char *type, *more;
        size_t original;
    } cases[] = {
        {"llama",
         "'original_max_position_embeddings': 4096, 'rope_scaling': {"
         "'rope_type': 'llama3', 'factor': 8, 'low_freq_factor': 1, "
         "'high_freq_factor': 4, 'original_max_position_embeddings': 8192}",
         4096},
        {"llama",
         "'rope_scaling': {'rope_type': 'llama3', 'factor': 8, "
         "'low_freq_factor': 1, 'high_freq_factor': 4, "
         "'original_max_position_embeddings': 8192}",
         8192},
        {"llama",
         "'max_position_embeddings': 512, 'rope_scaling': {'rope_type': "
         "'llama3', 'factor': 8, 'low_freq_factor': 1, 'high_freq_factor': 4}",
         512},
        {"llama",
         "'original_max_position_embeddings': 1024, 'rope_scaling': {"
         "'rope_type': 'yarn', 'factor': 2}",
         1024},
        {"llama",
         "'original_max_position_embeddings': null, 'rope_scaling': {"
         "'rope_type': 'yarn', 'factor': 2, "
         "'original_max_position_embeddings': 256}",
         256},
        {"gemma3_text",
         "'original_max_position_embeddings': 1024, 'rope_parameters': {"
         "'full_attention': {'rope_type': 'yarn', 'factor': 2, "
         "'original_max_position_embeddings': 256}, 'sliding_attention': {"
         "'rope_type': 'default'}}",
         256},
        {"gemma3_text",
         "'original_max_position_embeddings': 1024, 'rope_scaling': {"
         "'rope_type': 'yarn', 'factor': 2, "
         "'original_max_position_embeddings': 256}",
         256},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ql_config c;

        check_ok(read_config(&c, cases[i].type, cases[i].more));
        assert_int_equal(c.rope[0].original, cases[i].original);
        ql_config_free(&c);
    }
}

/* Tensors of a Llama folder that no Llama has, each by itself. */
static const char *const strange[][2] = {
    {"model.layers.0.self_attn.q_norm.weight", "has no such part"},
    {"model.layers.1.self_attn.sinks", "has no such part"},
    {"model.layers.1.pre_feedforward_layernorm.weight", "has no such part"},
    {"model.layers.0.input_layernorm.bias", "has no such part"},
    {"model.layers.0.mlp.gate.weight", "has no such part"},
    {"model.layers.0.self_attn.qkv_proj.weight",
     "\"llama\" has this projection in several matrices"},
    {"model.mm_projector.0.weight", "a vision tower is not supported"},
    {"model.vision_embed_tokens.img.weight", "a vision tower is not supported"},
    {"model.norm.bias", "has no such part"},
    {"lm_head.bias", "has no such part"},
    {"model.layers.0.self_attn.q_proj.bias", "this layer has no bias"},
    {"model.layers.0.mlp.experts.3.w1.weight", "a mixture of experts is not"},
    {"model.vision_tower.patch.weight", "a vision tower is not supported"},
    {"visual.blocks.0.attn.qkv.weight", "a vision tower is not supported"},
    {"model.audio_encoder.conv.weight", "an audio tower is not supported"},
    {"multi_modal_projector.linear_1.weight", "a vision tower is not"},
    {"model.layers.0.mlp.up_proj.qweight", "by GPTQ or AWQ is not supported"},
    {"model.layers.0.mlp.up_proj.g_idx", "by GPTQ or AWQ is not supported"},
    {"model.layers.0.mlp.up_proj.SCB", "an 8-bit weight of bitsandbytes"},
    {"model.layers.0.mlp.up_proj.weight_scale_inv", "with scales beside it"},
    {"model.layers.0.mlp.up_proj.weight_packed", "by compressed-tensors"},
    {"model.layers.0.mlp.up_proj.scales", "a weight quantized for MLX"},
};

static ql_status open_with(const char *more)
{
    ql_model_options o;
    ql_model *m = NULL;
    ql_status st;

    ql_model_options_init(&o);
    rewrite_folder(toy_in(), toy_out(), &(rewrite){.more = more});
    st = ql_model_open(&m, toy_out(), &o);
    ql_model_close(&m);
    return st;
}

static void tensors__of_another_model_are_named(void **state)
{
    (void)state;
    toy_folder_write(toy_in(), &(toy_folder){.dtype = QL_DTYPE_F32});
    for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
        check_failed(open_with(strange[i][0]), QL_EUNSUPPORTED, strange[i][1],
                     strange[i][0]);
        assert_non_null(strstr(ql_last_error(), strange[i][0]));
    }
}

/* A folder of the golden ones, told otherwise. */
static void check_told(const char *from, const char *old, const char *new,
                       ql_status want, const char *said)
{
    ql_model_options o;
    ql_model *m = NULL;

    ql_model_options_init(&o);
    rewrite_folder(check_shared(from), toy_out(),
                   &(rewrite){.from = old, .to = new});
    check_failed(ql_model_open(&m, toy_out(), &o), want, said, old);
}

/* Names that nearly are those of the model, and what there is in their place,
 * are in the sentence. */
static void folders__that_lack_a_part_are_told_so(void **state)
{
    (void)state;
    check_told("golden/qlora/llama2_nf4_nodq_f32",
               "model.layers.0.mlp.up_proj.weight.quant_state", "lost",
               QL_EFORMAT, "its quant_state.bitsandbytes__* is missing");
    check_told("golden/models/llama2", "", "net.", QL_ENOTFOUND,
               "without \"net.\" before their names");
    check_told("golden/models/qwen3", "", "language_model.", QL_ENOTFOUND,
               "without \"language_model.\" before their names");
}

static char noted[1024];

static void keep_note(ql_note_kind kind, const char *text, void *user)
{
    (void)kind;
    (void)user;
    if (strstr(text, "tensors")) {
        snprintf(noted, sizeof(noted), "%s", text);
    }
}

/* Buffers are read over without a word; of the rest a note tells. */
static void tensors__that_are_left_out_are_noted(void **state)
{
    (void)state;
    toy_folder_write(toy_in(), &(toy_folder){.dtype = QL_DTYPE_F32});
    ql_note_set(keep_note, NULL);
    noted[0] = '\0';
    check_ok(open_with("model.layers.0.self_attn.rotary_emb.inv_freq "
                       "model.rotary_emb.inv_freq lm_head.weight"));
    assert_string_equal(noted, "");
    check_ok(open_with("model.layers.2.mlp.up_proj.weight score.weight "
                       "model.embed_positions.weight"));
    ql_note_set(NULL, NULL);
    assert_non_null(strstr(noted, "does not use: 3, the first of them "
                                  "model.embed_positions.weight"));
}

/* Each name once, though BERT has three modules of one. */
static void modules__of_one_name_are_listed_once(void **state)
{
    char text[TEXT_BYTES];

    (void)state;
    ql_site_leaves(ql_arch_find("bert"), text, sizeof(text));
    assert_string_equal(text, "query, key, value, dense, word_embeddings and "
                              "classifier");
    ql_site_leaves(ql_arch_find("gpt2"), text, sizeof(text));
    assert_string_equal(text, "c_attn, c_proj, c_fc, wte and lm_head");
}

/* Buffers, and what is in no block that is read. */
static void tensors__that_change_nothing_are_read_over(void **state)
{
    (void)state;
    toy_folder_write(toy_in(), &(toy_folder){.dtype = QL_DTYPE_F32});
    check_ok(open_with("model.layers.0.self_attn.rotary_emb.inv_freq "
                       "model.rotary_emb.inv_freq model.layers.9.mlp.x.weight "
                       "v_head.weight"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features__that_are_not_supported_are_named),
        cmocka_unit_test(features__that_are_off_are_read_over),
        cmocka_unit_test(windows__are_those_that_the_config_gives),
        cmocka_unit_test(heads__may_be_of_odd_width_where_nothing_is_turned),
        cmocka_unit_test(ropes__are_stretched_by_the_factor_or_the_lengths),
        cmocka_unit_test(ropes__have_one_original_length),
        cmocka_unit_test(tensors__of_another_model_are_named),
        cmocka_unit_test(folders__that_lack_a_part_are_told_so),
        cmocka_unit_test(tensors__that_are_left_out_are_noted),
        cmocka_unit_test(modules__of_one_name_are_listed_once),
        cmocka_unit_test(tensors__that_change_nothing_are_read_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
