/* Facts: transformers, src/transformers/models/NAME/modeling_NAME.py and
 * configuration_NAME.py. */
#include "src/model/arch.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/format/names.h"

static const char *const llama_modules[QL_MODULES] = {
    [QL_MODULE_Q] = "self_attn.q_proj", [QL_MODULE_K] = "self_attn.k_proj",
    [QL_MODULE_V] = "self_attn.v_proj", [QL_MODULE_O] = "self_attn.o_proj",
    [QL_MODULE_GATE] = "mlp.gate_proj", [QL_MODULE_UP] = "mlp.up_proj",
    [QL_MODULE_DOWN] = "mlp.down_proj",
};

static const ql_names llama_names = {
    .base = "model.",
    .embed = "embed_tokens",
    .final_norm = "norm",
    .layers = "layers",
    .module = llama_modules,
    .head = "lm_head",
};

static const char *const phi3_modules[QL_MODULES] = {
    [QL_MODULE_Q] = "self_attn.qkv_proj",
    [QL_MODULE_O] = "self_attn.o_proj",
    [QL_MODULE_GATE] = "mlp.gate_up_proj",
    [QL_MODULE_DOWN] = "mlp.down_proj",
};

static const ql_names phi3_names = {
    .base = "model.",
    .embed = "embed_tokens",
    .final_norm = "norm",
    .layers = "layers",
    .module = phi3_modules,
    .head = "lm_head",
};

static const char *const gpt2_modules[QL_MODULES] = {
    [QL_MODULE_Q] = "attn.c_attn",
    [QL_MODULE_O] = "attn.c_proj",
    [QL_MODULE_UP] = "mlp.c_fc",
    [QL_MODULE_DOWN] = "mlp.c_proj",
};

static const ql_names gpt2_names = {
    .base = "transformer.",
    .embed = "wte",
    .position = "wpe",
    .final_norm = "ln_f",
    .layers = "h",
    .module = gpt2_modules,
    .head = "lm_head",
};

static const char *const neox_modules[QL_MODULES] = {
    [QL_MODULE_Q] = "attention.query_key_value",
    [QL_MODULE_O] = "attention.dense",
    [QL_MODULE_UP] = "mlp.dense_h_to_4h",
    [QL_MODULE_DOWN] = "mlp.dense_4h_to_h",
};

static const ql_names neox_names = {
    .base = "gpt_neox.",
    .embed = "embed_in",
    .final_norm = "final_layer_norm",
    .layers = "layers",
    .module = neox_modules,
    .head = "embed_out",
};

static const char *const bert_modules[QL_MODULES] = {
    [QL_MODULE_Q] = "attention.self.query",
    [QL_MODULE_K] = "attention.self.key",
    [QL_MODULE_V] = "attention.self.value",
    [QL_MODULE_O] = "attention.output.dense",
    [QL_MODULE_UP] = "intermediate.dense",
    [QL_MODULE_DOWN] = "output.dense",
};

static const ql_names bert_names = {
    .base = "bert.",
    .embed = "embeddings.word_embeddings",
    .position = "embeddings.position_embeddings",
    .layers = "encoder.layer",
    .module = bert_modules,
    .head = "classifier",
    .types = "embeddings.token_type_embeddings",
    .embed_norm = "embeddings.LayerNorm",
    .pooler = "pooler.dense",
};

static const char *const bert_norms[QL_NORMS] = {
    [QL_NORM_ATTN_OUT] = "attention.output.LayerNorm",
    [QL_NORM_MLP_OUT] = "output.LayerNorm",
};

static const char *const gpt2_norms[QL_NORMS] = {
    [QL_NORM_ATTN_IN] = "ln_1",
    [QL_NORM_MLP_IN] = "ln_2",
};

static const char *const llama_norms[QL_NORMS] = {
    [QL_NORM_ATTN_IN] = "input_layernorm",
    [QL_NORM_MLP_IN] = "post_attention_layernorm",
};

static const char *const qwen3_norms[QL_NORMS] = {
    [QL_NORM_ATTN_IN] = "input_layernorm",
    [QL_NORM_MLP_IN] = "post_attention_layernorm",
    [QL_NORM_Q] = "self_attn.q_norm",
    [QL_NORM_K] = "self_attn.k_norm",
};

static const char *const gemma2_norms[QL_NORMS] = {
    [QL_NORM_ATTN_IN] = "input_layernorm",
    [QL_NORM_ATTN_OUT] = "post_attention_layernorm",
    [QL_NORM_MLP_IN] = "pre_feedforward_layernorm",
    [QL_NORM_MLP_OUT] = "post_feedforward_layernorm",
};

