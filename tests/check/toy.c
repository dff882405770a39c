#include "tests/check/toy.h"

#include <stdio.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/file.h"
#include "src/format/safetensors.h"
#include "tests/check/check.h"

enum {
    LAYERS = 2,
    C = 20,
    F = 36,
    H = 2,
    KV = 1,
    D = 6,
    LETTERS = 26
};

/* <unk>, <s>, </s>, the space mark, then a to z. */
enum {
    V = 4 + LETTERS
};

static const char config[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", "
    "\"hidden_size\": 20, \"intermediate_size\": 36, \"num_hidden_layers\": "
    "2, \"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"head_dim\": "
    "6, \"vocab_size\": 30, \"hidden_act\": \"silu\", \"rms_norm_eps\": "
    "1e-05, \"rope_theta\": 10000.0, \"max_position_embeddings\": 64, "
    "\"tie_word_embeddings\": true, \"torch_dtype\": \"float32\"}\n";

static const struct {
    const char *path;
    size_t rows, cols;
} tensors[] = {
    {"self_attn.q_proj", H *D, C},
    {"self_attn.k_proj", KV *D, C},
    {"self_attn.v_proj", KV *D, C},
    {"self_attn.o_proj", C, H *D},
    {"mlp.gate_proj", F, C},
    {"mlp.up_proj", F, C},
    {"mlp.down_proj", C, F},
    {"input_layernorm", C, 0},
    {"post_attention_layernorm", C, 0},
};

enum {
    TENSORS = sizeof(tensors) / sizeof(tensors[0])
};

/* Announces (data false) or writes one tensor; norms are around 1. */
static void one(ql_safetensors_writer *w, const char *name, size_t rows,
                size_t cols, bool data)
{
    static uint64_t salt;
    const size_t shape[2] = {rows, cols};
    float x[V * F];

    if (!data) {
        check_ok(ql_safetensors_writer_add(w, name, QL_DTYPE_F32, shape,
                                           cols ? 2 : 1));
        return;
    }
    check_fill(x, rows * (cols ? cols : 1), 1000 + salt++);
    for (size_t i = 0; i < rows * (cols ? cols : 1); i++) {
        x[i] = cols ? 0.3F * x[i] : 1 + 0.1F * x[i];
    }
    check_ok(ql_safetensors_writer_put(w, name, x));
}

static void each(ql_safetensors_writer *w, bool data)
{
    char name[128];

    one(w, "model.embed_tokens.weight", V, C, data);
    one(w, "model.norm.weight", C, 0, data);
    for (int layer = 0; layer < LAYERS; layer++) {
        for (size_t i = 0; i < TENSORS; i++) {
            snprintf(name, sizeof(name), "model.layers.%d.%s.weight", layer,
                     tensors[i].path);
            one(w, name, tensors[i].rows, tensors[i].cols, data);
        }
    }
}

static void write_weights(const char *dir)
{
    char path[4200];
    ql_safetensors_writer *w = NULL;

    snprintf(path, sizeof(path), "%s/model.safetensors", dir);
    check_ok(ql_safetensors_writer_open(&w, path));
    each(w, false);
    check_ok(ql_safetensors_writer_begin(w));
    each(w, true);
    check_ok(ql_safetensors_writer_commit(w));
    ql_safetensors_writer_close(&w);
}

static void write_tokenizer(const char *dir)
{
    char path[4200];
    ql_buf b;

    ql_buf_init(&b, QL_TAG_MISC, 1 << 16);
    check_ok(ql_buf_puts(
        &b,
        "{\"added_tokens\": [{\"id\": 1, \"content\": \"<s>\", \"special\": "
        "true, \"normalized\": false}, {\"id\": 2, \"content\": \"</s>\", "
        "\"special\": true, \"normalized\": false}], \"normalizer\": {\"type\":"
        " \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": "
        "\"\xE2\x96\x81\"}, \"pre_tokenizer\": null, \"post_processor\": null, "
        "\"decoder\": {\"type\": \"Replace\", \"pattern\": {\"String\": "
        "\"\xE2\x96\x81\"}, \"content\": \" \"}, \"model\": {\"type\": "
        "\"BPE\", \"unk_token\": \"<unk>\", \"merges\": [], \"vocab\": "
        "{\"<unk>\": 0, \"<s>\": 1, \"</s>\": 2, \"\xE2\x96\x81\": 3"));
    for (int i = 0; i < LETTERS; i++) {
        check_ok(ql_buf_printf(&b, ", \"%c\": %d", 'a' + i, 4 + i));
    }
    check_ok(ql_buf_puts(&b, "}}}"));
    snprintf(path, sizeof(path), "%s/tokenizer.json", dir);
    check_ok(ql_file_write(path, b.data, b.len));
    ql_buf_free(&b);
    snprintf(path, sizeof(path), "%s/tokenizer_config.json", dir);
    check_ok(ql_file_write(
        path, "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}", 41));
}

const char *toy_model(void)
{
    static char dir[4096];
    char path[4200];

    if (dir[0]) {
        return dir;
    }
    snprintf(dir, sizeof(dir), "%s", check_tmp_path("toy"));
    check_ok(ql_dir_make(dir));
    snprintf(path, sizeof(path), "%s/config.json", dir);
    check_ok(ql_file_write(path, config, sizeof(config) - 1));
    write_weights(dir);
    write_tokenizer(dir);
    return dir;
}

ql_dataset *toy_data(const ql_tokenizer *tok, size_t n)
{
    static const char *const words[] = {"the cat sat", "a dog ran home",
                                        "the sun", "birds sing in the wood",
                                        "fish"};
    const char *path = check_tmp_path("toy.jsonl");
    ql_dataset *data = NULL;
    ql_dataset_options opt;
    ql_buf b;

    ql_buf_init(&b, QL_TAG_MISC, 1 << 16);
    for (size_t i = 0; i < n; i++) {
        check_ok(ql_buf_printf(&b, "{\"text\": \"%s %c\"}\n", words[i % 5],
                               (char)('a' + i)));
    }
    check_ok(ql_file_write(path, b.data, b.len));
    ql_buf_free(&b);
    ql_dataset_options_init(&opt);
    check_ok(ql_dataset_open(&data, &path, 1, tok, &opt));
    return data;
}
