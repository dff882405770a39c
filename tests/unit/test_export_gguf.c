/* ql_export_gguf, _gguf_adapter and _ollama: types, what stops them, what they
 * refuse. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qlora/export.h"
#include "src/base/file.h"
#include "src/base/note.h"
#include "src/format/gguf.h"
#include "tests/check/check.h"
#include "tests/check/toy_adapter.h"
#include "tests/check/toy_folder.h"

enum {
    PATH_BYTES = 4300
};

static char adapter[PATH_BYTES];
static char out[PATH_BYTES];
static ql_export_report report;

static void options(ql_export_options *o)
{
    ql_export_options_init(o);
    o->force = true;
}

#define Q "base_model.model.model.layers.%d.self_attn.q_proj.lora_%c.weight"

static void write_adapter(void)
{
    char path[PATH_BYTES + 64];
    char names[4][96];
    toy_tensor t[4];

    for (int i = 0; i < 4; i++) {
        snprintf(names[i], sizeof(names[i]), Q, i / 2, i % 2 ? 'B' : 'A');
        t[i] = (toy_tensor){.name = names[i], .shape = {2, TOY_C}};
        if (i % 2) {
            t[i].shape[0] = TOY_QKV;
            t[i].shape[1] = 2;
        }
    }
    check_ok(ql_dir_make(adapter));
    snprintf(path, sizeof(path), "%s/adapter_model.safetensors", adapter);
    toy_tensors_write(path, t, 4);
    toy_json_write(adapter, "adapter_config.json",
                   "{'peft_type': 'LORA', 'r': 2, 'lora_alpha': 4, "
                   "'target_modules': ['q_proj']}");
}

static ql_status write_model(const ql_export_options *o)
{
    return ql_export_gguf(toy_in(), adapter, out, o, &report);
}

/* Types of the first matrix of a block and of its norm. */
static void check_types(ql_gguf_type matrix)
{
    ql_gguf *g = NULL;

    check_ok(ql_gguf_open(&g, out));
    for (size_t i = 0; i < ql_gguf_tensors(g); i++) {
        const ql_gguf_tensor *t = ql_gguf_tensor_at(g, i);

        assert_int_equal(t->type, t->rank == 1 ? QL_GGUF_F32 : matrix);
    }
    ql_gguf_close(&g);
}

static void types__are_those_asked_for(void **state)
{
    static const struct {
        ql_export_type type;
        ql_gguf_type matrix;
    } cases[] = {
        {QL_EXPORT_TYPE_AUTO, QL_GGUF_F16},
        {QL_EXPORT_TYPE_F32, QL_GGUF_F32},
        {QL_EXPORT_TYPE_BF16, QL_GGUF_BF16},
        /* rows of the toy are no multiples of 32 */
        {QL_EXPORT_TYPE_Q8_0, QL_GGUF_F16},
    };
    ql_export_options o;

    (void)state;
    options(&o);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        o.type = cases[i].type;
        check_ok(write_model(&o));
        check_types(cases[i].matrix);
        assert_true(report.merged > 0 && report.files == 1);
    }
    o.type = (ql_export_type)99;
    check_fails(write_model(&o), QL_EINVAL, "type 99");
}

/* Copies the number of 32 bits at a key of the file; false: there is none. */
static bool value_of(const char *key, void *number)
{
    const ql_gguf_value *v;
    ql_gguf *g = NULL;

    check_ok(ql_gguf_open(&g, out));
    v = ql_gguf_find(g, key);
    if (v) {
        assert_int_equal(v->bytes, sizeof(uint32_t));
        memcpy(number, v->data, sizeof(uint32_t));
    }
    ql_gguf_close(&g);
    return v;
}

/* The id at a key of the file, -1 for none. */
static int64_t id_of(const char *key)
{
    uint32_t id;

    return value_of(key, &id) ? (int64_t)id : -1;
}

/* llama.cpp takes the factor that is written, whatever the lengths are. */
static void yarn__has_the_factor_that_is_applied(void **state)
{
    static const struct {
        const char *factor;
        float want;
    } cases[] = {{"\"factor\": 3, ", 3}, {"", 4}};
    char *config = toy_read(toy_in(), "config.json");
    ql_export_options o;

    (void)state;
    options(&o);
    for (size_t i = 0; i < 2; i++) {
        char text[2048];
        uint32_t original = 0;
        float factor = 0;

        snprintf(text, sizeof(text),
                 "{\"rope_scaling\": {\"type\": \"yarn\", %s"
                 "\"original_max_position_embeddings\": 16}, %s",
                 cases[i].factor, config + 1);
        toy_write(toy_in(), "config.json", text);
        check_ok(write_model(&o));
        assert_true(value_of("llama.rope.scaling.factor", &factor));
        assert_true(factor == cases[i].want);
        assert_true(
            value_of("llama.rope.scaling.original_context_length", &original));
        assert_int_equal(original, 16);
    }
    toy_write(toy_in(), "config.json", config);
    ql_free(config);
}

