#include "tests/check/toy_folder.h"

#include <stdio.h>
#include <string.h>

#include "quant/half.h"
#include "src/base/file.h"
#include "src/format/shards.h"
#include "tests/check/check.h"

enum {
    NAME_BYTES = 128,
    PATH_BYTES = 4200,
    MAX_FILE = 1 << 20,
    MOST = 400 * TOY_C /* elements of the largest tensor */
};

static const struct {
    const char *path;
    size_t rows, cols;
} tensors[] = {
    {"self_attn.q_proj", TOY_QKV, TOY_C},
    {"self_attn.k_proj", TOY_KV, TOY_C},
    {"self_attn.v_proj", TOY_KV, TOY_C},
    {"self_attn.o_proj", TOY_C, TOY_QKV},
    {"mlp.gate_proj", TOY_F, TOY_C},
    {"mlp.up_proj", TOY_F, TOY_C},
    {"mlp.down_proj", TOY_C, TOY_F},
    {"input_layernorm", TOY_C, 0},
    {"post_attention_layernorm", TOY_C, 0},
};

enum {
    TENSORS = sizeof(tensors) / sizeof(tensors[0])
};

/* One pass over all tensors: a plan is made, announced, then filled. */
typedef struct pass {
    const toy_folder *how;
    ql_shard_plan *plan;
    ql_safetensors_writer *w; /* NULL: add to the plan */
    size_t shard;
    bool data;
    size_t next; /* number of the tensor */
} pass;

static void put(pass *p, const char *name, size_t n)
{
    float x[MOST];
    uint16_t half[MOST];
    const bool vector = strstr(name, "norm") != NULL;
    const bool wide = p->how->dtype == QL_DTYPE_F32;

    assert_true(n <= MOST);
    check_fill(x, n, 5000 + p->next);
    for (size_t i = 0; i < n; i++) {
        x[i] = vector ? 1 + 0.1F * x[i] : 0.3F * x[i];
    }
    if (p->how->bad && strcmp(p->how->bad, name) == 0) {
        x[7] = p->how->bad_value;
    }
    for (size_t i = 0; i < n; i++) {
        half[i] = p->how->dtype == QL_DTYPE_BF16 ? ql_f32_to_bf16(x[i])
                                                 : ql_f32_to_f16(x[i]);
    }
    check_ok(ql_safetensors_writer_put(
        p->w, name, wide ? (const void *)x : (const void *)half));
}

static void one(pass *p, const char *name, size_t rows, size_t cols)
{
    const size_t shape[2] = {rows, cols};
    const size_t n = rows * (cols ? cols : 1);

    if (!p->w) {
        check_ok(ql_shard_plan_add(p->plan, name,
                                   n * ql_dtype_bits(p->how->dtype) / 8));
    } else if (ql_shard_plan_shard_of(p->plan, p->next) == p->shard) {
        if (p->data) {
            put(p, name, n);
        } else {
            check_ok(ql_safetensors_writer_add(p->w, name, p->how->dtype, shape,
                                               cols ? 2 : 1));
        }
    }
    p->next++;
}

static size_t vocab_of(const toy_folder *how)
{
    return how->vocab ? how->vocab : TOY_V;
}

static void each(pass *p)
{
    const size_t layers = p->how->layers ? p->how->layers : 2;
    char name[NAME_BYTES];

    p->next = 0;
    one(p, "model.embed_tokens.weight", vocab_of(p->how), TOY_C);
    one(p, "model.norm.weight", TOY_C, 0);
    for (size_t layer = 0; layer < layers; layer++) {
        for (size_t i = 0; i < TENSORS; i++) {
            snprintf(name, sizeof(name), "model.layers.%zu.%s.weight", layer,
                     tensors[i].path);
            one(p, name, tensors[i].rows, tensors[i].cols);
        }
    }
    if (p->how->untied || p->how->head) {
        one(p, "lm_head.weight", vocab_of(p->how), TOY_C);
    }
}

