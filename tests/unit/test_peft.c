/* The PEFT folder: its text to the byte, its tensors, and all that is refused
 * rather than misunderstood. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qlora/train.h"
#include "src/base/file.h"
#include "src/base/note.h"
#include "src/convert/adapter_make.h"
#include "src/convert/peft.h"
#include "src/model/model_handle.h"
#include "tests/check/check.h"
#include "tests/check/toy.h"
#include "tests/check/toy_folder.h"

enum {
    PATH_BYTES = 4200,
    MAX_FILE = 1 << 20
};

static ql_config toy;

static const char *folder(void)
{
    static char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%.4000s", check_tmp_path("adapter"));
    check_ok(ql_dir_make(path));
    return path;
}

static const char *file(const char *name)
{
    static char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%.4000s/%s", folder(), name);
    return path;
}

static ql_adapter adapter(const ql_train_options *opt)
{
    static ql_weights none;
    ql_adapter a;

    check_ok(ql_adapter_make(&a, &toy, &none, opt, 3, false));
    check_fill(a.param, a.count, 31);
    return a;
}

static void check_text(const char *name, const char *want)
{
    char *text;
    size_t n;

    check_ok(ql_file_read(file(name), MAX_FILE, &text, &n));
    assert_string_equal(text, want);
    assert_int_equal(n, strlen(want));
    ql_free(text);
}

static const char config_of_all[] =
    "{\n"
    "  \"alpha_pattern\": {},\n"
    "  \"auto_mapping\": null,\n"
    "  \"base_model_name_or_path\": \"models/\\u00fc \\\"b\\\"\",\n"
    "  \"bias\": \"none\",\n"
    "  \"fan_in_fan_out\": false,\n"
    "  \"inference_mode\": true,\n"
    "  \"init_lora_weights\": true,\n"
    "  \"layers_pattern\": null,\n"
    "  \"layers_to_transform\": null,\n"
    "  \"lora_alpha\": 16,\n"
    "  \"lora_dropout\": 0.05,\n"
    "  \"modules_to_save\": null,\n"
    "  \"peft_type\": \"LORA\",\n"
    "  \"r\": 3,\n"
    "  \"rank_pattern\": {},\n"
    "  \"revision\": null,\n"
    "  \"target_modules\": [\n"
    "    \"down_proj\",\n"
    "    \"gate_proj\",\n"
    "    \"k_proj\",\n"
    "    \"o_proj\",\n"
    "    \"q_proj\",\n"
    "    \"up_proj\",\n"
    "    \"v_proj\"\n"
    "  ],\n"
    "  \"task_type\": \"CAUSAL_LM\",\n"
    "  \"use_dora\": false,\n"
    "  \"use_rslora\": false\n"
    "}";

static const char config_of_two[] = "{\n"
                                    "  \"alpha_pattern\": {},\n"
                                    "  \"auto_mapping\": null,\n"
                                    "  \"base_model_name_or_path\": \"x\",\n"
                                    "  \"bias\": \"none\",\n"
                                    "  \"fan_in_fan_out\": false,\n"
                                    "  \"inference_mode\": true,\n"
                                    "  \"init_lora_weights\": true,\n"
                                    "  \"layers_pattern\": null,\n"
                                    "  \"layers_to_transform\": null,\n"
                                    "  \"lora_alpha\": 0.5,\n"
                                    "  \"lora_dropout\": 0.0,\n"
                                    "  \"modules_to_save\": null,\n"
                                    "  \"peft_type\": \"LORA\",\n"
                                    "  \"r\": 1,\n"
                                    "  \"rank_pattern\": {},\n"
                                    "  \"revision\": null,\n"
                                    "  \"target_modules\": [\n"
                                    "    \"q_proj\",\n"
                                    "    \"v_proj\"\n"
                                    "  ],\n"
                                    "  \"task_type\": \"CAUSAL_LM\",\n"
                                    "  \"use_dora\": false,\n"
                                    "  \"use_rslora\": true\n"
                                    "}";

static const char *const q_and_v[] = {"q_proj", "v_proj"};
static const ql_train_options all = {
    .lora_r = 3, .lora_alpha = 16, .lora_dropout = 0.05};
static const ql_train_options two = {.lora_r = 1,
                                     .lora_alpha = 0.5,
                                     .use_rslora = true,
                                     .lora_target_modules = {q_and_v, 2}};

static void config__is_written_as_peft_would(void **state)
{
    ql_adapter a = adapter(&all);
    ql_adapter b = adapter(&two);

    (void)state;
    check_ok(ql_peft_save(&a, "models/\xC3\xBC \"b\"", folder()));
    check_text("adapter_config.json", config_of_all);
    check_ok(ql_peft_save(&b, "x", folder()));
    check_text("adapter_config.json", config_of_two);
    ql_adapter_free(&a);
    ql_adapter_free(&b);
}

/* Header of the file, up to the end of its JSON. */
static void check_header(const char *want)
{
    unsigned char *data;
    size_t n;

    check_ok(ql_file_read(file("adapter_model.safetensors"), MAX_FILE,
                          (char **)&data, &n));
    assert_true(n > 8 + strlen(want));
    assert_memory_equal(data + 8, want, strlen(want));
    ql_free(data);
}