static const char *const gemma3_norms[QL_NORMS] = {
    [QL_NORM_ATTN_IN] = "input_layernorm",
    [QL_NORM_ATTN_OUT] = "post_attention_layernorm",
    [QL_NORM_MLP_IN] = "pre_feedforward_layernorm",
    [QL_NORM_MLP_OUT] = "post_feedforward_layernorm",
    [QL_NORM_Q] = "self_attn.q_norm",
    [QL_NORM_K] = "self_attn.k_norm",
};

static const char *const olmo2_norms[QL_NORMS] = {
    [QL_NORM_ATTN_OUT] = "post_attention_layernorm",
    [QL_NORM_MLP_OUT] = "post_feedforward_layernorm",
    [QL_NORM_Q] = "self_attn.q_norm",
    [QL_NORM_K] = "self_attn.k_norm",
};

static const char *const gpt2_keys[] = {"num_hidden_layers",
                                        "n_layer",
                                        "hidden_size",
                                        "n_embd",
                                        "intermediate_size",
                                        "n_inner",
                                        "num_attention_heads",
                                        "n_head",
                                        "max_position_embeddings",
                                        "n_positions",
                                        "norm_eps",
                                        "layer_norm_epsilon",
                                        "hidden_act",
                                        "activation_function",
                                        NULL};

static const char *const neox_keys[] = {"norm_eps",
                                        "layer_norm_eps",
                                        "rope_theta",
                                        "rotary_emb_base",
                                        "partial_rotary_factor",
                                        "rotary_pct",
                                        NULL};

static const char *const bert_keys[] = {"norm_eps", "layer_norm_eps", NULL};

static const char *const llama_keys[] = {"norm_eps", "rms_norm_eps", NULL};

static const char *const gemma2_keys[] = {
    "norm_eps", "rms_norm_eps", "hidden_act", "hidden_activation", NULL};

