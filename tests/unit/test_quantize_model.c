/* ql_quantize_model on toy folders: what it writes is what the codec gives,
 * and what is loaded from it is what loading the original gives. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/codec.h"
#include "quant/dquant.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/format/qstate.h"
#include "src/format/shards.h"
#include "src/model/run.h"
#include "tests/check/check.h"
#include "tests/check/toy_folder.h"

enum {
    PATH_BYTES = 4200,
    NAME_BYTES = 200,
    MODULES = 7 /* linear layers of a block */
};

static void options(ql_quantize_options *o)
{
    ql_quantize_options_init(o);
    o->force = true;
}

static bool is_linear(const char *name)
{
    return strstr(name, "_proj.weight") != NULL;
}

/* The tensor "NAME.SUFFIX" (suffix may be ""), which must hold these bytes. */
static void check_part(const ql_shards *out, const char *name,
                       const char *suffix, ql_dtype dtype, const void *want,
                       size_t bytes)
{
    char full[NAME_BYTES];
    const ql_tensor *t;

    snprintf(full, sizeof(full), "%s%s", name, suffix);
    t = ql_shards_find(out, full);
    if (!t) {
        fail_msg("no tensor %s", full);
        return;
    }
    assert_int_equal(t->dtype, dtype);
    assert_int_equal(t->bytes, bytes);
    if (memcmp(t->data, want, bytes) != 0) {
        fail_msg("%s: other bytes", full);
    }
    if (*suffix) {
        assert_int_equal(t->rank, 1);
    } else {
        assert_int_equal(t->rank, 2);
        assert_int_equal(t->shape[1], 1);
    }
}

static const char *python_dtype(ql_dtype dtype)
{
    return dtype == QL_DTYPE_BF16  ? "bfloat16"
           : dtype == QL_DTYPE_F16 ? "float16"
                                   : "float32";
}

static void check_state(const ql_shards *out, const ql_tensor *in,
                        const ql_quant_options *q, float offset)
{
    const char *type = q->type == QL_QUANT_FP4 ? "fp4" : "nf4";
    char suffix[64];
    ql_buf want;

    ql_buf_init(&want, QL_TAG_MISC, 1024);
    check_ok(ql_buf_printf(&want,
                           "{\"quant_type\": \"%s\", \"blocksize\": %zu, "
                           "\"dtype\": \"%s\", \"shape\": [%zu, %zu]",
                           type, q->block_size, python_dtype(in->dtype),
                           in->shape[0], in->shape[1]));
    if (q->double_quant) {
        check_ok(ql_buf_puts(&want, ", \"nested_blocksize\": 256, "
                                    "\"nested_dtype\": \"float32\", "
                                    "\"nested_offset\": "));
        check_ok(ql_json_put_real(&want, (double)offset));
    }
    check_ok(ql_buf_putc(&want, '}'));
    snprintf(suffix, sizeof(suffix), ".quant_state.bitsandbytes__%s", type);
    check_part(out, in->name, suffix, QL_DTYPE_U8, want.data, want.len);
    ql_buf_free(&want);
}

/* A weight, quantized here in one go, against the parts that were written. */
static void check_weight(const ql_shards *out, const ql_tensor *in,
                         const ql_quant_options *q)
{
    const ql_codebook_id book =
        q->type == QL_QUANT_FP4 ? QL_CODEBOOK_FP4 : QL_CODEBOOK_NF4;
    const size_t n = in->elements;
    const size_t blocks = (n + q->block_size - 1) / q->block_size;
    float *x = malloc(n * sizeof(float));
    float *absmax = malloc(blocks * sizeof(float));
    float outer[8];
    uint8_t *packed = malloc((n + 1) / 2);
    uint8_t *codes = malloc(blocks);
    float offset = 0;

    check_ok(ql_tensor_to_f32(x, in));
    ql_quantize_4bit(x, n, q->block_size, book, packed, absmax);
    check_part(out, in->name, "", QL_DTYPE_U8, packed, (n + 1) / 2);
    check_part(out, in->name, ".quant_map", QL_DTYPE_F32, ql_codebooks[book],
               64);
    if (q->double_quant) {
        assert_true(blocks <= 8 * 256);
        ql_dquantize(absmax, blocks, codes, outer, &offset);
        check_part(out, in->name, ".absmax", QL_DTYPE_U8, codes, blocks);
        check_part(out, in->name, ".nested_absmax", QL_DTYPE_F32, outer,
                   (blocks + 255) / 256 * 4);
        check_part(out, in->name, ".nested_quant_map", QL_DTYPE_F32,
                   ql_dynamic_map, 1024);
    } else {
        check_part(out, in->name, ".absmax", QL_DTYPE_F32, absmax, 4 * blocks);
    }
    check_state(out, in, q, offset);
    free(x);
    free(absmax);
    free(packed);
    free(codes);
}

