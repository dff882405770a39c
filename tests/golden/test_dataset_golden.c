/* Real files of records, read with a real tokenizer. That the tokens of the
 * dialogues are those of the default template was checked once against Jinja2
 * and the tokenizers library; here their number stands for them. */
#include "qlora/dataset.h"
#include "tests/check/check.h"

static ql_tokenizer *tok;

static ql_status load(ql_dataset **ds, const char *file)
{
    const char *path = check_shared(file);
    ql_dataset_options opt;

    ql_dataset_options_init(&opt);
    return ql_dataset_open(ds, &path, 1, tok, &opt);
}

static ql_dataset_report report_of(const char *file)
{
    ql_dataset_report r;
    ql_dataset *ds = NULL;

    check_ok(load(&ds, file));
    r = *ql_dataset_report_of(ds);
    ql_dataset_close(&ds);
    return r;
}

static void records__dialogues(void **state)
{
    const ql_dataset_report r = report_of("data/chat/soda_messages.jsonl");

    (void)state;
    assert_int_equal(r.format, QL_FORMAT_MESSAGES);
    assert_int_equal(r.samples, 704);
    assert_int_equal(r.tokens, 56807);
    assert_int_equal(r.trained_tokens, 22414);
    assert_int_equal(r.longest, 302);
}

static void records__texts(void **state)
{
    const ql_dataset_report r =
        report_of("data/instruct/wikisql_text_1000.jsonl");

    (void)state;
    assert_int_equal(r.format, QL_FORMAT_TEXT);
    assert_int_equal(r.samples, 1000);
    assert_int_equal(r.trained_tokens, r.tokens - r.samples);
    assert_int_equal(report_of("data/pretrain/tinystories_valid.jsonl").samples,
                     1910);
    assert_int_equal(report_of("data/pretrain/c4_demo_300.jsonl").truncated,
                     61);
}

static void records__of_other_forms_are_refused(void **state)
{
    ql_dataset *ds = NULL;

    (void)state;
    check_fails(load(&ds, "data/math/gsm8k_train_1500.jsonl"), QL_EFORMAT,
                "(question, answer)");
    check_fails(load(&ds, "data/instruct/alpaca_1k.json"), QL_EFORMAT,
                "JSON list");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records__dialogues),
        cmocka_unit_test(records__texts),
        cmocka_unit_test(records__of_other_forms_are_refused),
    };
    int failed;

    check_need_shared();
    if (ql_tokenizer_open(&tok, check_shared("models/stories3M")) != QL_OK) {
        return 1;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    ql_tokenizer_close(&tok);
    return failed;
}