static const ql_arch archs[] = {
    {
        .model_type = "llama",
        .names = &llama_names,
        .norm = llama_norms,
        .keys = llama_keys,
        .defaults = "{\"max_position_embeddings\": 2048}",
        .attention_bias = true,
        .mlp_bias = true,
    },
    {
        .model_type = "mistral",
        .names = &llama_names,
        .norm = llama_norms,
        .keys = llama_keys,
        .defaults = "{\"sliding_window\": 4096, "
                    "\"max_position_embeddings\": 131072}",
        .window = QL_WINDOW_ALL,
    },
    {
        .model_type = "qwen2",
        .names = &llama_names,
        .norm = llama_norms,
        .keys = llama_keys,
        .defaults = "{\"sliding_window\": 4096, \"max_window_layers\": 28, "
                    "\"max_position_embeddings\": 32768}",
        .bias = QL_MASK_QKV,
        .window = QL_WINDOW_UPPER,
    },
    {
        .model_type = "qwen3",
        .names = &llama_names,
        .norm = qwen3_norms,
        .keys = llama_keys,
        .defaults = "{\"head_dim\": 128, \"sliding_window\": 4096, "
                    "\"max_window_layers\": 28, "
                    "\"max_position_embeddings\": 32768}",
        .attention_bias = true,
        .window = QL_WINDOW_UPPER,
    },
    {
        .model_type = "gemma",
        .names = &llama_names,
        .norm = llama_norms,
        .keys = llama_keys,
        .defaults = "{\"head_dim\": 256, \"tie_word_embeddings\": true, "
                    "\"hidden_act\": \"gelu_pytorch_tanh\", "
                    "\"max_position_embeddings\": 8192}",
        .attention_bias = true,
        .norm_plus_one = true,
        .scaled_embed = true,
        .scaled_apart = true,
        .old_gelu = true,
    },
    {
        .model_type = "gemma2",
        .names = &llama_names,
        .norm = gemma2_norms,
        .keys = gemma2_keys,
        .defaults = "{\"head_dim\": 256, \"tie_word_embeddings\": true, "
                    "\"hidden_activation\": \"gelu_pytorch_tanh\", "
                    "\"query_pre_attn_scalar\": 256, "
                    "\"attn_logit_softcapping\": 50.0, "
                    "\"final_logit_softcapping\": 30.0, "
                    "\"sliding_window\": 4096, "
                    "\"sliding_window_pattern\": 2, "
                    "\"max_position_embeddings\": 8192}",
        .attention_bias = true,
        .norm_plus_one = true,
        .scaled_embed = true,
        .scaled_apart = true,
        .query_scalar = true,
        .window = QL_WINDOW_PATTERN,
    },
    {
        .model_type = "gemma3_text",
        .names = &llama_names,
        .norm = gemma3_norms,
        .keys = gemma2_keys,
        .defaults = "{\"head_dim\": 256, \"tie_word_embeddings\": true, "
                    "\"hidden_activation\": \"gelu_pytorch_tanh\", "
                    "\"query_pre_attn_scalar\": 256, "
                    "\"rope_theta\": 1000000.0, "
                    "\"rope_local_base_freq\": 10000.0, "
                    "\"sliding_window\": 4096, "
                    "\"sliding_window_pattern\": 6, "
                    "\"max_position_embeddings\": 131072}",
        .attention_bias = true,
        .norm_plus_one = true,
        .scaled_embed = true,
        .query_scalar = true,
        .local_rope = true,
        .window = QL_WINDOW_PATTERN,
    },
    {
        .model_type = "olmo2",
        .names = &llama_names,
        .norm = olmo2_norms,
        .keys = llama_keys,
        .defaults = "{\"rms_norm_eps\": 1e-05, "
                    "\"max_position_embeddings\": 2048}",
        .attention_bias = true,
        .wide_qk_norm = true,
    },
    {
        .model_type = "smollm3",
        .names = &llama_names,
        .norm = llama_norms,
        .keys = llama_keys,
        .defaults = "{\"tie_word_embeddings\": true, \"rope_theta\": "
                    "2000000.0, \"no_rope_layer_interval\": 4, "
                    "\"max_position_embeddings\": 32768}",
        .attention_bias = true,
        .mlp_bias = true,
        .nope = true,
        .window = QL_WINDOW_NOPE,
    },
    {
        .model_type = "phi3",
        .names = &phi3_names,
        .norm = llama_norms,
        .keys = llama_keys,
        .defaults = "{\"rms_norm_eps\": 1e-05, "
                    "\"max_position_embeddings\": 4096, "
                    "\"original_max_position_embeddings\": 4096}",
        .qkv = QL_QKV_ROWS,
        .fused_gate = true,
        .partial_rotary = true,
        .old_longrope = true,
        .window = QL_WINDOW_ALL,
    },
    {
        .model_type = "gpt2",
        .names = &gpt2_names,
        .norm = gpt2_norms,
        .keys = gpt2_keys,
        .defaults = "{\"activation_function\": \"gelu_new\", "
                    "\"layer_norm_epsilon\": 1e-05, "
                    "\"tie_word_embeddings\": true, \"n_positions\": 1024}",
        .bias = QL_MASK_ALL,
        .qkv = QL_QKV_ROWS,
        .transposed = true,
        .layer_norm = true,
    },
    {
        .model_type = "gpt_neox",
        .names = &neox_names,
        .norm = llama_norms,
        .keys = neox_keys,
        .defaults = "{\"hidden_act\": \"gelu\", \"rotary_pct\": 0.25, "
                    "\"layer_norm_eps\": 1e-05, \"attention_bias\": true, "
                    "\"use_parallel_residual\": true, "
                    "\"max_position_embeddings\": 2048}",
        .bias = QL_MASK_MLP,
        .attention_bias = true,
        .qkv = QL_QKV_BY_HEAD,
        .layer_norm = true,
        .partial_rotary = true,
        .parallel = true,
    },
    {
        .model_type = "bert",
        .names = &bert_names,
        .norm = bert_norms,
        .keys = bert_keys,
        .defaults = "{\"hidden_act\": \"gelu\", \"layer_norm_eps\": 1e-12, "
                    "\"max_position_embeddings\": 512}",
        .bias = QL_MASK_ALL,
        .layer_norm = true,
        .norm_of_sum = true,
        .classifier = true,
    },
};

enum {
    ARCHS = sizeof(archs) / sizeof(archs[0])
};