static void check_kept(const ql_shards *out, const ql_tensor *in)
{
    const ql_tensor *t = ql_shards_find(out, in->name);

    assert_non_null(t);
    assert_int_equal(t->dtype, in->dtype);
    assert_int_equal(t->rank, in->rank);
    assert_memory_equal(t->shape, in->shape, in->rank * sizeof(size_t));
    assert_memory_equal(t->data, in->data, in->bytes);
}

/* Every tensor of the output; returns how many there are. */
static size_t check_output(const ql_quant_options *q)
{
    ql_shards *in = NULL;
    ql_shards *out = NULL;
    size_t want = 0;

    check_ok(ql_shards_open(&in, toy_in()));
    check_ok(ql_shards_open(&out, toy_out()));
    for (size_t i = 0; i < ql_shards_count(in); i++) {
        const ql_tensor *t = ql_shards_at(in, i);

        if (is_linear(t->name)) {
            check_weight(out, t, q);
            want += q->double_quant ? 6 : 4;
        } else {
            check_kept(out, t);
            want++;
        }
    }
    assert_int_equal(ql_shards_count(out), want);
    ql_shards_close(&in);
    ql_shards_close(&out);
    return want;
}

static const ql_dtype dtypes[] = {QL_DTYPE_F32, QL_DTYPE_BF16, QL_DTYPE_F16};

static void tensors__are_what_the_codec_gives(void **state)
{
    static const ql_quant_options ways[] = {
        {QL_QUANT_NF4, true, 64},  {QL_QUANT_NF4, false, 64},
        {QL_QUANT_FP4, true, 64},  {QL_QUANT_FP4, false, 128},
        {QL_QUANT_NF4, true, 32},  {QL_QUANT_NF4, true, 4096},
        {QL_QUANT_FP4, true, 512},
    };
    ql_quantize_options o;

    (void)state;
    for (size_t d = 0; d < 3; d++) {
        const toy_folder how = {.dtype = dtypes[d], .untied = true};

        toy_folder_write(toy_in(), &how);
        for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
            options(&o);
            o.quant = ways[i];
            check_ok(ql_quantize_model(toy_in(), toy_out(), &o, NULL));
            check_output(&ways[i]);
        }
    }
    toy_check_no_rest();
}

/* All that a loaded model gives for a few tokens. */
typedef struct outcome {
    float logits[5 * TOY_V];
    double loss;
    size_t linear_4bit, weight_bytes;
} outcome;

static outcome load(const char *dir, const ql_quant_options *q)
{
    static const int32_t ids[] = {1, 5, 29, 0, 17};
    static const int32_t target[] = {5, 29, 0, 17, -1};
    static const size_t start[] = {0, 5};
    static const size_t rows[] = {0, 1, 2, 3, 4};
    const ql_batch batch = {
        .T = 5, .sequences = 1, .start = start, .ids = ids, .target = target};
    const ql_run_options how = {
        .max_tokens = 5, .max_length = 5, .max_sequences = 1};
    ql_model_options opt = {.quantize = true, .quant = *q};
    ql_model *m = NULL;
    ql_run *run = NULL;
    ql_model_info info;
    ql_loss sum = {0};
    outcome out;

    memset(&out, 0, sizeof(out));
    check_ok(ql_model_open(&m, dir, &opt));
    check_ok(ql_run_open(&run, m, &how));
    ql_run_logits(run, &batch, rows, 5, out.logits);
    ql_run_loss(run, &batch, NULL, &sum);
    ql_model_info_read(m, &info);
    out.loss = sum.sum;
    out.linear_4bit = info.linear_4bit;
    out.weight_bytes = info.weight_bytes;
    ql_run_close(&run);
    ql_model_close(&m);
    return out;
}

