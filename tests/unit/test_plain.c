/* Plain text in parts: a run of letters in which no place stands by itself
 * still has the tokens of the whole, up to a length; past that no text is
 * lost. */
#include <string.h>

#include "qlora/dataset.h"
#include "src/base/buf.h"
#include "src/base/file.h"
#include "tests/check/check.h"
#include "tests/check/toy_text.h"

enum {
    MEBI = 1 << 20
};

static ql_tokenizer *tok;

/* "aa" becomes one token, so that where it begins depends on where the run
 * does. */
static int setup(void **state)
{
    (void)state;
    check_ok(toy_text_open(
        &tok,
        "{\"model\": {\"merges\": [\"a a\"], \"vocab\": {\"aa\": 358}}}"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ql_tokenizer_close(&tok);
    return 0;
}

/* A line, then a letter and n times "a", then a line. Owned: ql_buf_free. */
static void make_text(ql_buf *text, size_t n)
{
    ql_buf_init(text, QL_TAG_MISC, SIZE_MAX / 4);
    check_ok(ql_buf_puts(text, "hi there.\nb"));
    for (size_t i = 0; i < n; i++) {
        check_ok(ql_buf_putc(text, 'a'));
    }
    check_ok(ql_buf_puts(text, "\nhi\n"));
}

/* The file of a text, as one sample. */
static ql_dataset *load(const ql_buf *text)
{
    const char *path = check_tmp_path("run.txt");
    ql_dataset_options opt;
    ql_dataset *ds = NULL;

    ql_dataset_options_init(&opt);
    opt.max_length = SIZE_MAX / 8;
    check_ok(ql_file_write(path, text->data, text->len));
    check_ok(ql_dataset_open(&ds, &path, 1, tok, &opt));
    assert_int_equal(ql_dataset_size(ds), 1);
    return ds;
}

static void plain_text__of_one_long_word(void **state)
{
    int32_t *ids = NULL;
    ql_dataset *ds;
    ql_sample s;
    ql_buf text;
    size_t n;

    (void)state;
    make_text(&text, 3 * MEBI / 2 + 1);
    ds = load(&text);
    s = ql_dataset_sample(ds, 0);
    check_ok(ql_tokenizer_encode(tok, text.data, text.len, true, &ids, &n));
    assert_int_equal(s.n, n);
    assert_memory_equal(s.ids, ids, n * sizeof(*ids));
    ql_free(ids);
    ql_buf_free(&text);
    ql_dataset_close(&ds);
}

static void plain_text__of_an_endless_word_is_not_lost(void **state)
{
    const size_t run = 11 * MEBI + 1;
    size_t letters = 0;
    ql_dataset *ds;
    ql_sample s;
    ql_buf text;
    int32_t one;
    int32_t two;

    (void)state;
    make_text(&text, run);
    ds = load(&text);
    s = ql_dataset_sample(ds, 0);
    one = ql_tokenizer_id(tok, "a");
    two = ql_tokenizer_id(tok, "aa");
    for (size_t i = 0; i < s.n; i++) {
        letters += s.ids[i] == two ? 2 : s.ids[i] == one;
    }
    assert_int_equal(letters, run);
    assert_true(s.n < run / 2 + 64);
    ql_buf_free(&text);
    ql_dataset_close(&ds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text__of_one_long_word),
        cmocka_unit_test(plain_text__of_an_endless_word_is_not_lost),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
