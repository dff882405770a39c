/* Ids and texts as the reference, the tokenizers library, makes them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qlora/runtime.h"
#include "qlora/tokenizer.h"
#include "src/base/buf.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/lines.h"
#include "tests/check/check.h"

enum {
    LINE_BYTES = 1 << 26
};

static ql_tokenizer *open_at(const char *path)
{
    ql_tokenizer *tok = NULL;

    check_ok(ql_tokenizer_open(&tok, path));
    return tok;
}

/* Fails unless ids[n] are those of a JSON list. */
static void same_ids(const int32_t *ids, size_t n, const json_t *want,
                     const char *text)
{
    assert_true(json_is_array(want));
    for (size_t i = 0; i < n && i < json_array_size(want); i++) {
        const json_int_t id = json_integer_value(json_array_get(want, i));

        if (ids[i] != id) {
            fail_msg("token %zu of \"%s\": %d instead of %d", i, text, ids[i],
                     (int)id);
        }
    }
    if (n != json_array_size(want)) {
        fail_msg("\"%s\": %zu tokens instead of %zu", text, n,
                 json_array_size(want));
    }
}

static void encodes(const ql_tokenizer *tok, const json_t *text, bool specials,
                    const json_t *want)
{
    int32_t *ids;
    size_t n;

    check_ok(ql_tokenizer_encode(tok, json_string_value(text),
                                 json_string_length(text), specials, &ids, &n));
    same_ids(ids, n, want, json_string_value(text));
    ql_free(ids);
}

static void decodes(const ql_tokenizer *tok, const json_t *list, bool skip,
                    const json_t *want)
{
    const size_t n = json_array_size(list);
    int32_t *ids = ql_alloc(QL_TAG_TEXT, n, sizeof(*ids));
    char *text;
    size_t len;

    assert_non_null(ids);
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    }
    check_ok(ql_tokenizer_decode(tok, ids, n, skip, &text, &len));
    assert_string_equal(text, json_string_value(want));
    assert_int_equal(len, json_string_length(want));
    ql_free(text);
    ql_free(ids);
}

/* Lines of {"text", "ids", "ids_with_special", "decoded"}. */
static void check_lines(const char *model, const char *golden)
{
    ql_tokenizer *tok = open_at(check_shared(model));
    ql_lines lines;
    bool more;

    check_ok(ql_lines_init(&lines, check_shared(golden), LINE_BYTES));
    for (;;) {
        const json_t *text;
        json_t *o;

        check_ok(ql_lines_next(&lines, &more));
        if (!more) {
            break;
        }
        check_ok(ql_json_parse(&o, lines.line.data, lines.line.len, golden));
        text = json_object_get(o, "text");
        encodes(tok, text, false, json_object_get(o, "ids"));
        encodes(tok, text, true, json_object_get(o, "ids_with_special"));
        decodes(tok, json_object_get(o, "ids"), false,
                json_object_get(o, "decoded"));
        json_decref(o);
    }
    assert_int_equal(lines.number, 50);
    ql_lines_free(&lines);
    ql_tokenizer_close(&tok);
}

/* Each folder of texts and ids has the name of its tokenizer. */
static void golden__real_tokenizers(void **state)
{
    static const char *const folders[] = {
        "models/stories260K", "models/stories3M",
        "tokenizers/llama2",  "tokenizers/llama3-instruct",
        "tokenizers/qwen3",   "tokenizers/gemma3",
        "tokenizers/gpt2",    "tokenizers/bert-base-uncased",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
        char file[128];

        snprintf(file, sizeof(file), "tokenizers/golden/%s.jsonl",
                 strchr(folders[i], '/') + 1);
        check_lines(folders[i], file);
    }
}

/* The text whose loss the model tests compare. */
static void golden__texts_of_the_models(void **state)
{
    static const char *const names[] = {"stories260K", "stories3M",
                                        "babyllama105"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char model[64];
        char file[64];
        ql_tokenizer *tok;
        json_t *o;

        snprintf(model, sizeof(model), "models/%s", names[i]);
        snprintf(file, sizeof(file), "models/expected/%s.json", names[i]);
        tok = open_at(check_shared(model));
        check_ok(ql_json_load(&o, check_shared(file), LINE_BYTES));
        encodes(tok, json_object_get(o, "text"), true,
                json_object_get(o, "ids"));
        assert_int_equal(ql_tokenizer_bos(tok), 1);
        assert_int_equal(ql_tokenizer_eos(tok), 2);
        json_decref(o);
        ql_tokenizer_close(&tok);
    }
}

/* {"a", "b", "ids", "type_ids"}, special tokens included. */
static void encodes_pair(const ql_tokenizer *tok, const json_t *pair)
{
    const json_t *a = json_object_get(pair, "a");
    const json_t *b = json_object_get(pair, "b");
    const json_t *want = json_object_get(pair, "type_ids");
    const char *texts[] = {json_string_value(a), json_string_value(b)};
    const size_t lens[] = {json_string_length(a), json_string_length(b)};
    uint8_t *types;
    int32_t *ids;
    size_t n;

    check_ok(
        ql_tokenizer_encode_pair(tok, texts, lens, true, &ids, &types, &n));
    same_ids(ids, n, json_object_get(pair, "ids"), texts[0]);
    assert_int_equal(json_array_size(want), n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(types[i], json_integer_value(json_array_get(want, i)));
    }
    ql_free(ids);
    ql_free(types);
}