/* Weight m of layer i, dequantized. Owned: free. */
static float *dequantized(const ql_model *m, size_t i, size_t module)
{
    const ql_qtensor *w = &m->weights.layers[i].linear[module].w;
    float *x = malloc(w->rows * w->cols * sizeof(float));

    ql_dequantize(x, w, 0, w->rows * w->cols);
    return x;
}

static void check_same_weights(const ql_quant_options *q)
{
    ql_model_options opt = {.quantize = true, .quant = *q};
    ql_model *a = NULL;
    ql_model *b = NULL;

    check_ok(ql_model_open(&a, toy_in(), &opt));
    check_ok(ql_model_open(&b, toy_out(), NULL));
    for (size_t i = 0; i < a->config.layers * MODULES; i++) {
        const ql_qtensor *w = &a->weights.layers[i / 7].linear[i % 7].w;
        float *x = dequantized(a, i / MODULES, i % MODULES);
        float *y = dequantized(b, i / MODULES, i % MODULES);

        assert_memory_equal(x, y, w->rows * w->cols * sizeof(float));
        free(x);
        free(y);
    }
    ql_model_close(&a);
    ql_model_close(&b);
}

static void loading__is_the_same_before_and_after(void **state)
{
    (void)state;
    for (size_t d = 0; d < 3; d++) {
        for (int i = 0; i < 4; i++) {
            const toy_folder how = {.dtype = dtypes[d], .untied = i == 1};
            ql_quantize_options o;
            outcome before;
            outcome after;

            options(&o);
            o.quant.double_quant = i != 2;
            o.quant.type = i == 3 ? QL_QUANT_FP4 : QL_QUANT_NF4;
            toy_folder_write(toy_in(), &how);
            check_ok(ql_quantize_model(toy_in(), toy_out(), &o, NULL));
            check_same_weights(&o.quant);
            before = load(toy_in(), &o.quant);
            after = load(toy_out(), &o.quant);
            assert_int_equal(before.linear_4bit, 2 * MODULES);
            assert_int_equal(after.linear_4bit, 2 * MODULES);
            assert_memory_equal(before.logits, after.logits,
                                sizeof(before.logits));
            assert_memory_equal(&before.loss, &after.loss, sizeof(double));
        }
    }
}

static void head__that_is_the_embedding_is_dropped(void **state)
{
    toy_folder how = {.dtype = QL_DTYPE_BF16, .head = true};
    ql_quantize_report report;
    ql_quantize_options o;
    ql_shards *out = NULL;

    (void)state;
    options(&o);
    toy_folder_write(toy_in(), &how);
    check_ok(ql_quantize_model(toy_in(), toy_out(), &o, &report));
    check_ok(ql_shards_open(&out, toy_out()));
    assert_null(ql_shards_find(out, "lm_head.weight"));
    assert_non_null(ql_shards_find(out, "model.embed_tokens.weight"));
    ql_shards_close(&out);
    assert_int_equal(report.groups[MODULES].tensors, 2 * 2 + 2);
    ql_quantize_report_free(&report);
    how.untied = true;
    toy_folder_write(toy_in(), &how);
    check_ok(ql_quantize_model(toy_in(), toy_out(), &o, NULL));
    check_ok(ql_shards_open(&out, toy_out()));
    assert_non_null(ql_shards_find(out, "lm_head.weight"));
    ql_shards_close(&out);
}

/* Weights of the output that are in 4 bits and whose name contains part. */
static size_t count_4bit(const char *part)
{
    ql_shards *out = NULL;
    size_t n = 0;

    check_ok(ql_shards_open(&out, toy_out()));
    for (size_t i = 0; i < ql_shards_count(out); i++) {
        const char *name = ql_shards_at(out, i)->name;

        n += is_linear(name) && strstr(name, part) &&
             !strstr(name, ".weight.") && ql_qstate_find(out, name);
    }
    ql_shards_close(&out);
    return n;
}