static void tensors__have_the_names_of_peft(void **state)
{
    ql_adapter a = adapter(&two);
    ql_safetensors *f = NULL;

    (void)state;
    check_ok(ql_peft_save(&a, "x", folder()));
    check_header(
        "{\"__metadata__\":{\"format\":\"pt\"},\"base_model.model.model."
        "layers.0.self_attn.q_proj.lora_A.weight\":{\"dtype\":\"F32\","
        "\"shape\":[1,20],\"data_offsets\":[0,80]},\"base_model.model.model."
        "layers.0.self_attn.q_proj.lora_B.weight\":{\"dtype\":\"F32\","
        "\"shape\":[12,1],\"data_offsets\":[80,128]},\"base_model.model."
        "model.layers.0.self_attn.v_proj.lora_A.weight\"");
    check_ok(ql_safetensors_open(&f, file("adapter_model.safetensors")));
    assert_int_equal(ql_safetensors_count(f), 8);
    assert_string_equal(ql_safetensors_metadata(f, "format"), "pt");
    ql_safetensors_close(&f);
    ql_adapter_free(&a);
}

static void adapter__comes_back_as_it_was(void **state)
{
    static const ql_train_options *const ways[] = {&all, &two};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        ql_adapter a = adapter(ways[i]);
        ql_adapter b;

        check_ok(ql_peft_save(&a, "x", folder()));
        check_ok(ql_peft_load(&b, &toy, folder()));
        assert_int_equal(a.count, b.count);
        assert_memory_equal(a.param, b.param, a.count * sizeof(float));
        assert_int_equal(b.opt.r, ways[i]->lora_r);
        assert_true(b.opt.alpha == ways[i]->lora_alpha);
        assert_true(b.opt.dropout == ways[i]->lora_dropout);
        assert_int_equal(b.opt.rslora, ways[i]->use_rslora);
        assert_int_equal(b.n, a.n);
        assert_null(b.grad);
        ql_adapter_free(&a);
        ql_adapter_free(&b);
    }
}

/* GPT-2 has its weights [in, out]: saved and read with no second copy. The
 * matrix is no multiple of a piece, nor is a piece one of its sides. */