static void write_weights(const char *dir, const toy_folder *how)
{
    pass p = {.how = how};
    const size_t layers = how->layers ? how->layers : 2;
    const size_t bytes = 3000 * layers * ql_dtype_bits(how->dtype) / 8;

    check_ok(
        ql_shard_plan_open(&p.plan, how->files > 1 ? bytes / how->files : ~0U));
    each(&p);
    for (; p.shard < ql_shard_plan_shards(p.plan); p.shard++) {
        char path[PATH_BYTES];

        snprintf(path, sizeof(path), "%.4000s/%s", dir,
                 ql_shard_plan_file(p.plan, p.shard));
        check_ok(ql_safetensors_writer_open(&p.w, path));
        p.data = false;
        each(&p);
        check_ok(ql_safetensors_writer_begin(p.w));
        p.data = true;
        each(&p);
        check_ok(ql_safetensors_writer_commit(p.w));
        ql_safetensors_writer_close(&p.w);
    }
    check_ok(ql_shard_plan_write_index(p.plan, dir));
    ql_shard_plan_close(&p.plan);
}

/* Keys in no order, numbers as people write them. */
static void write_config(const char *dir, const toy_folder *how)
{
    char path[PATH_BYTES];
    char text[1024];
    const int n = snprintf(
        text, sizeof(text),
        "{\"model_type\": \"llama\", \"rms_norm_eps\": 1e-5,\n\"hidden_size\":"
        " %d, \"intermediate_size\": %d, \"vocab_size\": %zu,"
        "\"num_hidden_layers\": %zu, \"num_attention_heads\": 2, "
        "\"num_key_value_heads\": 1, \"head_dim\": 6, \"rope_theta\": 1E+4, "
        "\"max_position_embeddings\": 64, \"architectures\": "
        "[\"LlamaForCausalLM\"], \"empty\": [], \"none\": {}, \"pad\": null,"
        "\"name\": \"J\\u00fcrgen \\ud83d\\ude00\\n\", \"small\": 0.02,"
        "\"tie_word_embeddings\": %s, \"torch_dtype\": \"%s\"}",
        TOY_C, TOY_F, vocab_of(how), how->layers ? how->layers : 2,
        how->untied ? "false" : "true",
        how->dtype == QL_DTYPE_BF16  ? "bfloat16"
        : how->dtype == QL_DTYPE_F16 ? "float16"
                                     : "float32");

    snprintf(path, sizeof(path), "%.4000s/config.json", dir);
    check_ok(ql_file_write(path, text, (size_t)n));
}

void toy_folder_write(const char *dir, const toy_folder *how)
{
    check_ok(ql_dir_remove(dir));
    check_ok(ql_dir_make(dir));
    write_config(dir, how);
    write_weights(dir, how);
}

const char *toy_in(void)
{
    static char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%.4000s", check_tmp_path("in"));
    return path;
}

const char *toy_out(void)
{
    static char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%.4000s", check_tmp_path("out"));
    return path;
}

char *toy_read(const char *dir, const char *name)
{
    char path[PATH_BYTES];
    char *text;
    size_t n;

    snprintf(path, sizeof(path), "%.4000s/%s", dir, name);
    check_ok(ql_file_read(path, MAX_FILE, &text, &n));
    return text;
}

void toy_write(const char *dir, const char *name, const char *text)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%.4000s/%s", dir, name);
    check_ok(ql_file_write(path, text, strlen(text)));
}

bool toy_has(const char *dir, const char *name)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%.4000s/%s", dir, name);
    return ql_path_exists(path);
}

void toy_check_no_rest(void)
{
    char **names;
    size_t n;

    check_ok(ql_dir_list(check_tmp(), &names, &n));
    for (size_t i = 0; i < n; i++) {
        if (strstr(names[i], ".part") || strstr(names[i], ".old")) {
            fail_msg("%s is left behind", names[i]);
        }
    }
    ql_dir_list_free(names, n);
}

uint64_t toy_tensor_bytes(const char *dir)
{
    ql_shards *s = NULL;
    uint64_t bytes = 0;

    check_ok(ql_shards_open(&s, dir));
    for (size_t i = 0; i < ql_shards_count(s); i++) {
        bytes += ql_shards_at(s, i)->bytes;
    }
    ql_shards_close(&s);
    return bytes;
}
