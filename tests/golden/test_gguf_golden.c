/* GGUF files against those of llama.cpp's own converters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qlora/export.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/note.h"
#include "src/convert/gguf_arch.h"
#include "src/convert/gguf_model.h"
#include "src/format/gguf.h"
#include "src/format/names.h"
#include "src/format/safetensors.h"
#include "src/model/config.h"
#include "tests/check/check.h"
#include "tests/check/sha256.h"
#include "tests/check/toy_adapter.h"
#include "tests/golden/lost_bias.h"

enum {
    PATH_BYTES = 4300,
    MAX_FILE = 1 << 24
};

static char out[PATH_BYTES];
static char adapter[PATH_BYTES];
static char merged[PATH_BYTES];

/* golden/GROUP/NAME */
static const char *golden(const char *group, const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "golden/%s/%s", group, name);
    return check_shared(path);
}

/* A golden model, whole. */
static const char *golden_model(const char *name)
{
    const char *dir = golden("models", name);

    return lost_bias_is(dir) ? lost_bias_copy(dir) : dir;
}

static void check_same_file(const char *got_path, const char *want_path)
{
    char *got;
    char *want;
    size_t n;
    size_t m;

    check_ok(ql_file_read(got_path, MAX_FILE, &got, &n));
    check_ok(ql_file_read(want_path, MAX_FILE, &want, &m));
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++) {
        if (got[i] != want[i]) {
            fail_msg("%s: byte %zu differs", want_path, i);
        }
    }
    ql_free(got);
    ql_free(want);
}

static const struct {
    const char *dir, *model;
} adapters[] = {
    {"llama2", "llama2"},
    {"llama2_embhead", "llama2"},
    {"llama3_gqa_tied_rope31", "llama3_gqa_tied_rope31"},
    {"mistral_swa4", "mistral_swa4"},
    {"qwen2", "qwen2"},
    {"qwen3", "qwen3"},
    {"gemma1", "gemma1"},
    {"gemma2", "gemma2"},
    {"gemma3_text", "gemma3_text"},
    {"phi3", "phi3"},
    {"gpt_neox", "gpt_neox"},
    {"olmo2", "olmo2"},
    {"smollm3_nope", "smollm3_nope"},
};

static void adapters__are_equal_to_the_byte(void **state)
{
    ql_export_options o;

    (void)state;
    ql_export_options_init(&o);
    o.force = true;
    for (size_t i = 0; i < sizeof(adapters) / sizeof(adapters[0]); i++) {
        char want[PATH_BYTES];
        ql_export_report report;

        print_message("%s\n", adapters[i].dir);
        snprintf(want, sizeof(want), "%.4000s/adapter.f32.gguf",
                 golden("gguf", adapters[i].dir));
        check_ok(ql_export_gguf_adapter(golden("models", adapters[i].model),
                                        golden("gguf", adapters[i].dir), out,
                                        &o, &report));
        check_same_file(out, want);
        assert_int_equal(report.tensors, 2 * report.merged);
    }
}

/* llama.cpp's converter turns both halves of a pair of GPT-2, which llama.cpp
 * then refuses: here they are as they fit its weights. */
static void adapters__of_gpt2_are_not_turned(void **state)
{
    static const char name[] =
        "base_model.model.transformer.h.1.attn.c_attn.lora_B.weight";
    ql_export_options o;
    ql_safetensors *f = NULL;
    ql_gguf *g = NULL;
    const ql_tensor *want;
    char path[PATH_BYTES];
    size_t seen = 0;

    (void)state;
    ql_export_options_init(&o);
    o.force = true;
    check_ok(ql_export_gguf_adapter(golden("models", "gpt2"),
                                    golden("gguf", "gpt2"), out, &o, NULL));
    check_ok(ql_gguf_open(&g, out));
    snprintf(path, sizeof(path), "%.4000s/adapter_model.safetensors",
             golden("gguf", "gpt2"));
    check_ok(ql_safetensors_open(&f, path));
    want = ql_safetensors_find(f, name);
    for (size_t i = 0; i < ql_gguf_tensors(g); i++) {
        const ql_gguf_tensor *t = ql_gguf_tensor_at(g, i);

        if (strcmp(t->name, "blk.1.attn_qkv.weight.lora_a") == 0) {
            assert_true(t->ne[0] == 64 && t->ne[1] == 4);
            seen++;
        } else if (strcmp(t->name, "blk.1.attn_qkv.weight.lora_b") == 0) {
            assert_true(t->ne[0] == 4 && t->ne[1] == 192);
            assert_memory_equal(t->data, want->data, want->bytes);
            seen++;
        }
    }
    assert_int_equal(seen, 2);
    ql_safetensors_close(&f);
    ql_gguf_close(&g);
}