static void whole__is_turned_without_a_copy(void **state)
{
    static const char text[] =
        "{\"model_type\": \"gpt2\", \"vocab_size\": 30, \"n_embd\": 20, "
        "\"n_head\": 2, \"n_layer\": 1, \"n_inner\": 100003}";
    const ql_adapter_item items[] = {
        {.site = {.place = QL_PLACE_BLOCK, .module = QL_MODULE_UP}},
        {.site = {.place = QL_PLACE_BLOCK, .module = QL_MODULE_DOWN},
         .r = 1,
         .alpha = 1},
        {.site = {
             .place = QL_PLACE_BLOCK, .module = QL_MODULE_UP, .bias = true}}};
    const ql_adapter_options opt = {.r = 1, .alpha = 1};
    const size_t in = 20;
    const size_t out = 100003;
    ql_adapter a;
    ql_adapter b;
    ql_safetensors *f;
    const ql_tensor *t;
    ql_config c;
    const float *x;
    size_t before;

    (void)state;
    check_ok(ql_file_write(file("config.json"), text, strlen(text)));
    check_ok(ql_config_init(&c, folder()));
    check_ok(ql_adapter_init(&a, &c, &opt, items, 3, 0, false));
    check_fill(a.param, a.count, 31);
    a.config = json_pack("{s[s]}", "modules_to_save", "c_fc");
    before = ql_alloc_peak(QL_TAG_COUNT);
    check_ok(ql_peft_save(&a, "x", folder()));
    assert_true(ql_alloc_peak(QL_TAG_COUNT) - before < ((size_t)1 << 20));
    check_ok(ql_safetensors_open(&f, file("adapter_model.safetensors")));
    t = ql_safetensors_find(f,
                            "base_model.model.transformer.h.0.mlp.c_fc.weight");
    assert_non_null(t);
    assert_int_equal(t->shape[0], in);
    x = (const float *)(const void *)t->data;
    for (size_t i = 0; i < a.sizes[0]; i++) {
        assert_true(x[i] == a.param[i % out * in + i / out]);
    }
    ql_safetensors_close(&f);
    before = ql_alloc_bytes(QL_TAG_COUNT);
    check_ok(ql_peft_load(&b, &c, folder()));
    assert_true(ql_alloc_peak(QL_TAG_COUNT) - before <
                a.count * sizeof(float) + ((size_t)1 << 20));
    assert_int_equal(b.count, a.count);
    assert_memory_equal(b.param, a.param, a.count * sizeof(float));
    ql_adapter_free(&b);
    ql_adapter_free(&a);
    ql_config_free(&c);
}

/* The first pattern that matches counts, in the order that was given: neither
 * ranks nor scales are others when the adapter comes back, nor when training
 * goes on from a folder whose keys are in no order of letters. */
static void patterns__keep_their_order(void **state)
{
    static const char *const targets[] = {"q_proj", "v_proj"};
    static const char *const alphas[] = {"q_proj=64",
                                         "layers.0.self_attn.q_proj=8",
                                         "self_attn.v_proj=2", ".*proj=128"};
    static const char *const ranks[] = {"v_proj=4", "layers.0.*=5"};
    static const ql_train_options o = {.lora_r = 3,
                                       .lora_alpha = 6,
                                       .lora_target_modules = {targets, 2},
                                       .alpha_pattern = {alphas, 4},
                                       .rank_pattern = {ranks, 2}};
    static const struct {
        size_t r;
        double alpha;
    } want[] = {{5, 64}, {4, 2}, {3, 64}, {4, 2}};
    ql_train_options on = o;
    ql_adapter_texts *texts;

    (void)state;
    for (size_t round = 0; round < 2; round++) {
        ql_adapter a = adapter(&on);
        ql_adapter b;

        check_ok(ql_peft_save(&a, "x", folder()));
        check_ok(ql_peft_load(&b, &toy, folder()));
        assert_int_equal(a.n, 4);
        assert_int_equal(b.n, 4);
        for (size_t i = 0; i < a.n; i++) {
            const float scale = (float)(want[i].alpha / (double)want[i].r);

            assert_int_equal(a.entries[i].r, want[i].r);
            assert_int_equal(b.entries[i].r, want[i].r);
            assert_true(a.entries[i].scale == scale);
            assert_true(b.entries[i].scale == scale);
        }
        ql_adapter_free(&a);
        ql_adapter_free(&b);
        if (round == 0) {
            check_ok(ql_train_options_adapter(&on, folder(), &texts));
        }
    }
    ql_adapter_texts_close(&texts);
}