static void skipped_modules__follow_the_rule_of_transformers(void **state)
{
    static const struct {
        const char *skip;
        size_t all, layer_1, attention; /* weights in 4 bits; layer_1: of
                                          layers 1, 10 and 11 */
    } cases[] = {
        {"lm_head", 84, 21, 48},
        {"self_attn", 36, 9, 0},
        {"layers.1", 77, 14, 44}, /* layers 10 and 11 are others */
        {"model.layers.1.mlp.up_proj", 83, 20, 48},
        {"up_proj", 84, 21, 48}, /* no whole name, and no dot behind it */
        {"model.layers", 0, 0, 0},
        {"layers.1.self", 84, 21, 48},
    };
    const toy_folder how = {.dtype = QL_DTYPE_BF16, .layers = 12};
    ql_quantize_options o;

    (void)state;
    toy_folder_write(toy_in(), &how);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        outcome loaded;
        char *config;

        options(&o);
        o.skip_modules = &cases[i].skip;
        o.n_skip_modules = 1;
        check_ok(ql_quantize_model(toy_in(), toy_out(), &o, NULL));
        print_message("%s\n", cases[i].skip);
        assert_int_equal(count_4bit(""), cases[i].all);
        assert_int_equal(count_4bit("layers.1"), cases[i].layer_1);
        assert_int_equal(count_4bit("self_attn"), cases[i].attention);
        config = toy_read(toy_out(), "config.json");
        assert_non_null(strstr(config, cases[i].skip));
        ql_free(config);
        loaded = load(toy_out(), &o.quant);
        assert_int_equal(loaded.linear_4bit, cases[i].all);
    }
}

/* The index lists every tensor once, in the file that holds it; total_size is
 * the sum of all; the parts of a weight share a file. */
static void check_index(size_t tensors, uint64_t bytes)
{
    char *text = toy_read(toy_out(), "model.safetensors.index.json");
    json_t *index = NULL;
    json_t *map;
    const char *name;
    json_t *file;

    check_ok(ql_json_parse(&index, text, strlen(text), "index"));
    map = json_object_get(index, "weight_map");
    assert_int_equal(json_object_size(map), tensors);
    assert_int_equal(json_integer_value(json_object_get(
                         json_object_get(index, "metadata"), "total_size")),
                     bytes);
    json_object_foreach(map, name, file)
    {
        const char *weight = strstr(name, ".weight.");
        char base[NAME_BYTES];

        assert_true(toy_has(toy_out(), json_string_value(file)));
        if (!weight) {
            continue;
        }
        snprintf(base, sizeof(base), "%.*s", (int)(weight + 7 - name), name);
        assert_string_equal(json_string_value(json_object_get(map, base)),
                            json_string_value(file));
    }
    json_decref(index);
    ql_free(text);
}

static void shards__are_cut_and_indexed(void **state)
{
    static const uint64_t limits[] = {1, 300, 2000, 10000, 100000};
    const toy_folder how = {.dtype = QL_DTYPE_F32, .untied = true, .files = 3};
    ql_quantize_options o;
    outcome whole;

    (void)state;
    options(&o);
    toy_folder_write(toy_in(), &how);
    assert_true(toy_has(toy_in(), "model.safetensors.index.json"));
    check_ok(ql_quantize_model(toy_in(), toy_out(), &o, NULL));
    assert_true(toy_has(toy_out(), "model.safetensors"));
    whole = load(toy_out(), &o.quant);
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        ql_quantize_report report;
        outcome cut;
        size_t tensors;

        o.max_shard_bytes = limits[i];
        o.verify = true;
        check_ok(ql_quantize_model(toy_in(), toy_out(), &o, &report));
        tensors = check_output(&o.quant);
        assert_int_equal(report.verified, tensors);
        if (report.shards > 1) {
            check_index(tensors, report.bytes_after);
            assert_false(toy_has(toy_out(), "model.safetensors"));
        } else {
            assert_int_equal(limits[i], 100000);
            assert_false(toy_has(toy_out(), "model.safetensors.index.json"));
        }
        cut = load(toy_out(), &o.quant);
        assert_memory_equal(cut.logits, whole.logits, sizeof(whole.logits));
        ql_quantize_report_free(&report);
    }
}