/* One of the small files, which stand for a family each. */
static void check_small(const char *name, const json_t *inputs,
                        const json_t *expected)
{
    const json_t *all = json_object_get(expected, name);
    const json_t *cases = json_object_get(all, "cases");
    char file[128];
    ql_tokenizer *tok;

    snprintf(file, sizeof(file), "golden/tokenizers/%s.json", name);
    check_ok(ql_dir_make(check_tmp_path(name)));
    snprintf(file + 64, sizeof(file) - 64, "%s/tokenizer.json", name);
    check_ok(ql_file_copy(check_shared(file), check_tmp_path(file + 64)));
    tok = open_at(check_tmp_path(name));
    assert_int_equal(json_array_size(cases), json_array_size(inputs));
    for (size_t i = 0; i < json_array_size(inputs); i++) {
        const json_t *text = json_array_get(inputs, i);
        const json_t *c = json_array_get(cases, i);

        encodes(tok, text, false, json_object_get(c, "ids"));
        encodes(tok, text, true, json_object_get(c, "ids_special"));
        decodes(tok, json_object_get(c, "ids"), false,
                json_object_get(c, "dec"));
        decodes(tok, json_object_get(c, "ids_special"), true,
                json_object_get(c, "dec_skip"));
    }
    encodes_pair(tok, json_object_get(all, "pair"));
    ql_tokenizer_close(&tok);
}

static void golden__families(void **state)
{
    const char *dir = "golden/tokenizers/";
    json_error_t e;
    json_t *inputs;
    json_t *expected;
    const char *name;
    json_t *cases;
    char path[64];

    (void)state;
    snprintf(path, sizeof(path), "%s_inputs.json", dir);
    inputs = json_load_file(check_shared(path), JSON_ALLOW_NUL, &e);
    snprintf(path, sizeof(path), "%s_expected.json", dir);
    expected = json_load_file(check_shared(path), JSON_ALLOW_NUL, &e);
    assert_true(json_is_array(inputs) && json_is_object(expected));
    assert_int_equal(json_object_size(expected), 15);
    json_object_foreach(expected, name, cases)
    {
        check_small(name, inputs, expected);
    }
    json_decref(inputs);
    json_decref(expected);
}

/* The largest one: 33 MB, of which jansson sees only what is small. */
static void golden__takes_little_memory(void **state)
{
    ql_tokenizer *tok = open_at(check_shared("tokenizers/gemma3"));

    (void)state;
    assert_true(ql_alloc_peak(QL_TAG_TEXT) < (size_t)100 << 20);
    assert_int_equal(ql_tokenizer_size(tok), 262145);
    ql_tokenizer_close(&tok);
}

/* One of llama.cpp's texts, and the line of its ids. */
static void check_line(const ql_tokenizer *tok, const char *text, size_t len,
                       const char *line)
{
    int32_t *ids;
    size_t n;

    check_ok(ql_tokenizer_encode(tok, text, len, false, &ids, &n));
    for (size_t i = 0; i < n; i++) {
        char *end;
        const long want = strtol(line, &end, 10);

        if (end == line || ids[i] != want) {
            fail_msg("token %zu of \"%.*s\": %d instead of %ld", i, (int)len,
                     text, ids[i], want);
        }
        line = end;
    }
    assert_int_equal(strspn(line, " "), strcspn(line, "\n"));
    ql_free(ids);
}

/* Texts, each followed by a line of its own that marks its end, and ids, a
 * line each. */
static void check_cases(const char *name, const char *model)
{
    static const char mark[] = "\n__ggml_vocab_test__\n";
    ql_tokenizer *tok = open_at(check_shared(model));
    size_t count = 0;
    char file[128];
    char *texts;
    char *lines;
    char *line;
    char *text;
    char *end;
    size_t len;

    snprintf(file, sizeof(file), "tokenizers/expected/ggml-vocab-%s.inp", name);
    check_ok(ql_file_read(check_shared(file), LINE_BYTES, &texts, &len));
    snprintf(file, sizeof(file), "tokenizers/expected/ggml-vocab-%s.out", name);
    check_ok(ql_file_read(check_shared(file), LINE_BYTES, &lines, &len));
    text = texts;
    line = lines;
    while ((end = strstr(text, mark))) {
        check_line(tok, text, (size_t)(end - text), line);
        line = strchr(line, '\n') + 1;
        text = end + strlen(mark);
        count++;
    }
    assert_int_equal(count, 46);
    ql_free(texts);
    ql_free(lines);
    ql_tokenizer_close(&tok);
}

static void golden__cases_of_llama_cpp(void **state)
{
    (void)state;
    check_cases("llama-spm", "tokenizers/llama2");
    check_cases("llama-bpe", "tokenizers/llama3-instruct");
    check_cases("qwen2", "tokenizers/qwen3");
    check_cases("gpt-2", "tokenizers/gpt2");
    check_cases("bert-bge", "tokenizers/bert-base-uncased");
    check_cases("phi-3", "tokenizers/llama2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden__real_tokenizers),
        cmocka_unit_test(golden__texts_of_the_models),
        cmocka_unit_test(golden__families),
        cmocka_unit_test(golden__cases_of_llama_cpp),
        cmocka_unit_test(golden__takes_little_memory),
    };

    check_need_shared();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