/* Writes a sound adapter, then its config with `more` before its first key;
 * ' stands for ". */
static void write_config(const char *more)
{
    ql_adapter a = adapter(&two);
    char text[2048];
    const int n = snprintf(
        text, sizeof(text),
        "{%s'r': 1, 'lora_alpha': 2, 'peft_type': 'LORA', "
        "'target_modules': ['q_proj', 'v_proj'], 'some_new_key': {'x': 1}}",
        more);

    check_ok(ql_peft_save(&a, "x", folder()));
    for (int i = 0; i < n; i++) {
        text[i] = text[i] == '\'' ? '"' : text[i];
    }
    check_ok(ql_file_write(file("adapter_config.json"), text, (size_t)n));
    ql_adapter_free(&a);
}

static void load_refused(ql_status st, const char *say)
{
    ql_adapter a;

    check_fails(ql_peft_load(&a, &toy, folder()), st, say);
    assert_null(a.param);
    assert_null(a.entries);
}

static void settings__that_change_the_meaning_are_refused(void **state)
{
    static const struct {
        const char *text;
        ql_status st;
    } refused[] = {
        {"'use_dora': true", QL_EMISMATCH},
        {"'use_qalora': true", QL_EUNSUPPORTED},
        {"'use_bdlora': {'x': 1}", QL_EUNSUPPORTED},
        {"'layer_replication': [[0, 1], [0, 2]]", QL_EUNSUPPORTED},
        {"'target_parameters': ['mlp.experts']", QL_EUNSUPPORTED},
        {"'trainable_token_indices': [1]", QL_EUNSUPPORTED},
        {"'kasa_config': {'x': 1}", QL_EUNSUPPORTED},
        {"'enable_lora': [true, false]", QL_EUNSUPPORTED},
        {"'monteclora_config': {'x': 1}", QL_EUNSUPPORTED},
        {"'arrow_config': {'x': 1}", QL_EUNSUPPORTED},
        {"'alora_invocation_tokens': [1, 2]", QL_EUNSUPPORTED},
        {"'lora_bias': true", QL_EUNSUPPORTED},
        {"'modules_to_save': ['lm_head']", QL_EMISMATCH},
        {"'layers_to_transform': [0]", QL_EMISMATCH},
        {"'layers_to_transform': 1", QL_EMISMATCH},
        {"'exclude_modules': '.*q_proj'", QL_EMISMATCH},
        {"'exclude_modules': ['self_attn.v_proj']", QL_EMISMATCH},
        {"'bias': 'some'", QL_EUNSUPPORTED},
        {"'init_lora_weights': 'pissa'", QL_EUNSUPPORTED},
        {"'init_lora_weights': 'pissa_niter_4'", QL_EUNSUPPORTED},
        {"'init_lora_weights': 'olora'", QL_EUNSUPPORTED},
        {"'init_lora_weights': 'corda'", QL_EUNSUPPORTED},
        {"'init_lora_weights': 'loftq'", QL_EUNSUPPORTED},
        {"'init_lora_weights': 'lora_ga'", QL_EUNSUPPORTED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        const char *text = refused[i].text;
        char key[64];
        char more[128];

        snprintf(key, sizeof(key), "\"%.*s\"", (int)strcspn(text + 1, "'"),
                 text + 1);
        snprintf(more, sizeof(more), "%s, ", text);
        write_config(more);
        load_refused(refused[i].st, key);
    }
}

static void settings__that_are_harmless_are_read_over(void **state)
{
    static const char *const fine[] = {
        "",
        "'use_dora': false, ",
        "'use_dora': null, ",
        "'modules_to_save': [], ",
        "'modules_to_save': ['classifier', 'score'], ",
        "'bias': 'all', ",
        "'layers_to_transform': [1, 0], ",
        "'layers_to_transform': [], 'exclude_modules': ['k_proj'], ",
        "'rank_pattern': {}, 'alpha_pattern': null, ",
        "'rank_pattern': {'proj': 2}, ", /* no whole part of a path */
        "'alpha_pattern': {'q_proj': 3}, ",
        "'bias': 'none', 'layers_to_transform': null, ",
        "'init_lora_weights': true, ",
        "'init_lora_weights': false, ",
        "'init_lora_weights': 'gaussian', ",
        "'lora_bias': false, 'loftq_config': {}, 'megatron_core': 'x', ",
        "'qalora_group_size': 16, 'peft_version': '0.20.1', ",
        "'lora_dropout': 0.5, 'task_type': null, ",
        "'velora_config': {'num_groups': 64}, 'eva_config': {'rho': 2}, ",
        "'layers_pattern': 'layers', 'ensure_weight_tying': true, ",
        "'trainable_token_indices': [], 'arrow_config': {}, ",
        "'init_lora_weights': 'orthogonal', 'runtime_config': {'x': 1}, ",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
        ql_adapter a;

        write_config(fine[i]);
        check_ok(ql_peft_load(&a, &toy, folder()));
        ql_adapter_free(&a);
    }
}

static char notes[4096];

static void keep_note(ql_note_kind kind, const char *text, void *user)
{
    (void)kind;
    (void)user;
    snprintf(notes, sizeof(notes), "%s", text);
}

/* Of keys that no PEFT has that we know of, those with a value. */
static void settings__that_are_not_known_are_told(void **state)
{
    ql_adapter a;

    (void)state;
    ql_note_set(keep_note, NULL);
    write_config("'use_dora': false, 'of_tomorrow': true, 'of_no_value': null, "
                 "'empty': [], 'peft_version': '9', ");
    check_ok(ql_peft_load(&a, &toy, folder()));
    ql_adapter_free(&a);
    assert_non_null(strstr(notes, "adapter_config.json: not known"));
    assert_non_null(strstr(notes, "\"of_tomorrow\""));
    assert_non_null(strstr(notes, "\"some_new_key\""));
    assert_null(strstr(notes, "of_no_value"));
    assert_null(strstr(notes, "empty"));
    assert_null(strstr(notes, "peft_version"));
    ql_note_set(NULL, NULL);
}

/* Weights in other files are told what to do with. */
static void folders__of_other_files_are_told_apart(void **state)
{
    ql_adapter a;

    (void)state;
    write_config("");
    check_ok(ql_file_write(file("adapter_model.bin"), "x", 1));
    check_ok(ql_peft_load(&a, &toy, folder()));
    ql_adapter_free(&a);
    remove(file("adapter_model.safetensors"));
    load_refused(QL_EUNSUPPORTED, "adapter_model.bin: a pickle");
    remove(file("adapter_model.bin"));
    check_ok(ql_file_write(file("adapters.npz"), "x", 1));
    load_refused(QL_EUNSUPPORTED, "adapters.npz: of an early MLX");
    remove(file("adapters.npz"));
    check_ok(ql_file_write(file("model.safetensors"), "x", 1));
    load_refused(QL_EUNSUPPORTED, "model.safetensors: a model, not an adapter");
    remove(file("model.safetensors"));
}

static void settings__that_are_absurd_are_refused(void **state)
{
    static const struct {
        const char *text;
        ql_status st;
        const char *say;
    } cases[] = {
        {"", QL_EFORMAT, "not valid JSON"},
        {"[]", QL_EFORMAT, "must be a JSON object"},
        {"{'r': 1, 'target_modules': []}", QL_EMISMATCH, "target_modules"},
        {"{'r': 1, 'target_modules': '.*q_proj'}", QL_EMISMATCH,
         "v_proj is adapted"},
        {"{'r': 1, 'target_modules': '('}", QL_EUNSUPPORTED, "target_modules"},
        {"{'r': 1, 'target_modules': 1}", QL_EFORMAT, "target_modules"},
        {"{'r': 1, 'target_modules': [1]}", QL_EFORMAT, "target_modules"},
        {"{'r': 1, 'target_modules': ['lm_head']}", QL_EMISMATCH,
         "q_proj is adapted"},
        {"{'r': 2, 'target_modules': ['q_proj']}", QL_EMISMATCH,
         "has rank 1, but adapter_config.json says 2"},
        {"{'r': 1, 'rank_pattern': {'v_proj': 2}}", QL_EMISMATCH,
         "v_proj.lora_A.weight has rank 1"},
        {"{'r': 1, 'rank_pattern': {'v_proj': 0}}", QL_EFORMAT, "rank 0"},
        {"{'r': 1, 'rank_pattern': []}", QL_EFORMAT, "rank_pattern"},
        {"{'r': 1, 'alpha_pattern': {'v_proj': '1'}}", QL_EFORMAT,
         "\"alpha_pattern\" must give numbers"},
        {"{'r': 0, 'target_modules': ['q_proj']}", QL_EFORMAT, "rank 0"},
        {"{'r': 99999, 'target_modules': ['q_proj']}", QL_EFORMAT,
         "rank 99999"},
        {"{'r': -1, 'target_modules': ['q_proj']}", QL_EFORMAT, "\"r\""},
        {"{'r': 1.5, 'target_modules': ['q_proj']}", QL_EFORMAT, "\"r\""},
        {"{'lora_alpha': '8', 'target_modules': ['q_proj']}", QL_EFORMAT,
         "lora_alpha"},
        {"{'lora_dropout': 1, 'target_modules': ['q_proj']}", QL_EFORMAT,
         "dropout 1"},
        {"{'peft_type': 'LOHA', 'target_modules': ['q_proj']}", QL_EUNSUPPORTED,
         "peft_type"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256];
        const size_t n =
            (size_t)snprintf(text, sizeof(text), "%s", cases[i].text);

        write_config("");
        for (size_t k = 0; k < n; k++) {
            text[k] = text[k] == '\'' ? '"' : text[k];
        }
        check_ok(ql_file_write(file("adapter_config.json"), text, n));
        load_refused(cases[i].st, cases[i].say);
    }
}

/* A tensor of a broken adapter file. */
typedef struct entry {
    const char *name; /* after "base_model.model.model.layers." */
    size_t shape[2], rank;
} entry;

static void write_entries(const entry *e, size_t n)
{
    static const float zeros[1024];
    ql_safetensors_writer *w = NULL;
    char name[200];

    check_ok(ql_safetensors_writer_open(&w, file("adapter_model.safetensors")));
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "base_model.model.model.layers.%s",
                 e[i].name);
        check_ok(ql_safetensors_writer_add(w, name, QL_DTYPE_F32, e[i].shape,
                                           e[i].rank));
    }
    check_ok(ql_safetensors_writer_begin(w));
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "base_model.model.model.layers.%s",
                 e[i].name);
        check_ok(ql_safetensors_writer_put(w, name, zeros));
    }
    check_ok(ql_safetensors_writer_commit(w));
    ql_safetensors_writer_close(&w);
}

