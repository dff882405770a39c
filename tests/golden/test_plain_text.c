/* Plain text is tokenized in parts, and in the parts' tokens there is nothing
 * to be seen of that: they are those of the whole text, with the tokenizers of
 * real models and of all families. */
#include <stdio.h>
#include <string.h>

#include "qlora/dataset.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "tests/check/check.h"

enum {
    FILE_BYTES = 1 << 26,
    PART = 1 << 18 /* about what is tokenized at once */
};

/* Appends n bytes of what never ends a line, from text over and over. */
static void put_run(ql_buf *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i += strlen(text)) {
        check_ok(ql_buf_puts(out, text));
    }
}

/* Appends a file of the shared data. */
static void put_file(ql_buf *out, const char *file)
{
    char *text;
    size_t len;

    check_ok(ql_file_read(check_shared(file), FILE_BYTES, &text, &len));
    check_ok(ql_buf_append(out, text, len));
    ql_free(text);
}

/* Appends the strings that are hard to tokenize, n times; but for NUL, which no
 * plain text has. */
static void put_inputs(ql_buf *out, size_t times)
{
    json_error_t e;
    json_t *inputs = json_load_file(
        check_shared("golden/tokenizers/_inputs.json"), JSON_ALLOW_NUL, &e);

    assert_true(json_is_array(inputs));
    for (size_t i = 0; i < times * json_array_size(inputs); i++) {
        const json_t *s = json_array_get(inputs, i % json_array_size(inputs));
        const char *text = json_string_value(s);

        for (size_t k = 0; k < json_string_length(s); k++) {
            check_ok(ql_buf_putc(out, text[k] ? text[k] : '.'));
        }
        check_ok(ql_buf_puts(out, i % 7 == 0 ? "\n\n" : "\n"));
    }
    json_decref(inputs);
}

/* Lines, and stretches without any, in which parts begin amid a word. */
static void put_all(ql_buf *out)
{
    put_file(out, "data/classification/sst2_train_5000.jsonl");
    put_inputs(out, 100);
    put_run(out, "the cat sat on a mat, twice; ", PART / 2);
    put_run(out, "aGVsbG8gd29ybGQsIHRoaXMgaXMgYQ", PART + 7777);
    put_run(out, "a", PART / 2);
    put_run(out, " ", PART / 4);
    put_run(out, "我们在学习语言模型。", PART);
}

static void same_tokens(const char *model, const ql_buf *text)
{
    const char *path = check_tmp_path("whole.txt");
    ql_tokenizer *tok = NULL;
    ql_dataset *ds = NULL;
    ql_dataset_options opt;
    int32_t *ids = NULL;
    ql_sample s;
    size_t n;
    size_t lead;

    check_ok(ql_tokenizer_open(&tok, model));
    ql_dataset_options_init(&opt);
    opt.max_length = SIZE_MAX / 8;
    check_ok(ql_file_write(path, text->data, text->len));
    check_ok(ql_dataset_open(&ds, &path, 1, tok, &opt));
    check_ok(ql_tokenizer_encode(tok, text->data, text->len, false, &ids, &n));
    assert_int_equal(ql_dataset_size(ds), 1);
    s = ql_dataset_sample(ds, 0);
    lead = s.ids[0] != ids[0] || s.ids[1] != ids[1]; /* BOS */
    assert_true(s.n - lead - n <= 1);                /* EOS */
    for (size_t i = 0; i < n; i++) {
        if (s.ids[lead + i] != ids[i]) {
            fail_msg("%s: token %zu is %d instead of %d", model, i,
                     (int)s.ids[lead + i], (int)ids[i]);
        }
    }
    ql_free(ids);
    ql_dataset_close(&ds);
    ql_tokenizer_close(&tok);
}

static void plain_text__of_real_tokenizers(void **state)
{
    static const char *const folders[] = {
        "models/stories260K", "models/stories3M",
        "tokenizers/llama2",  "tokenizers/llama3-instruct",
        "tokenizers/qwen3",   "tokenizers/gemma3",
        "tokenizers/gpt2",    "tokenizers/bert-base-uncased",
    };
    ql_buf text;

    (void)state;
    ql_buf_init(&text, QL_TAG_MISC, FILE_BYTES);
    put_all(&text);
    for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
        same_tokens(check_shared(folders[i]), &text);
    }
    ql_buf_free(&text);
}

static void plain_text__of_all_families(void **state)
{
    json_error_t e;
    json_t *names = json_load_file(
        check_shared("golden/tokenizers/_expected.json"), JSON_ALLOW_NUL, &e);
    const char *name;
    json_t *cases;
    ql_buf text;

    (void)state;
    ql_buf_init(&text, QL_TAG_MISC, FILE_BYTES);
    put_all(&text);
    assert_int_equal(json_object_size(names), 15);
    json_object_foreach(names, name, cases)
    {
        char from[128];
        char to[128];

        snprintf(from, sizeof(from), "golden/tokenizers/%s.json", name);
        snprintf(to, sizeof(to), "%s/tokenizer.json", name);
        check_ok(ql_dir_make(check_tmp_path(name)));
        check_ok(ql_file_copy(check_shared(from), check_tmp_path(to)));
        same_tokens(check_tmp_path(name), &text);
    }
    ql_buf_free(&text);
    json_decref(names);
}

/* More than is read at once. */
static void plain_text__of_many_megabytes(void **state)
{
    ql_buf text;

    (void)state;
    ql_buf_init(&text, QL_TAG_MISC, FILE_BYTES);
    for (size_t i = 0; i < 5; i++) {
        put_file(&text, "data/pretrain/tinyshakespeare.txt");
    }
    put_run(&text, "aa b", 4 << 20); /* without a line */
    put_file(&text, "data/pretrain/tinyshakespeare.txt");
    same_tokens(check_shared("tokenizers/llama3-instruct"), &text);
    ql_buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text__of_real_tokenizers),
        cmocka_unit_test(plain_text__of_all_families),
        cmocka_unit_test(plain_text__of_many_megabytes),
    };

    check_need_shared();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