/* The tensor of a pair, in f32. Owned: free. */
static float *tensor_of(const ql_gguf *g, const char *name, size_t *n)
{
    for (size_t i = 0; i < ql_gguf_tensors(g); i++) {
        const ql_gguf_tensor *t = ql_gguf_tensor_at(g, i);

        if (strcmp(t->name, name) == 0) {
            float *x = malloc(t->bytes);

            assert_int_equal(t->type, QL_GGUF_F32);
            memcpy(x, t->data, t->bytes);
            *n = t->elements;
            return x;
        }
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

static double alpha_of(const ql_gguf *g)
{
    const ql_gguf_value *v = ql_gguf_find(g, "adapter.lora.alpha");
    float alpha;

    assert_true(v && v->kind == QL_GGUF_FLOAT32);
    memcpy(&alpha, v->data, sizeof(alpha));
    return (double)alpha;
}

/* What llama.cpp will multiply B A by, times B, is PEFT's scale times B. */
static void scales__are_those_of_peft(void **state)
{
    static const struct {
        const char *variant, *module, *gguf;
        double scale;
        size_t r;
    } cases[] = {
        {"lora", "mlp.up_proj", "ffn_up", 8 / 4.0, 4},
        {"lora_rslora", "mlp.up_proj", "ffn_up", 8 / 2.0, 4},
        {"lora_patterns", "mlp.up_proj", "ffn_up", 8 / 4.0, 4},
        {"lora_patterns", "self_attn.v_proj", "attn_v", 8 / 8.0, 8},
    };
    ql_export_options o;

    (void)state;
    ql_export_options_init(&o);
    o.force = true;
    for (size_t i = 0; i < 4; i++) {
        char path[PATH_BYTES + 64];
        char name[128];
        ql_safetensors *f = NULL;
        ql_gguf *g = NULL;
        const ql_tensor *t;
        float *want;
        float *got;
        size_t n = 0;

        toy_golden_adapter(adapter, "llama2", cases[i].variant);
        check_ok(ql_export_gguf_adapter(golden("models", "llama2"), adapter,
                                        out, &o, NULL));
        check_ok(ql_gguf_open(&g, out));
        snprintf(path, sizeof(path), "%s/adapter_model.safetensors", adapter);
        check_ok(ql_safetensors_open(&f, path));
        snprintf(name, sizeof(name),
                 "base_model.model.model.layers.1.%s.lora_B.weight",
                 cases[i].module);
        t = ql_safetensors_find(f, name);
        want = malloc(t->bytes);
        check_ok(ql_tensor_to_f32(want, t));
        snprintf(name, sizeof(name), "blk.1.%s.weight.lora_b", cases[i].gguf);
        got = tensor_of(g, name, &n);
        assert_int_equal(n, t->elements);
        for (size_t k = 0; k < n; k++) {
            const double is = alpha_of(g) / (double)cases[i].r * (double)got[k];
            const double should = cases[i].scale * (double)want[k];

            assert_true(fabs(is - should) <= 1e-6 * fabs(should));
        }
        free(want);
        free(got);
        ql_safetensors_close(&f);
        ql_gguf_close(&g);
    }
}

/* An adapter of the embedding [128, 64] alone. */
static void write_embedding_adapter(void)
{
    static const toy_tensor t[] = {
        {.name = "base_model.model.model.embed_tokens.lora_embedding_A",
         .shape = {2, 128}},
        {.name = "base_model.model.model.embed_tokens.lora_embedding_B",
         .shape = {64, 2}},
    };
    char path[PATH_BYTES + 64];

    check_ok(ql_dir_remove(adapter));
    check_ok(ql_dir_make(adapter));
    snprintf(path, sizeof(path), "%s/adapter_model.safetensors", adapter);
    toy_tensors_write(path, t, 2);
    toy_json_write(adapter, "adapter_config.json", "{'r': 2}");
}

/* What a refusal names is what works: a GGUF file of the merged model, or, for
 * models whose head is always the embedding there, a folder. */
static void check_advice(const char *model, bool gguf)
{
    const ql_gguf_model_job what = {
        .model = model, .adapter = adapter, .trained = adapter, .out = out};
    ql_export_options o;
    ql_export_report report;

    ql_export_options_init(&o);
    o.force = true;
    assert_int_equal(strstr(ql_last_error(), "qlora-export gguf") != NULL,
                     gguf);
    assert_non_null(
        strstr(ql_last_error(), gguf ? ", or merge)" : "(qlora-export merge)"));
    if (gguf) {
        check_ok(ql_gguf_model_write(&what, &o, &report));
        check_ok(ql_dir_remove(out));
        remove(out);
    } else {
        check_fails(ql_gguf_model_write(&what, &o, &report), QL_EUNSUPPORTED,
                    "; qlora-export merge writes a folder");
        assert_false(ql_path_exists(out));
    }
    check_ok(ql_export_merge(model, adapter, merged, &o, &report));
    assert_true(report.merged > 0);
}

static void refuse(const char *model, const char *say, bool gguf)
{
    char dir[PATH_BYTES];
    ql_export_options o;

    print_message("%s: %s\n", model, say);
    ql_export_options_init(&o);
    snprintf(dir, sizeof(dir), "%s", golden_model(model));
    check_fails(ql_export_gguf_adapter(dir, adapter, out, &o, NULL),
                QL_EUNSUPPORTED, say);
    assert_false(ql_path_exists(out));
    check_advice(dir, gguf);
}

static void adapters__that_cannot_be_said_are_refused(void **state)
{
    static const char *const tied[] = {"llama3_gqa_tied_rope31", "qwen3",
                                       "gemma3_text", "gemma1", "gemma2"};
    ql_export_options o;

    (void)state;
    remove(out);
    toy_golden_adapter(adapter, "llama2", "lora_dora");
    refuse("llama2", "DoRA", true);
    toy_golden_adapter(adapter, "llama2", "lora_modsave");
    refuse("llama2", "lm_head.weight cannot be said", true);
    toy_golden_adapter(adapter, "gpt2", "lora_dora");
    refuse("gpt2", "DoRA", true);
    write_embedding_adapter();
    for (size_t i = 0; i < sizeof(tied) / sizeof(tied[0]); i++) {
        ql_config c;

        check_ok(ql_config_init(&c, golden("models", tied[i])));
        if (c.tied) {
            refuse(tied[i], "that is the head, too", i < 3);
        }
        ql_config_free(&c);
    }
    ql_export_options_init(&o);
    check_fails(ql_export_gguf_adapter(golden("models", "qwen2"),
                                       golden("gguf", "llama2"), out, &o, NULL),
                QL_EMISMATCH, "made for another model");
}

/* Values of the file, but for the name, are those of the manifest, in its
 * order. */
static void check_values(const ql_gguf *g, const json_t *kv)
{
    size_t k = 0;

    for (size_t i = 0; i < ql_gguf_values(g); i++) {
        const ql_gguf_value *v = ql_gguf_value_at(g, i);
        const json_t *want = json_array_get(kv, k);
        const json_t *value = json_array_get(want, 2);

        if (strcmp(v->key, "general.name") == 0) {
            continue;
        }
        assert_string_equal(v->key, json_string_value(json_array_get(want, 0)));
        assert_int_equal(v->kind, json_integer_value(json_array_get(want, 1)));
        if (v->kind == QL_GGUF_STRING) {
            assert_int_equal(v->count, json_string_length(value));
            assert_memory_equal(v->data, json_string_value(value), v->count);
        } else if (v->kind == QL_GGUF_FLOAT32) {
            float f;

            memcpy(&f, v->data, sizeof(f));
            assert_true(f == (float)json_number_value(value));
        } else if (v->kind == QL_GGUF_BOOL) {
            assert_int_equal(v->data[0], json_is_true(value));
        } else {
            uint32_t u;

            assert_int_equal(v->kind, QL_GGUF_UINT32);
            memcpy(&u, v->data, sizeof(u));
            assert_int_equal(u, json_integer_value(value));
        }
        k++;
    }
    assert_int_equal(k, json_array_size(kv));
}

/* The first 16 digits of the sum of a tensor's bytes. */
static void check_sum(const ql_gguf_tensor *t, const char *want)
{
    unsigned char sum[SHA256_BYTES];
    char text[17];

    sha256(t->data, t->bytes, sum);
    for (size_t i = 0; i < 8; i++) {
        snprintf(text + 2 * i, 3, "%02x", sum[i]);
    }
    if (strcmp(text, want) != 0) {
        fail_msg("%s: other bytes", t->name);
    }
}

/* A file of GPT-2 has biases that the golden folder lacks, as does the file
 * that was made of it. */
static void check_tensors(const ql_gguf *g, const json_t *list)
{
    size_t lost = 0;

    for (size_t i = 0; i < ql_gguf_tensors(g); i++) {
        const ql_gguf_tensor *t = ql_gguf_tensor_at(g, i);
        const json_t *want = json_array_get(list, i - lost);
        const json_t *ne = json_array_get(want, 1);

        if (ql_name_ends(t->name, ".attn_qkv.bias") &&
            strcmp(t->name, json_string_value(json_array_get(want, 0))) != 0) {
            lost++;
            continue;
        }

        assert_string_equal(t->name,
                            json_string_value(json_array_get(want, 0)));
        assert_int_equal(t->rank, json_array_size(ne));
        for (size_t k = 0; k < t->rank; k++) {
            assert_int_equal(t->ne[k],
                             json_integer_value(json_array_get(ne, k)));
        }
        assert_int_equal(t->type, json_integer_value(json_array_get(want, 2)));
        if (lost == 0) {
            assert_int_equal(t->offset,
                             json_integer_value(json_array_get(want, 3)));
        }
        check_sum(t, json_string_value(json_array_get(want, 4)));
    }
    assert_int_equal(ql_gguf_tensors(g) - lost, json_array_size(list));
}

static void models__are_those_of_the_manifest(void **state)
{
    const ql_gguf_model_job file = {.out = out};
    size_t n = 0;
    json_t *root;
    const char *key;
    json_t *want;

    (void)state;
    check_ok(
        ql_json_load(&root, golden("gguf", "merged_manifest.json"), MAX_FILE));
    json_object_foreach(root, key, want)
    {
        const size_t len = strlen(key) - strlen(".f32");
        ql_gguf_model_job what = file;
        ql_export_options o;
        ql_export_report report;
        ql_gguf *g = NULL;
        char model[64];
        char dir[PATH_BYTES];

        snprintf(model, sizeof(model), "%.*s", (int)len, key);
        print_message("%s\n", key);
        snprintf(dir, sizeof(dir), "%s", golden_model(model));
        what.model = dir;
        ql_export_options_init(&o);
        o.force = true;
        o.type = strcmp(key + len, ".f32") == 0 ? QL_EXPORT_TYPE_F32
                                                : QL_EXPORT_TYPE_F16;
        check_ok(ql_gguf_model_write(&what, &o, &report));
        check_ok(ql_gguf_open(&g, out));
        check_values(g, json_object_get(want, "kv"));
        check_tensors(g,
                      json_object_get(want, "tensors[name,ne,ggml_type,offset,"
                                            "sha256_16]"));
        ql_gguf_close(&g);
        n++;
    }
    json_decref(root);
    assert_int_equal(n, 28);
}

/* A tensor is that of the same name in a file in F32, rounded. */
static void check_rounded(const ql_gguf_tensor *t, const ql_gguf *wide)
{
    size_t n = 0;
    float *x = tensor_of(wide, t->name, &n);

    assert_int_equal(n, t->elements);
    for (size_t i = 0; i < n; i += QL_GGUF_Q8_BLOCK) {
        unsigned char want[QL_GGUF_Q8_BLOCK * sizeof(float)];
        const size_t left = n - i < QL_GGUF_Q8_BLOCK ? n - i : QL_GGUF_Q8_BLOCK;
        const size_t bytes = ql_gguf_bytes(t->type, left);

        assert_true(ql_gguf_pack(t->type, want, x + i, left));
        assert_memory_equal(t->data + i / QL_GGUF_Q8_BLOCK * bytes, want,
                            bytes);
    }
    free(x);
}

/* Of the types that the manifest has no file of: all matrices are of that type,
 * block by block; test_gguf.c has how a block is rounded. */
static void models__in_other_types_are_those_in_f32(void **state)
{
    static const struct {
        ql_export_type type;
        ql_gguf_type matrix;
        uint32_t file_type;
    } cases[] = {
        {QL_EXPORT_TYPE_BF16, QL_GGUF_BF16, 32},
        {QL_EXPORT_TYPE_Q8_0, QL_GGUF_Q8_0, 7},
    };
    char wide_path[PATH_BYTES];

    (void)state;
    snprintf(wide_path, sizeof(wide_path), "%s", check_tmp_path("wide.gguf"));
    for (size_t i = 0; i < 2 * sizeof(adapters) / sizeof(adapters[0]); i++) {
        const size_t k = i % 2;
        ql_gguf_model_job what = {.out = wide_path};
        ql_export_options o;
        ql_export_report report;
        ql_gguf *wide = NULL;
        ql_gguf *g = NULL;
        const ql_gguf_value *v;
        char dir[PATH_BYTES];
        uint32_t type = 0;
        size_t matrices = 0;

        snprintf(dir, sizeof(dir), "%s",
                 golden("models", adapters[i / 2].model));
        what.model = dir;
        ql_export_options_init(&o);
        o.force = true;
        o.type = QL_EXPORT_TYPE_F32;
        check_ok(ql_gguf_model_write(&what, &o, &report));
        what.out = out;
        o.type = cases[k].type;
        check_ok(ql_gguf_model_write(&what, &o, &report));
        check_ok(ql_gguf_open(&wide, wide_path));
        check_ok(ql_gguf_open(&g, out));
        assert_int_equal(ql_gguf_tensors(g), ql_gguf_tensors(wide));
        for (size_t j = 0; j < ql_gguf_tensors(g); j++) {
            const ql_gguf_tensor *t = ql_gguf_tensor_at(g, j);

            assert_int_equal(t->type,
                             t->rank < 2 ? QL_GGUF_F32 : cases[k].matrix);
            matrices += t->rank == 2;
            check_rounded(t, wide);
        }
        assert_true(matrices > 8);
        v = ql_gguf_find(g, "general.file_type");
        assert_true(v || strcmp(adapters[i / 2].model, "gpt_neox") == 0);
        if (v) {
            memcpy(&type, v->data, sizeof(type));
            assert_int_equal(type, cases[k].file_type);
        }
        ql_gguf_close(&wide);
        ql_gguf_close(&g);
    }
}

static char notes[4096];

static void keep_note(ql_note_kind kind, const char *text, void *user)
{
    const size_t n = strlen(notes);

    (void)user;
    assert_int_equal(kind, QL_NOTE_WARNING);
    snprintf(notes + n, sizeof(notes) - n, "%s\n", text);
}

/* The doubts about c, one a line. Borrowed. */
static const char *doubts_of(const ql_config *c)
{
    const ql_gguf_arch *arch;

    check_ok(ql_gguf_arch_find(&arch, c));
    notes[0] = '\0';
    ql_note_set(keep_note, NULL);
    ql_gguf_arch_doubts(arch, c);
    ql_note_set(NULL, NULL);
    return notes;
}

/* A family that llama.cpp computes as it is gives no doubt; one whose
 * activation is another, does. */
static void doubts__are_about_what_differs(void **state)
{
    static const struct {
        const char *model;
        ql_act other;
        const char *say;
    } cases[] = {
        {"llama2", QL_ACT_GELU, "llama.cpp computes silu where"},
        {"qwen2", QL_ACT_GELU_TANH, "llama.cpp computes silu where"},
        {"qwen3", QL_ACT_GELU, "llama.cpp computes silu where"},
        {"gemma1", QL_ACT_SILU, "llama.cpp computes gelu where"},
        {"gemma2", QL_ACT_SILU, "llama.cpp computes gelu where"},
        {"gemma3_text", QL_ACT_SILU, "llama.cpp computes gelu where"},
        {"phi3", QL_ACT_GELU, "llama.cpp computes silu where"},
        {"gpt2", QL_ACT_SILU, "llama.cpp computes gelu where"},
        {"gpt_neox", QL_ACT_SILU, "llama.cpp computes gelu where"},
        {"olmo2", QL_ACT_GELU, "llama.cpp computes silu where"},
        {"smollm3_nope", QL_ACT_GELU, "llama.cpp computes silu where"},
    };
    static const char *const plain[] = {"llama2", "qwen2",    "qwen3", "gemma1",
                                        "gpt2",   "gpt_neox", "olmo2"};
    ql_config c;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("%s\n", cases[i].model);
        check_ok(ql_config_init(&c, golden("models", cases[i].model)));
        assert_null(strstr(doubts_of(&c), "llama.cpp computes"));
        c.act = cases[i].other;
        assert_non_null(strstr(doubts_of(&c), cases[i].say));
        ql_config_free(&c);
    }
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        check_ok(ql_config_init(&c, golden("models", plain[i])));
        assert_string_equal(doubts_of(&c), "");
        ql_config_free(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapters__are_equal_to_the_byte),
        cmocka_unit_test(adapters__of_gpt2_are_not_turned),
        cmocka_unit_test(models__are_those_of_the_manifest),
        cmocka_unit_test(models__in_other_types_are_those_in_f32),
        cmocka_unit_test(scales__are_those_of_peft),
        cmocka_unit_test(doubts__are_about_what_differs),
        cmocka_unit_test(adapters__that_cannot_be_said_are_refused),
    };

    check_need_shared();
    snprintf(out, sizeof(out), "%s", check_tmp_path("out.gguf"));
    snprintf(adapter, sizeof(adapter), "%s", check_tmp_path("adapter"));
    snprintf(merged, sizeof(merged), "%s", check_tmp_path("merged"));
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
