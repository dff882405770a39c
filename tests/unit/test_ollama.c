/* ql_export_ollama: what stands beside the model and what is worked into it,
 * the words that end answers, settings, and that nothing is left of what
 * fails. */
#include <stdio.h>
#include <string.h>

#include "qlora/export.h"
#include "src/base/file.h"
#include "src/base/note.h"
#include "tests/check/check.h"
#include "tests/check/toy_adapter.h"
#include "tests/check/toy_folder.h"

enum {
    PATH_BYTES = 4300,
    NOTE_BYTES = 8192,
    MAX_FILE = 1 << 24
};

static char adapter[PATH_BYTES];
static char file[PATH_BYTES];
static char notes[NOTE_BYTES];
static ql_export_report report;

static void take_note(ql_note_kind kind, const char *text, void *user)
{
    (void)user;
    snprintf(notes + strlen(notes), sizeof(notes) - strlen(notes), "%s%s\n",
             kind == QL_NOTE_WARNING ? "warning: " : "", text);
}

static const toy_tensor plain[] = {
    TOY_PAIR,
};

static void write_adapter(const char *config, const toy_tensor *t, size_t n)
{
    char path[PATH_BYTES + 64];

    check_ok(ql_dir_remove(adapter));
    check_ok(ql_dir_make(adapter));
    snprintf(path, sizeof(path), "%s/adapter_model.safetensors", adapter);
    toy_tensors_write(path, t, n);
    toy_json_write(adapter, "adapter_config.json", config);
}

static ql_status write_folder(void)
{
    ql_export_options o;

    ql_export_options_init(&o);
    o.force = true;
    notes[0] = '\0';
    return ql_export_ollama(toy_in(), adapter, toy_out(), &o, &report);
}

/* A file of the folder is byte by byte the one that was written alone. */
static void check_same(const char *name)
{
    char path[PATH_BYTES];
    char *a;
    char *b;
    size_t n;
    size_t m;

    snprintf(path, sizeof(path), "%.4000s/%s", toy_out(), name);
    check_ok(ql_file_read(path, MAX_FILE, &a, &n));
    check_ok(ql_file_read(file, MAX_FILE, &b, &m));
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    ql_free(a);
    ql_free(b);
}

static void check_line(const char *line, bool there)
{
    char *text = toy_read(toy_out(), "Modelfile");
    const char *at = strstr(text, line);

    if ((at != NULL) != there) {
        fail_msg("%s of '%s' in:\n%s", there ? "want" : "no want", line, text);
    }
    ql_free(text);
}

static void adapters__stand_beside_the_model(void **state)
{
    ql_export_options o;

    (void)state;
    write_adapter("{'peft_type': 'LORA', 'r': 2}", plain, 2);
    check_ok(write_folder());
    assert_string_equal(notes, "");
    assert_int_equal(report.files, 2);
    assert_int_equal(report.merged, 1);
    check_line("FROM ./model.gguf\nADAPTER ./adapter.gguf\n", true);
    ql_export_options_init(&o);
    o.force = true;
    check_ok(ql_export_gguf(toy_in(), NULL, file, &o, NULL));
    check_same("model.gguf");
    check_ok(ql_export_gguf_adapter(toy_in(), adapter, file, &o, NULL));
    check_same("adapter.gguf");
}

