/* Folders that have projections fused where their architecture has them apart,
 * or apart where it has them fused: what is computed, quantized and merged is
 * the same as of the folders that they are told from. */
#include <stdio.h>
#include <string.h>

#include "qlora/export.h"
#include "src/base/alloc.h"
#include "src/convert/adapter_make.h"
#include "src/model/run.h"
#include "tests/check/check.h"
#include "tests/check/toy_adapter.h"
#include "tests/golden/matches.h"
#include "tests/golden/reference.h"
#include "tests/golden/rewrite.h"

static const char qkv[] = "self_attn.q_proj self_attn.k_proj self_attn.v_proj";
static const char gate_up[] = "mlp.gate_proj mlp.up_proj";

/* The golden folders, each told in two goes. */
static const struct {
    const char *name;
    rewrite how[2];
} folders[] = {
    {"phi3",
     {{.whole = "self_attn.qkv_proj", .parts = qkv, .rows = {64, 32, 32}},
      {.whole = "mlp.gate_up_proj", .parts = gate_up, .rows = {128, 128}}}},
    {"phi3_longrope_long",
     {{.whole = "self_attn.qkv_proj", .parts = qkv, .rows = {64, 32, 32}},
      {.from = "model.", .to = ""}}},
    {"llama2",
     {{.whole = "self_attn.qkv_proj", .parts = qkv},
      {.whole = "mlp.gate_up_proj", .parts = gate_up}}},
    {"llama_linear_rope_bias_headdim",
     {{.whole = "self_attn.W_pack", .parts = qkv},
      {.whole = "mlp.gate_up_proj", .parts = gate_up}}},
    {"qwen2",
     {{.whole = "self_attn.qkv_proj", .parts = qkv},
      {.from = "model.", .to = ""}}},
    {"gemma2",
     {{.whole = "self_attn.qkv_proj", .parts = qkv},
      {.whole = "mlp.gate_up_proj", .parts = gate_up}}},
};

enum {
    FOLDERS = sizeof(folders) / sizeof(folders[0])
};

static const char *golden(size_t i)
{
    char path[200];

    snprintf(path, sizeof(path), "golden/models/%s", folders[i].name);
    return check_shared(path);
}

/* Borrowed; told anew by each call. */
static const char *told(size_t i)
{
    static char dir[4200];
    char half[4200];

    snprintf(dir, sizeof(dir), "%s", check_tmp_path("told"));
    snprintf(half, sizeof(half), "%s", check_tmp_path("half"));
    rewrite_folder(golden(i), half, &folders[i].how[0]);
    rewrite_folder(half, dir, &folders[i].how[1]);
    return dir;
}

static void folders__compute_what_the_reference_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < FOLDERS; i++) {
        print_message("%s\n", folders[i].name);
        matches_reference(told(i));
    }
}

/* Fails unless both folders hold the same tensors; names in one may lack what
 * those of models without a head lack. */
static void check_same(const char *got, const char *want)
{
    ql_safetensors *g = NULL;
    ql_safetensors *w = NULL;

    check_ok(ql_safetensors_open(&g, reference_path(got, "model.safetensors")));
    check_ok(
        ql_safetensors_open(&w, reference_path(want, "model.safetensors")));
    assert_int_equal(ql_safetensors_count(g), ql_safetensors_count(w));
    for (size_t i = 0; i < ql_safetensors_count(w); i++) {
        const ql_tensor *t = ql_safetensors_at(w, i);
        const ql_tensor *u = ql_safetensors_find(g, t->name);
        const char *dot = strchr(t->name, '.');

        u = u ? u : ql_safetensors_find(g, dot + 1);
        if (!u || u->dtype != t->dtype || u->bytes != t->bytes ||
            memcmp(u->shape, t->shape, t->rank * sizeof(*t->shape)) != 0 ||
            memcmp(u->data, t->data, t->bytes) != 0) {
            fail_msg("%s: %s", got, t->name);
        }
    }
    ql_safetensors_close(&g);
    ql_safetensors_close(&w);
}

static void quantized_folders__have_the_names_of_the_architecture(void **state)
{
    static const char *const kept[] = {"self_attn"};
    char a[4200];
    char b[4200];
    ql_quantize_options opt;

    (void)state;
    snprintf(a, sizeof(a), "%s", check_tmp_path("quantized"));
    snprintf(b, sizeof(b), "%s", check_tmp_path("wanted"));
    ql_quantize_options_init(&opt);
    opt.force = opt.verify = true;
    opt.skip_modules = kept;
    for (size_t i = 0; i < FOLDERS; i++) {
        for (opt.n_skip_modules = 0; opt.n_skip_modules < 2;
             opt.n_skip_modules++) {
            check_ok(ql_quantize_model(told(i), a, &opt, NULL));
            check_ok(ql_quantize_model(golden(i), b, &opt, NULL));
            check_same(a, b);
        }
    }
}