/* eos is the tokenizer's; beside it a model ends texts where
 * generation_config.json says, by one token or by several. */
static void ends__are_all_that_the_model_has(void **state)
{
    static const struct {
        const char *json;
        int64_t eot, eom;
    } cases[] = {
        {"{}", -1, -1},
        {"{'eos_token_id': 4}", 4, -1},
        {"{'eos_token_id': [5]}", 5, -1},
        {"{'eos_token_id': [null, 5, -1]}", 5, -1},
        {"{'eos_token_id': [5, 2, 4]}", 5, 4},
        {"{'eos_token_id': [5, 4, 3]}", 5, 4},
    };
    ql_export_options o;

    (void)state;
    options(&o);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        toy_json_write(toy_in(), "generation_config.json", cases[i].json);
        check_ok(write_model(&o));
        assert_int_equal(id_of("tokenizer.ggml.eos_token_id"), 2);
        assert_int_equal(id_of("tokenizer.ggml.eot_token_id"), cases[i].eot);
        assert_int_equal(id_of("tokenizer.ggml.eom_token_id"), cases[i].eom);
    }
}

static void take_note(ql_note_kind kind, const char *text, void *user)
{
    (void)kind;
    snprintf(user, PATH_BYTES, "%s", text);
}

/* One that does not exist is told, and takes the place of none. */
static void ends__that_are_no_tokens_are_left_out(void **state)
{
    char said[PATH_BYTES] = "";
    ql_export_options o;

    (void)state;
    options(&o);
    toy_json_write(toy_in(), "generation_config.json",
                   "{'eos_token_id': [9999, 5, 4]}");
    ql_note_set(take_note, said);
    check_ok(write_model(&o));
    ql_note_set(NULL, NULL);
    assert_non_null(
        strstr(said, "the end token 9999 is beyond the vocabulary of "));
    assert_int_equal(id_of("tokenizer.ggml.eot_token_id"), 5);
    assert_int_equal(id_of("tokenizer.ggml.eom_token_id"), 4);
}

/* The token by which the template ends answers comes before those; the template
 * of an adapter before that of the model. */
static void ends__of_answers_are_those_of_the_template(void **state)
{
    ql_export_options o;

    (void)state;
    options(&o);
    toy_json_write(toy_in(), "generation_config.json", "{'eos_token_id': 4}");
    toy_write(toy_in(), "chat_template.jinja",
              "{% for m in messages %}<s>{{ m.content }}<x>\n{% endfor %}");
    check_ok(ql_export_gguf(toy_in(), NULL, out, &o, NULL));
    assert_int_equal(id_of("tokenizer.ggml.eos_token_id"), 2);
    assert_int_equal(id_of("tokenizer.ggml.eot_token_id"), 6);
    assert_int_equal(id_of("tokenizer.ggml.eom_token_id"), 4);
    toy_write(adapter, "chat_template.jinja",
              "<x>{% for m in messages %}{{ m.content }}</s>{% endfor %}");
    check_ok(write_model(&o));
    assert_int_equal(id_of("tokenizer.ggml.eot_token_id"), 4);
    assert_int_equal(id_of("tokenizer.ggml.eom_token_id"), -1);
    /* what is no template, or refuses the conversation, ends nothing */
    toy_write(adapter, "chat_template.jinja", "<x>{% for %}");
    check_ok(write_model(&o));
    assert_int_equal(id_of("tokenizer.ggml.eot_token_id"), 4);
    toy_write(adapter, "chat_template.jinja",
              "{{ messages[0].content }}<x>{{ raise_exception('no') }}");
    check_ok(write_model(&o));
    assert_int_equal(id_of("tokenizer.ggml.eot_token_id"), 4);
    write_adapter();
}

static bool stop(uint64_t done, uint64_t total, void *user)
{
    size_t *left = user;

    assert_true(done <= total);
    return (*left)-- > 0;
}