static void tensors__that_do_not_fit_are_refused(void **state)
{
    static const entry sound[] = {
        {"0.self_attn.q_proj.lora_A.weight", {1, TOY_C}, 2},
        {"0.self_attn.q_proj.lora_B.weight", {TOY_QKV, 1}, 2},
        {"0.self_attn.v_proj.lora_A.weight", {1, TOY_C}, 2},
        {"0.self_attn.v_proj.lora_B.weight", {TOY_KV, 1}, 2},
        {"1.self_attn.q_proj.lora_A.weight", {1, TOY_C}, 2},
        {"1.self_attn.q_proj.lora_B.weight", {TOY_QKV, 1}, 2},
        {"1.self_attn.v_proj.lora_A.weight", {1, TOY_C}, 2},
        {"1.self_attn.v_proj.lora_B.weight", {TOY_KV, 1}, 2},
        {"2.self_attn.q_proj.lora_A.weight", {1, TOY_C}, 2},
        {"2.self_attn.q_proj.lora_B.weight", {TOY_QKV, 1}, 2},
    };
    static const entry wrong[] = {
        {"0.self_attn.q_proj.lora_A.weight", {2, TOY_C}, 2},
        {"0.self_attn.q_proj.lora_A.weight", {1, TOY_C + 1}, 2},
        {"0.self_attn.q_proj.lora_A.weight", {TOY_C, 1}, 2},
        {"0.self_attn.q_proj.lora_A.weight", {TOY_C}, 1},
    };
    ql_adapter a;
    entry e[10];

    (void)state;
    write_config("");
    write_entries(sound, 8);
    check_ok(ql_peft_load(&a, &toy, folder()));
    ql_adapter_free(&a);
    write_entries(sound, 7);
    load_refused(QL_EMISMATCH, "layers.1.self_attn.v_proj must have a lora_B");
    write_entries(sound, 6);
    load_refused(QL_EMISMATCH,
                 "layers.1.self_attn.v_proj.lora_A must be there");
    write_entries(sound, 9);
    load_refused(QL_EMISMATCH, "layers.2.self_attn.q_proj must have a lora_B");
    write_entries(sound, 10);
    load_refused(QL_EMISMATCH, "has no module model.layers.2.self_attn.q_proj");
    for (size_t i = 0; i < 4; i++) {
        memcpy(e, sound, sizeof(e));
        e[0] = wrong[i];
        write_entries(e, 8);
        load_refused(QL_EMISMATCH, "layers.0.self_attn.q_proj.lora_");
    }
    remove(file("adapter_model.safetensors"));
    load_refused(QL_ENOTFOUND, "adapter_model.safetensors");
    remove(file("adapter_config.json"));
    load_refused(QL_ENOTFOUND, "adapter_config.json");
}