static const char expected_config[] =
    "{\n"
    "  \"architectures\": [\n"
    "    \"LlamaForCausalLM\"\n"
    "  ],\n"
    "  \"empty\": [],\n"
    "  \"head_dim\": 6,\n"
    "  \"hidden_size\": 20,\n"
    "  \"intermediate_size\": 36,\n"
    "  \"max_position_embeddings\": 64,\n"
    "  \"model_type\": \"llama\",\n"
    "  \"name\": \"J\\u00fcrgen \\ud83d\\ude00\\n\",\n"
    "  \"none\": {},\n"
    "  \"num_attention_heads\": 2,\n"
    "  \"num_hidden_layers\": 2,\n"
    "  \"num_key_value_heads\": 1,\n"
    "  \"pad\": null,\n"
    "  \"quantization_config\": {\n"
    "    \"_load_in_4bit\": true,\n"
    "    \"_load_in_8bit\": false,\n"
    "    \"bnb_4bit_compute_dtype\": \"bfloat16\",\n"
    "    \"bnb_4bit_quant_storage\": \"uint8\",\n"
    "    \"bnb_4bit_quant_type\": \"fp4\",\n"
    "    \"bnb_4bit_use_double_quant\": false,\n"
    "    \"llm_int8_enable_fp32_cpu_offload\": false,\n"
    "    \"llm_int8_has_fp16_weight\": false,\n"
    "    \"llm_int8_skip_modules\": [\n"
    "      \"lm_head\",\n"
    "      \"layers.1\",\n"
    "      \"\\u00e4\"\n"
    "    ],\n"
    "    \"llm_int8_threshold\": 6.0,\n"
    "    \"load_in_4bit\": true,\n"
    "    \"load_in_8bit\": false,\n"
    "    \"quant_method\": \"bitsandbytes\"\n"
    "  },\n"
    "  \"rms_norm_eps\": 1e-05,\n"
    "  \"rope_theta\": 10000.0,\n"
    "  \"small\": 0.02,\n"
    "  \"tie_word_embeddings\": true,\n"
    "  \"torch_dtype\": \"bfloat16\",\n"
    "  \"vocab_size\": 30\n"
    "}\n";

static void config__is_written_as_python_would(void **state)
{
    static const char *const skip[] = {"layers.1", "\xC3\xA4"};
    const toy_folder how = {.dtype = QL_DTYPE_BF16};
    ql_quantize_options o;
    char *text;

    (void)state;
    options(&o);
    o.quant.type = QL_QUANT_FP4;
    o.quant.double_quant = false;
    o.skip_modules = skip;
    o.n_skip_modules = 2;
    toy_folder_write(toy_in(), &how);
    check_ok(ql_quantize_model(toy_in(), toy_out(), &o, NULL));
    text = toy_read(toy_out(), "config.json");
    assert_string_equal(text, expected_config);
    ql_free(text);
}

static void other_files__are_carried_over(void **state)
{
    static const char *const carried[] = {"tokenizer.json", "README.md",
                                          "tokenizer.model", "LICENSE"};
    static const char *const left[] = {
        "pytorch_model.bin",        ".hidden",     "model.gguf",
        "flax_model.msgpack",       "tf_model.h5", "consolidated.00.pth",
        "pytorch_model.index.json", "a.part"};
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    char folder[PATH_BYTES];
    ql_quantize_options o;

    (void)state;
    options(&o);
    toy_folder_write(toy_in(), &how);
    for (size_t i = 0; i < 4; i++) {
        toy_write(toy_in(), carried[i], carried[i]);
    }
    for (size_t i = 0; i < 8; i++) {
        toy_write(toy_in(), left[i], left[i]);
    }
    snprintf(folder, sizeof(folder), "%.4000s/original", toy_in());
    check_ok(ql_dir_make(folder));
    check_ok(ql_quantize_model(toy_in(), toy_out(), &o, NULL));
    for (size_t i = 0; i < 4; i++) {
        char *text = toy_read(toy_out(), carried[i]);

        assert_string_equal(text, carried[i]);
        ql_free(text);
    }
    for (size_t i = 0; i < 8; i++) {
        assert_false(toy_has(toy_out(), left[i]));
    }
    assert_false(toy_has(toy_out(), "original"));
}