static void adapters__that_cannot_stand_there_are_worked_in(void **state)
{
    static const toy_tensor dora[] = {
        TOY_PAIR,
        {.name = TOY_Q0 ".lora_magnitude_vector",
         .shape = {TOY_QKV},
         .rank = 1},
    };
    static const toy_tensor embed[] = {
        {.name = TOY_EMBED ".lora_embedding_A", .shape = {2, TOY_V}},
        {.name = TOY_EMBED ".lora_embedding_B", .shape = {TOY_C, 2}},
    };
    static const toy_tensor norm[] = {
        TOY_PAIR,
        {.name = "base_model.model.model.norm.weight",
         .shape = {TOY_C},
         .rank = 1},
    };
    static const struct {
        const toy_tensor *t;
        size_t n;
        const char *config, *say;
        size_t merged;
    } cases[] = {
        {dora, 3, "{'r': 2, 'use_dora': true}", "DoRA", 1},
        {embed, 2, "{'r': 2}", "the embedding that is the head", 1},
        {norm, 3, "{'r': 2, 'modules_to_save': ['model.norm']}",
         "model.norm.weight cannot be said", 2},
    };
    ql_export_options o;

    (void)state;
    ql_export_options_init(&o);
    o.force = true;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_adapter(cases[i].config, cases[i].t, cases[i].n);
        check_ok(write_folder());
        assert_non_null(strstr(notes, "the adapter is worked into the model"));
        assert_non_null(strstr(notes, cases[i].say));
        assert_int_equal(report.files, 1);
        assert_int_equal(report.merged, cases[i].merged);
        check_line("ADAPTER", false);
        assert_false(toy_has(toy_out(), "adapter.gguf"));
        check_ok(ql_export_gguf(toy_in(), adapter, file, &o, NULL));
        check_same("model.gguf");
    }
}

/* Tokens that end answers: by the text they stand for, as the Modelfile says
 * it. */
static void ends__are_texts(void **state)
{
    static const struct {
        const char *json, *line;
    } cases[] = {
        {"{'eos_token_id': [2]}", "PARAMETER stop \"</s>\"\n"},
        {"{'eos_token_id': 6}", "PARAMETER stop \" b\"\n"},
        {"{'eos_token_id': [null, 6]}", "PARAMETER stop \" b\"\n"},
        {"{'eos_token_id': 7}", "PARAMETER stop \"\"\"\n\"\"\"\n"},
        {"{'eos_token_id': [3, 8]}", "PARAMETER stop \"\"\"say \"\"\"\"\n"},
        {"{'eos_token_id': 9}", "PARAMETER stop \"\\\"\n"},
    };

    (void)state;
    write_adapter("{'r': 2}", plain, 2);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        toy_json_write(toy_in(), "generation_config.json", cases[i].json);
        check_ok(write_folder());
        assert_string_equal(notes, "");
        check_line(cases[i].line, true);
        check_line("PARAMETER stop \"</s>\"\n", true);
    }
    /* what the template writes behind an answer ends it */
    check_line("PARAMETER stop \"<x>\"\n", false);
    toy_write(adapter, "chat_template.jinja",
              "{% for m in messages %}{{ m.content }}<x>\n{% endfor %}");
    check_ok(write_folder());
    check_line("PARAMETER stop \"<x>\"\n", true);
    check_line("tools", false);
    write_adapter("{'r': 2}", plain, 2);
    /* half a character is no text */
    toy_json_write(toy_in(), "generation_config.json", "{'eos_token_id': 10}");
    check_ok(write_folder());
    assert_non_null(strstr(notes, "cannot say the text \"\\ufffd\""));
    check_line("PARAMETER stop \"</s>\"\n", true);
}

/* Ollama's templates are made without tools, and that is told. */
static void tools__are_told_to_be_missing(void **state)
{
    static const char plain_text[] =
        "{% for m in messages %}{{ m.content }} {% endfor %}";
    static const char with_tools[] =
        "{% if tools %}{{ tools }}{% endif %}"
        "{% for m in messages %}{{ m.content }} {% endfor %}";

    (void)state;
    for (int apart = 0; apart < 2; apart++) {
        write_adapter("{'r': 2}", plain, 2);
        toy_write(adapter, "chat_template.jinja",
                  apart ? plain_text : with_tools);
        if (apart) {
            char *dir = ql_path_join(adapter, "additional_chat_templates");

            assert_non_null(dir);
            check_ok(ql_dir_make(dir));
            toy_write(dir, "tool_use.jinja", with_tools);
            ql_free(dir);
        }
        check_ok(write_folder());
        assert_non_null(strstr(notes, "warning: the model's chat template "
                                      "shows tools"));
        check_line("# The model's chat template shows tools; this one does "
                   "not.\nTEMPLATE",
                   true);
    }
    write_adapter("{'r': 2}", plain, 2);
}