static void progress__can_stop(void **state)
{
    ql_export_options o;

    (void)state;
    options(&o);
    o.progress = stop;
    remove(out);
    for (size_t i = 0; i < 12; i++) {
        size_t left = i;

        o.user = &left;
        check_fails(write_model(&o), QL_ECANCELLED, "stopped");
        assert_false(ql_path_exists(out));
    }
}

static void outputs__are_not_replaced_unasked(void **state)
{
    ql_export_options o;

    (void)state;
    options(&o);
    check_ok(write_model(&o));
    o.force = false;
    check_fails(write_model(&o), QL_EINVAL, "exists already");
    check_fails(ql_export_gguf(toy_in(), NULL, adapter, &o, NULL), QL_EINVAL,
                "is a folder");
    check_fails(ql_export_gguf_adapter(toy_in(), adapter, out, &o, NULL),
                QL_EINVAL, "exists already");
}

/* A link stays, and what it leads to is replaced. */
static void links__are_followed(void **state)
{
    char beyond[PATH_BYTES + 8];
    ql_export_options o;
    ql_gguf *g = NULL;
    struct stat sb;

    (void)state;
    options(&o);
    remove(out);
    snprintf(beyond, sizeof(beyond), "%s.beyond", out);
    assert_int_equal(symlink(beyond, out), 0);
    check_fails(write_model(&o), QL_EINVAL,
                "a symbolic link that leads nowhere");
    check_ok(ql_file_write(beyond, "text", 4));
    check_fails(write_model(&o), QL_EINVAL, "is no GGUF file");
    check_ok(ql_file_write(beyond, "GGUF", 4));
    check_ok(write_model(&o));
    assert_int_equal(lstat(out, &sb), 0);
    assert_true(S_ISLNK(sb.st_mode));
    check_ok(ql_gguf_open(&g, beyond));
    ql_gguf_close(&g);
    remove(beyond);
    remove(out);
}

/* Runs a call with the n-th allocation failing, until it succeeds. */
typedef ql_status call_fn(const ql_export_options *o);

static ql_status call_model(const ql_export_options *o)
{
    return write_model(o);
}

static ql_status call_adapter(const ql_export_options *o)
{
    return ql_export_gguf_adapter(toy_in(), adapter, out, o, &report);
}

static ql_status call_ollama(const ql_export_options *o)
{
    return ql_export_ollama(toy_in(), adapter, toy_out(), o, &report);
}

static void memory__that_is_lacking_ends_them_cleanly(void **state)
{
    static call_fn *const calls[] = {call_model, call_adapter, call_ollama};
    ql_export_options o;

    (void)state;
    options(&o);
    for (size_t i = 0; i < 3; i++) {
        bool ok = false;

        for (long n = 0; !ok; n += 1 + n / 12) {
            remove(out);
            check_ok(ql_dir_remove(toy_out()));
            ok = check_lacking(n, calls[i](&o));
            assert_int_equal(ql_path_exists(i < 2 ? out : toy_out()), ok);
            toy_check_no_rest();
        }
    }
}

int main(void)
{
    const toy_folder how = {.dtype = QL_DTYPE_BF16};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types__are_those_asked_for),
        cmocka_unit_test(ends__are_all_that_the_model_has),
        cmocka_unit_test(ends__that_are_no_tokens_are_left_out),
        cmocka_unit_test(ends__of_answers_are_those_of_the_template),
        cmocka_unit_test(yarn__has_the_factor_that_is_applied),
        cmocka_unit_test(progress__can_stop),
        cmocka_unit_test(outputs__are_not_replaced_unasked),
        cmocka_unit_test(links__are_followed),
        cmocka_unit_test(memory__that_is_lacking_ends_them_cleanly),
    };

    snprintf(adapter, sizeof(adapter), "%s", check_tmp_path("adapter"));
    snprintf(out, sizeof(out), "%s", check_tmp_path("x.gguf"));
    check_ok(ql_runtime_open(&check_runtime));
    toy_folder_write(toy_in(), &how);
    toy_json_write(toy_in(), "tokenizer_config.json",
                   "{'bos_token': '<s>', 'eos_token': '</s>'}");
    toy_json_write(toy_in(), "tokenizer.json",
                   "{'added_tokens': [{'id': 6, 'content': '<x>', 'special': "
                   "true}, {'id': 2, 'content': '</s>', 'special': true}], "
                   "'model': {'type': 'BPE', 'byte_fallback': true, "
                   "'unk_token': '<unk>', 'vocab': {'<unk>': 0, '<s>': 1, "
                   "'</s>': 2, 'a': 3, 'b': 4, 'ab': 5}, 'merges': ['a b']}}");
    write_adapter();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
