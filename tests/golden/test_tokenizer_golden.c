/* Ids and texts as the reference, the tokenizers library, makes them. */
#include <stdio.h>
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

static void golden__stories260K(void **state)
{
    (void)state;
    check_lines("models/stories260K", "tokenizers/golden/stories260K.jsonl");
}

static void golden__stories3M(void **state)
{
    (void)state;
    check_lines("models/stories3M", "tokenizers/golden/stories3M.jsonl");
}

static void golden__llama2(void **state)
{
    (void)state;
    check_lines("tokenizers/llama2", "tokenizers/golden/llama2.jsonl");
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
        assert_null(ql_tokenizer_chat_template(tok));
        json_decref(o);
        ql_tokenizer_close(&tok);
    }
}

/* One of the small files, which stand for a family each. */
static void check_small(const char *name, const json_t *inputs,
                        const json_t *expected)
{
    const json_t *cases =
        json_object_get(json_object_get(expected, name), "cases");
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
    ql_tokenizer_close(&tok);
}

static void golden__families(void **state)
{
    static const char *const names[] = {
        "llama2_legacy", "bpe_unk_nofallback_nofuse", "llama2_metaspace_first",
        "spm_metaspace_always_split", "phi3_rstrip"};
    const char *dir = "golden/tokenizers/";
    json_error_t e;
    json_t *inputs;
    json_t *expected;
    char path[64];

    (void)state;
    snprintf(path, sizeof(path), "%s_inputs.json", dir);
    inputs = json_load_file(check_shared(path), JSON_ALLOW_NUL, &e);
    snprintf(path, sizeof(path), "%s_expected.json", dir);
    expected = json_load_file(check_shared(path), JSON_ALLOW_NUL, &e);
    assert_true(json_is_array(inputs) && json_is_object(expected));
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        check_small(names[i], inputs, expected);
    }
    json_decref(inputs);
    json_decref(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden__stories260K),
        cmocka_unit_test(golden__stories3M),
        cmocka_unit_test(golden__llama2),
        cmocka_unit_test(golden__texts_of_the_models),
        cmocka_unit_test(golden__families),
    };

    check_need_shared();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