/* Families that people bring, and what they have that we have not. */
static const struct {
    const char *model_type, *reason;
} others[] = {
    {"dbrx", "a mixture of experts"},
    {"deepseek_v2", "a mixture of experts"},
    {"deepseek_v3", "a mixture of experts"},
    {"ernie4_5_moe", "a mixture of experts"},
    {"glm4_moe", "a mixture of experts"},
    {"gpt_oss", "a mixture of experts"},
    {"granitemoe", "a mixture of experts"},
    {"jamba", "a mixture of experts"},
    {"llama4", "a mixture of experts"},
    {"llama4_text", "a mixture of experts"},
    {"minimax", "a mixture of experts"},
    {"mixtral", "a mixture of experts"},
    {"olmoe", "a mixture of experts"},
    {"phimoe", "a mixture of experts"},
    {"qwen2_moe", "a mixture of experts"},
    {"qwen3_moe", "a mixture of experts"},
    {"qwen3_next", "a mixture of experts"},
    {"gemma3", "a model with a vision tower"},
    {"gemma3n", "a model with vision and audio towers"},
    {"idefics2", "a model with a vision tower"},
    {"idefics3", "a model with a vision tower"},
    {"internvl", "a model with a vision tower"},
    {"llava", "a model with a vision tower"},
    {"llava_next", "a model with a vision tower"},
    {"llava_onevision", "a model with a vision tower"},
    {"mistral3", "a model with a vision tower"},
    {"mllama", "a model with a vision tower"},
    {"paligemma", "a model with a vision tower"},
    {"phi3_v", "a model with a vision tower"},
    {"phi4_multimodal", "a model with vision and audio towers"},
    {"phi4mm", "a model with vision and audio towers"},
    {"qwen2_vl", "a model with a vision tower"},
    {"qwen2_5_vl", "a model with a vision tower"},
    {"qwen2_audio", "a model with an audio tower"},
    {"qwen3_vl", "a model with a vision tower"},
    {"smolvlm", "a model with a vision tower"},
    {"whisper", "a model with an audio tower"},
    {"bloom", "a model with ALiBi positions"},
    {"falcon", "a model with ALiBi positions, or one matrix for all keys"},
    {"mpt", "a model with ALiBi positions"},
    {"falcon_mamba", "a state space model"},
    {"mamba", "a state space model"},
    {"mamba2", "a state space model"},
    {"bart", "a model of encoder and decoder"},
    {"t5", "a model of encoder and decoder"},
    {"cohere", "a model with norms and logits of another kind"},
    {"cohere2", "a model with norms and logits of another kind"},
    {"granite", "a model with factors on embeddings, residuals and logits"},
    {"gpt_neo", "a model with attention to neighbours only"},
    {"olmo", "a model that clips q, k and v"},
    {"distilbert", "an encoder of another form than BERT's"},
    {"roberta", "an encoder of another form than BERT's"},
    {"modernbert", "an encoder of another form than BERT's"},
};

const char *ql_name_leaf(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot ? dot + 1 : name;
}

unsigned ql_arch_modules(const ql_arch *arch)
{
    unsigned mask = 0;

    for (int m = 0; m < QL_MODULES; m++) {
        mask |= arch->names->module[m] ? 1U << m : 0;
    }
    return mask;
}

const char *ql_arch_key(const ql_arch *arch, const char *key)
{
    for (const char *const *k = arch->keys; *k; k += 2) {
        if (strcmp(k[0], key) == 0) {
            return k[1];
        }
    }
    return key;
}

void ql_arch_path(const ql_arch *arch, size_t layer, ql_module module,
                  char *path, size_t bytes)
{
    const ql_names *n = arch->names;

    snprintf(path, bytes, "%s%s.%zu.%s", n->base, n->layers, layer,
             n->module[module]);
}

ql_module ql_arch_module(const ql_arch *arch, const char *name)
{
    const ql_names *n = arch->names;
    const char *rest = ql_name_after(name, n->base);
    char *end = NULL;

    rest = rest ? rest : name;
    if (n->pooler && ql_name_after(rest, n->pooler) &&
        strcmp(ql_name_after(rest, n->pooler), ".weight") == 0) {
        return QL_MODULE_DOWN;
    }
    rest = ql_name_after(rest, n->layers);
    if (!rest || *rest != '.' || !isdigit((unsigned char)rest[1])) {
        return QL_MODULES;
    }
    strtoull(rest + 1, &end, 10);
    for (int m = 0; *end == '.' && m < QL_MODULES; m++) {
        const char *tail =
            n->module[m] ? ql_name_after(end + 1, n->module[m]) : NULL;

        if (tail && strcmp(tail, ".weight") == 0) {
            return (ql_module)m;
        }
    }
    return QL_MODULES;
}

const ql_arch *ql_arch_find(const char *model_type)
{
    for (size_t i = 0; i < ARCHS; i++) {
        if (strcmp(archs[i].model_type, model_type) == 0) {
            return &archs[i];
        }
    }
    return NULL;
}

const char *ql_arch_reason(const char *model_type)
{
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (strcmp(others[i].model_type, model_type) == 0) {
            return others[i].reason;
        }
    }
    return NULL;
}

static const char *list_types(char *list, size_t bytes, bool classifiers)
{
    size_t used = 0;

    for (size_t i = 0; i < ARCHS; i++) {
        if (classifiers || !archs[i].classifier) {
            used += (size_t)snprintf(list + used, bytes - used, "%s%s",
                                     used ? ", " : "", archs[i].model_type);
        }
    }
    return list;
}

const char *ql_arch_list(void)
{
    static char list[256];

    return list_types(list, sizeof(list), true);
}

const char *ql_arch_writers(void)
{
    static char list[256];

    return list_types(list, sizeof(list), false);
}