static void settings__are_those_of_the_makers(void **state)
{
    (void)state;
    write_adapter("{'r': 2}", plain, 2);
    toy_json_write(toy_in(), "generation_config.json",
                   "{'do_sample': true, 'temperature': 0.7, 'top_p': 0.95, "
                   "'top_k': 20, 'min_p': 0.05, 'repetition_penalty': 1.05}");
    check_ok(write_folder());
    check_line("PARAMETER temperature 0.7\nPARAMETER top_p 0.95\nPARAMETER "
               "top_k 20\nPARAMETER min_p 0.05\nPARAMETER repeat_penalty "
               "1.05\n",
               true);
    toy_json_write(toy_in(), "generation_config.json",
                   "{'do_sample': true, 'top_k': 1000000}");
    check_ok(write_folder());
    check_line("PARAMETER top_k 1000000\n", true);
    check_line("PARAMETER temperature", false);
    toy_json_write(toy_in(), "generation_config.json",
                   "{'do_sample': false, 'temperature': 0.7}");
    check_ok(write_folder());
    check_line("PARAMETER temperature", false);
}

/* What the model lacks is found before the adapter's file is written. */
static void failures__leave_nothing(void **state)
{
    char *text = toy_read(toy_in(), "tokenizer.json");

    (void)state;
    check_ok(ql_dir_remove(toy_out()));
    write_adapter("{'r': 2}", plain, 2);
    toy_json_write(toy_in(), "tokenizer.json",
                   "{'model': {'type': 'BPE', 'vocab': {'a': 0, '<s>': 1, "
                   "'</s>': 2}, 'merges': []}}");
    check_fails(write_folder(), QL_EUNSUPPORTED, "has no rule");
    assert_false(ql_path_exists(toy_out()));
    toy_check_no_rest();
    toy_write(toy_in(), "tokenizer.json", text);
    ql_free(text);
}

static void write_tokenizer(void)
{
    toy_json_write(toy_in(), "tokenizer_config.json",
                   "{'bos_token': '<s>', 'eos_token': '</s>'}");
    toy_json_write(
        toy_in(), "tokenizer.json",
        "{'added_tokens': [{'id': 1, 'content': '<s>', 'special': true}, "
        "{'id': 2, 'content': '</s>', 'special': true}, {'id': 11, 'content': "
        "'<x>', 'special': true}], 'normalizer': "
        "{'type': 'Sequence', 'normalizers': [{'type': 'Prepend', 'prepend': "
        "'\xE2\x96\x81'}, {'type': 'Replace', 'pattern': {'String': ' '}, "
        "'content': '\xE2\x96\x81'}]}, 'decoder': {'type': 'Sequence', "
        "'decoders': [{'type': 'Replace', 'pattern': {'String': "
        "'\xE2\x96\x81'}, 'content': ' '}, {'type': 'ByteFallback'}, {'type': "
        "'Fuse'}, {'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0}]}, "
        "'model': {'type': 'BPE', 'byte_fallback': true, 'unk_token': "
        "'<unk>', 'vocab': {'<unk>': 0, '<s>': 1, '</s>': 2, 'a': 3, 'b': 4, "
        "'ab': 5, '\xE2\x96\x81"
        "b': 6, '<0x0A>': 7, 'say \\u0022': 8, '\\\\': 9, '<0xC3>': 10}, "
        "'merges': ['a b']}}");
}

int main(void)
{
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapters__stand_beside_the_model),
        cmocka_unit_test(adapters__that_cannot_stand_there_are_worked_in),
        cmocka_unit_test(ends__are_texts),
        cmocka_unit_test(tools__are_told_to_be_missing),
        cmocka_unit_test(settings__are_those_of_the_makers),
        cmocka_unit_test(failures__leave_nothing),
    };

    snprintf(adapter, sizeof(adapter), "%s", check_tmp_path("adapter"));
    snprintf(file, sizeof(file), "%s", check_tmp_path("x.gguf"));
    check_ok(ql_runtime_open(&check_runtime));
    ql_note_set(take_note, NULL);
    toy_folder_write(toy_in(), &how);
    write_tokenizer();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
