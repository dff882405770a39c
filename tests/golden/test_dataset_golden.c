/* Real files of records, read with a real tokenizer. That the tokens of the
 * dialogues are those of the default template was checked once against Jinja2
 * and the tokenizers library; here their number stands for them. */
#include "qlora/dataset.h"
#include "src/base/file.h"
#include "src/data/draft.h"
#include "tests/check/check.h"
#include "tests/golden/reference.h"

static ql_status load(ql_dataset **ds, const char *file, size_t max_length)
{
    const char *path = check_shared(file);
    ql_dataset_options opt;

    ql_dataset_options_init(&opt);
    opt.max_length = max_length;
    return ql_dataset_open(ds, &path, 1, reference_tok, &opt);
}

static ql_dataset_report report_of(const char *file)
{
    ql_dataset_report r;
    ql_dataset *ds = NULL;

    check_ok(load(&ds, file, 1024));
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

static void is_read(const char *file, ql_format format, const char *keys,
                    size_t samples)
{
    ql_dataset *ds = NULL;

    check_ok(load(&ds, file, 1 << 16));
    assert_int_equal(ql_dataset_files(ds), 1);
    assert_int_equal(ql_dataset_file_report(ds, 0)->format, format);
    assert_string_equal(ql_dataset_file_report(ds, 0)->keys, keys);
    assert_int_equal(ql_dataset_size(ds), samples);
    assert_int_equal(ql_dataset_report_of(ds)->refused, 0);
    ql_dataset_close(&ds);
}

static void records__of_all_forms(void **state)
{
    (void)state;
    is_read("data/chat/sharegpt_glaive_toolcall_300.json", QL_FORMAT_SHAREGPT,
            "conversations", 300);
    is_read("data/chat/sharegpt_vicuna_identity.json", QL_FORMAT_SHAREGPT,
            "conversations", 500);
    is_read("data/classification/sst2_dev_872.jsonl", QL_FORMAT_ALPACA,
            "text, label", 872);
    is_read("data/classification/sst2_train_5000.jsonl", QL_FORMAT_ALPACA,
            "text, label", 5000);
    is_read("data/instruct/alpaca_1k.json", QL_FORMAT_ALPACA,
            "instruction, output", 1000);
    is_read("data/instruct/llamafactory_alpaca_en_demo.json", QL_FORMAT_ALPACA,
            "instruction, output", 999);
    is_read("data/math/gsm8k_test_300.jsonl", QL_FORMAT_ALPACA,
            "question, answer", 300);
    is_read("data/math/gsm8k_train_1500.jsonl", QL_FORMAT_ALPACA,
            "question, answer", 1500);
    is_read("data/preference/dpo_en_150.json", QL_FORMAT_SHAREGPT,
            "conversations, chosen", 150);
}

/* No token of a plain text is lost: the pieces, without the token that each
 * begins with, are the text and its end. */
static void records__plain_text(void **state)
{
    const char *file = "data/pretrain/tinyshakespeare.txt";
    ql_dataset *ds = NULL;
    char *text;
    char *back;
    size_t len;
    size_t n;
    ql_buf ids;

    (void)state;
    ql_buf_init(&ids, QL_TAG_MISC, SIZE_MAX / 4);
    check_ok(load(&ds, file, 512));
    for (size_t i = 0; i < ql_dataset_size(ds); i++) {
        const ql_sample s = ql_dataset_sample(ds, i);

        assert_int_equal(s.ids[0], ql_tokenizer_bos(reference_tok));
        assert_true(s.n == 512 || i + 1 == ql_dataset_size(ds));
        assert_int_equal(ql_sample_trained(s), s.n - 1);
        check_ok(ql_buf_append(&ids, s.ids + 1, (s.n - 1) * sizeof(*s.ids)));
    }
    check_ok(ql_tokenizer_decode(reference_tok, (const void *)ids.data,
                                 ids.len / sizeof(int32_t), true, &back, &n));
    check_ok(ql_file_read(check_shared(file), 1 << 24, &text, &len));
    assert_int_equal(n, len);
    assert_memory_equal(back, text, len);
    ql_free(text);
    ql_free(back);
    ql_buf_free(&ids);
    ql_dataset_close(&ds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records__dialogues),
        cmocka_unit_test(records__texts),
        cmocka_unit_test(records__of_all_forms),
        cmocka_unit_test(records__plain_text),
    };

    check_need_shared();
    return cmocka_run_group_tests(tests, reference_tok_setup,
                                  reference_tok_teardown);
}