static void merged_folders__have_them_too(void **state)
{
    char adapter[4200];
    char a[4200];
    char b[4200];
    ql_export_options opt;

    (void)state;
    snprintf(adapter, sizeof(adapter), "%s", check_tmp_path("adapter"));
    snprintf(a, sizeof(a), "%s", check_tmp_path("merged"));
    snprintf(b, sizeof(b), "%s", check_tmp_path("wanted"));
    ql_export_options_init(&opt);
    opt.force = true;
    for (size_t i = 0; i < FOLDERS; i++) {
        for (int base = 0; base < 2; base++) {
            opt.base =
                base ? QL_EXPORT_BASE_DEQUANTIZED : QL_EXPORT_BASE_ORIGINAL;
            toy_golden_adapter(adapter, folders[i].name, "lora");
            check_ok(ql_export_merge(told(i), adapter, a, &opt, NULL));
            check_ok(ql_export_merge(golden(i), adapter, b, &opt, NULL));
            check_same(a, b);
        }
    }
}

/* What a training of dir begins with. Owned: ql_adapter_free. */
static ql_adapter begin(const char *dir, const ql_train_options *o)
{
    ql_model_options how;
    ql_model *m = NULL;
    ql_adapter a;

    ql_model_options_init(&how);
    how.quantize = o->method != QL_METHOD_FULL;
    check_ok(ql_model_open(&m, dir, &how));
    check_ok(ql_adapter_make(&a, &m->config, &m->weights, o, 7, true));
    ql_model_close(&m);
    return a;
}

static void trainings__begin_with_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * FOLDERS; i++) {
        ql_train_options o;
        ql_adapter a;
        ql_adapter b;

        ql_train_options_init(&o);
        o.lora_r = 4;
        if (i % 2 == 0) {
            o.method = QL_METHOD_FULL;
        } else {
            o.init_lora_weights = "pissa";
        }
        a = begin(told(i / 2), &o);
        b = begin(golden(i / 2), &o);
        assert_int_equal(a.count, b.count);
        assert_memory_equal(a.param, b.param, a.count * sizeof(*a.param));
        ql_adapter_free(&a);
        ql_adapter_free(&b);
    }
}

static ql_status open_folder(const char *dir, bool quantize)
{
    ql_model_options how;
    ql_model *m = NULL;
    ql_status st;

    ql_model_options_init(&how);
    how.quantize = quantize;
    st = ql_model_open(&m, dir, &how);
    ql_model_close(&m);
    return st;
}

static void memory__may_run_out_at_any_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        const char *dir = told(i / 2 * 2); /* phi3 and llama2 */
        const size_t before = ql_alloc_bytes(QL_TAG_COUNT);
        bool ok = false;

        for (long n = 0; !ok; n++) {
            ok = check_lacking(n, open_folder(dir, i % 2 == 0));
            assert_int_equal(ql_alloc_bytes(QL_TAG_COUNT), before);
        }
    }
}

/* What is no projection of the model is refused by its name. */
static const struct {
    const char *name;
    rewrite how;
    ql_status status;
    const char *part, *sentence;
} refused[] = {
    {"golden/models/phi3",
     {.whole = "self_attn.qkv_proj", .parts = qkv, .rows = {32, 64, 32}},
     QL_EFORMAT,
     "0.self_attn.q_proj.weight: ",
     "it has 32 rows, but config.json needs 64"},
    {"golden/models/phi3",
     {.whole = "self_attn.qkv_proj",
      .parts = "self_attn.q_proj self_attn.k_proj self_attn.x_proj",
      .rows = {64, 32, 32}},
     QL_EUNSUPPORTED,
     "0.self_attn.k_proj.weight: ",
     "has this projection in"},
    {"golden/models/llama2",
     {.whole = "self_attn.qkv_proj",
      .parts = "self_attn.q_proj self_attn.k_proj"},
     QL_EUNSUPPORTED,
     "0.self_attn.qkv_proj.weight: ",
     "has this projection in"},
    {"golden/models/llama2",
     {.whole = "mlp.gate_up_proj", .parts = "mlp.gate_proj self_attn.k_proj"},
     QL_EUNSUPPORTED,
     "0.mlp.gate_up_proj.weight: ",
     "has this projection in"},
    {"golden/models/mistral_swa4",
     {.whole = "mlp.gate_up_proj",
      .parts = "mlp.gate_proj self_attn.q_proj mlp.up_proj"},
     QL_EFORMAT,
     "0.mlp.gate_up_proj.weight: ",
     "config.json needs"},
    {"golden/qlora/llama2_nf4_nodq_f32",
     {.from = "model.layers.0.mlp.gate_proj.",
      .to = "model.layers.0.mlp.gate_up_proj."},
     QL_EUNSUPPORTED,
     "0.mlp.gate_up_proj.weight: ",
     "has this projection in"},
};

static void others__are_refused_by_name(void **state)
{
    const char *dir = check_tmp_path("told");

    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        rewrite_folder(check_shared(refused[i].name), dir, &refused[i].how);
        check_failed(open_folder(dir, true), refused[i].status,
                     refused[i].sentence, refused[i].part);
        assert_non_null(strstr(ql_last_error(), refused[i].part));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders__compute_what_the_reference_does),
        cmocka_unit_test(quantized_folders__have_the_names_of_the_architecture),
        cmocka_unit_test(merged_folders__have_them_too),
        cmocka_unit_test(trainings__begin_with_the_same),
        cmocka_unit_test(memory__may_run_out_at_any_time),
        cmocka_unit_test(others__are_refused_by_name),
    };

    check_need_shared();
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