/* A failed load leaves the adapter that was there. */
static void model__keeps_its_adapter_when_another_is_refused(void **state)
{
    ql_model *m = NULL;
    float *before;

    (void)state;
    check_ok(ql_model_open(&m, toy_model(), NULL));
    write_config("");
    check_ok(ql_model_load_adapter(m, folder()));
    before = m->adapter.param;
    write_config("'use_dora': true, ");
    check_fails(ql_model_load_adapter(m, folder()), QL_EMISMATCH, "use_dora");
    assert_ptr_equal(m->adapter.param, before);
    assert_ptr_equal(m->weights.layers[1].linear[QL_MODULE_Q].lora.a,
                     before + m->adapter.tensors[4].at);
    ql_model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config__is_written_as_peft_would),
        cmocka_unit_test(tensors__have_the_names_of_peft),
        cmocka_unit_test(adapter__comes_back_as_it_was),
        cmocka_unit_test(whole__is_turned_without_a_copy),
        cmocka_unit_test(patterns__keep_their_order),
        cmocka_unit_test(settings__that_change_the_meaning_are_refused),
        cmocka_unit_test(settings__that_are_harmless_are_read_over),
        cmocka_unit_test(settings__that_are_not_known_are_told),
        cmocka_unit_test(folders__of_other_files_are_told_apart),
        cmocka_unit_test(settings__that_are_absurd_are_refused),
        cmocka_unit_test(tensors__that_do_not_fit_are_refused),
        cmocka_unit_test(model__keeps_its_adapter_when_another_is_refused),
    };

    check_ok(ql_config_init(&toy, toy_model()));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