static void report__has_the_right_numbers(void **state)
{
    const toy_folder how = {.dtype = QL_DTYPE_F16, .untied = true};
    ql_quantize_options o;
    ql_quantize_report r;
    uint64_t before = 0;
    uint64_t after = 0;

    (void)state;
    options(&o);
    o.verify = true;
    toy_folder_write(toy_in(), &how);
    check_ok(ql_quantize_model(toy_in(), toy_out(), &o, &r));
    assert_int_equal(r.bytes_before, toy_tensor_bytes(toy_in()));
    assert_int_equal(r.bytes_after, toy_tensor_bytes(toy_out()));
    assert_int_equal(r.shards, 1);
    assert_int_equal(r.n_groups, MODULES + 1);
    assert_string_equal(r.groups[0].name, "self_attn.q_proj");
    assert_int_equal(r.groups[0].elements, 2 * TOY_QKV * TOY_C);
    assert_string_equal(r.groups[MODULES].name, "kept");
    for (size_t i = 0; i < r.n_groups; i++) {
        const ql_quantize_group *g = &r.groups[i];
        const bool kept = i == MODULES;

        before += g->bytes_before;
        after += g->bytes_after;
        assert_int_equal(g->tensors, kept ? 7 : 2);
        assert_int_equal(g->bytes_before, 2 * g->elements);
        assert_true(kept ? g->rms_error == 0 && g->max_error == 0
                         : g->rms_error > 0.01 && g->rms_error < 0.12 &&
                               g->max_error > g->rms_error &&
                               g->max_error < 0.2);
    }
    assert_int_equal(before, r.bytes_before);
    assert_int_equal(after, r.bytes_after);
    ql_quantize_report_free(&r);
    assert_null(r.groups);
}

static void dry_run__tells_the_sizes_and_writes_nothing(void **state)
{
    const toy_folder how = {.dtype = QL_DTYPE_BF16, .files = 2};
    ql_quantize_options o;
    ql_quantize_report dry;
    ql_quantize_report wet;

    (void)state;
    options(&o);
    o.force = false;
    o.max_shard_bytes = 3000;
    toy_folder_write(toy_in(), &how);
    check_ok(ql_dir_remove(toy_out()));
    o.dry_run = true;
    check_ok(ql_quantize_model(toy_in(), toy_out(), &o, &dry));
    assert_false(ql_path_exists(toy_out()));
    toy_check_no_rest();
    o.dry_run = false;
    check_ok(ql_quantize_model(toy_in(), toy_out(), &o, &wet));
    assert_int_equal(dry.bytes_after, wet.bytes_after);
    assert_int_equal(dry.bytes_before, wet.bytes_before);
    assert_int_equal(dry.shards, wet.shards);
    for (size_t i = 0; i < dry.n_groups; i++) {
        assert_int_equal(dry.groups[i].bytes_after, wet.groups[i].bytes_after);
        assert_true(dry.groups[i].rms_error == 0);
    }
    ql_quantize_report_free(&dry);
    ql_quantize_report_free(&wet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors__are_what_the_codec_gives),
        cmocka_unit_test(loading__is_the_same_before_and_after),
        cmocka_unit_test(head__that_is_the_embedding_is_dropped),
        cmocka_unit_test(skipped_modules__follow_the_rule_of_transformers),
        cmocka_unit_test(shards__are_cut_and_indexed),
        cmocka_unit_test(config__is_written_as_python_would),
        cmocka_unit_test(other_files__are_carried_over),
        cmocka_unit_test(report__has_the_right_numbers),
        cmocka_unit_test(dry_run__tells_the_sizes_and_writes_nothing),
    };

    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
