/* Classifiers: names of classes, their records as tokens, and what is counted
 * of them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "qlora/dataset.h"
#include "src/base/file.h"
#include "src/data/batches.h"
#include "src/model/labels.h"
#include "src/op/classes.h"
#include "tests/check/check.h"
#include "tests/check/toy_adapter.h"

static const char tokenizer[] =
    "{'added_tokens': [{'id': 0, 'content': '[CLS]', 'special': true, "
    "'normalized': false}, {'id': 1, 'content': '[SEP]', 'special': true, "
    "'normalized': false}], 'normalizer': null, 'pre_tokenizer': {'type': "
    "'BertPreTokenizer'}, 'post_processor': {'type': 'BertProcessing', 'cls': "
    "['[CLS]', 0], 'sep': ['[SEP]', 1]}, 'decoder': {'type': 'WordPiece', "
    "'prefix': '##', 'cleanup': true}, 'model': {'type': 'WordPiece', "
    "'unk_token': '[UNK]', 'continuing_subword_prefix': '##', "
    "'max_input_chars_per_word': 100, 'vocab': {'[CLS]': 0, '[SEP]': 1, "
    "'[UNK]': 2, 'a': 3, 'b': 4, 'c': 5}}}";

/* A folder with this in its config.json, and its tokenizer. */
static const char *folder(const char *config)
{
    const char *dir = check_tmp_path("model");

    check_ok(ql_dir_make(dir));
    toy_json_write(dir, "config.json", config);
    toy_json_write(dir, "tokenizer.json", tokenizer);
    return dir;
}

static const char named[] =
    "{'model_type': 'bert', 'max_position_embeddings': 6, 'id2label': {'0': "
    "'bad', '1': 'good', '2': '7'}}";

static void labels__are_those_of_the_config(void **state)
{
    ql_labels l;

    (void)state;
    check_ok(ql_labels_init(&l, folder(named)));
    assert_int_equal(l.n, 3);
    assert_int_equal(ql_labels_find(&l, "good"), 1);
    assert_int_equal(ql_labels_find(&l, "goo"), 3);
    assert_int_equal(l.longest, 6);
    ql_labels_free(&l);
    check_ok(
        ql_labels_init(&l, folder("{'model_type': 'bert', 'num_labels': 4}")));
    assert_int_equal(ql_labels_find(&l, "LABEL_3"), 3);
    ql_labels_free(&l);
    check_ok(ql_labels_init(&l, folder("{'model_type': 'llama'}")));
    assert_int_equal(l.n, 0);
    check_fails(ql_labels_init(&l, folder("{'model_type': 'bert', "
                                          "'num_labels': 1}")),
                QL_EUNSUPPORTED, "a head with 1 labels");
    check_fails(ql_labels_init(&l, folder("{'model_type': 'bert', "
                                          "'problem_type': 'regression'}")),
                QL_EUNSUPPORTED, "regression");
    check_fails(ql_labels_init(&l, folder("{'model_type': 'bert', 'id2label': "
                                          "{'0': 'a', '2': 'b'}}")),
                QL_EFORMAT, "must name the classes 0 to 1");
}

static ql_status read_as(const char *records, ql_dataset_options *o,
                         ql_dataset **ds)
{
    const char *dir = folder(named);
    const char *file = check_tmp_path("records.jsonl");
    ql_tokenizer *tok = NULL;
    ql_status st;

    toy_json_write(check_tmp(), "records.jsonl", records);
    check_ok(ql_tokenizer_open(&tok, dir));
    st = ql_dataset_open(ds, &file, 1, tok, o);
    ql_tokenizer_close(&tok);
    return st;
}

static ql_status read(const char *records, ql_dataset **ds)
{
    ql_dataset_options o;

    ql_dataset_options_init(&o);
    return read_as(records, &o, ds);
}

static void check_sample(const ql_dataset *ds, size_t i, const char *ids,
                         const char *types, int label)
{
    const ql_sample s = ql_dataset_sample(ds, i);

    assert_int_equal(s.n, strlen(ids));
    assert_int_equal(s.label, label + 1);
    for (size_t t = 0; t < s.n; t++) {
        assert_int_equal(s.ids[t], ids[t] - '0');
        assert_int_equal(s.train[t], types[t] - '0');
    }
}

/* Labels by number and name; names go before numbers that are written out. */
static void records__become_labelled_samples(void **state)
{
    ql_dataset *ds = NULL;

    (void)state;
    check_ok(read("{'text': 'a b', 'label': 0}\n"
                  "{'text': 'c', 'label': 'good'}\n"
                  "{'text': 'c', 'label': '7'}\n"
                  "{'text': 'c', 'label': '1'}\n"
                  "{'text': '', 'label': true}\n",
                  &ds));
    check_sample(ds, 0, "0341", "0000", 0);
    check_sample(ds, 1, "051", "000", 1);
    check_sample(ds, 2, "051", "000", 2);
    check_sample(ds, 3, "051", "000", 1);
    check_sample(ds, 4, "01", "00", 1);
    assert_int_equal(ql_dataset_report_of(ds)->format,
                     QL_FORMAT_CLASSIFICATION);
    assert_string_equal(ql_dataset_report_of(ds)->keys, "text, label");
    assert_int_equal(ql_dataset_report_of(ds)->trained_tokens, 5);
    ql_dataset_close(&ds);
}

/* The longer text of a pair is cut, the second of equals; what the texts stand
 * between stays. */
static void pairs__are_cut_as_transformers_does(void **state)
{
    ql_dataset_options o;
    ql_dataset *ds = NULL;

    (void)state;
    check_ok(read("{'sentence1': 'a', 'sentence2': 'b', 'label': 1}\n"
                  "{'sentence1': 'a b c', 'sentence2': 'b', 'label': 1}\n"
                  "{'sentence1': 'a', 'sentence2': 'b c a c', 'label': 1}\n"
                  "{'sentence1': 'a b', 'sentence2': 'b c', 'label': 1}\n",
                  &ds));
    check_sample(ds, 0, "03141", "00011", 1);
    check_sample(ds, 1, "034141", "000011", 1);
    check_sample(ds, 2, "031451", "000111", 1);
    check_sample(ds, 3, "034141", "000011", 1);
    assert_int_equal(ql_dataset_report_of(ds)->truncated, 3);
    ql_dataset_close(&ds);
    ql_dataset_options_init(&o);
    o.truncation = QL_TRUNCATION_DROP;
    check_ok(read_as("{'text': 'a', 'text_pair': 'b', 'label': 1}\n"
                     "{'text': 'a b c', 'text_pair': 'b', 'label': 1}\n",
                     &o, &ds));
    assert_int_equal(ql_dataset_size(ds), 1);
    assert_int_equal(ql_dataset_report_of(ds)->dropped_long, 1);
    ql_dataset_close(&ds);
}

static void records__that_do_not_fit_are_refused(void **state)
{
    static const char *const bad[][2] = {
        {"{'text': 'a', 'label': 3}", "the label 3 is none"},
        {"{'text': 'a', 'label': -1}", "they are bad, good, 7, or 0 to 2"},
        {"{'text': 'a', 'label': 'ugly'}", "the label ugly is none"},
        {"{'text': 'a', 'label': 1.5}", "must be the number or the name"},
        {"{'text': 'a'}", "must be the number or the name"},
        {"{'messages': [], 'label': 0}", "has no text for it"},
    };
    ql_dataset_options o;
    ql_dataset *ds = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        check_fails(read(bad[i][0], &ds), QL_EFORMAT, bad[i][1]);
    }
    ql_dataset_options_init(&o);
    o.format = QL_FORMAT_ALPACA;
    check_fails(read_as("{'text': 'a', 'label': 0}", &o, &ds), QL_EINVAL,
                "leave format alpaca out");
}

/* The class is the target of a text's first token; types go along. */
static void batches__carry_class_and_types(void **state)
{
    const ql_batches_options opt = {.size = 2};
    ql_dataset *ds = NULL;
    ql_batches b;
    ql_batch got;

    (void)state;
    check_ok(read("{'text': 'a', 'label': 2}\n"
                  "{'text': 'a', 'text_pair': 'b', 'label': 0}\n",
                  &ds));
    check_ok(ql_batches_init(&b, ds, &opt));
    ql_batches_get(&b, 0, &got);
    assert_int_equal(got.T, 8);
    assert_int_equal(ql_batches_trained(&b, 0), 2);
    for (size_t t = 0; t < 8; t++) {
        assert_int_equal(got.target[t], t == 0 ? 2 : t == 3 ? 0 : -1);
        assert_int_equal(got.type[t], t >= 6);
    }
    ql_batches_free(&b);
    ql_dataset_close(&ds);
}

/* By hand: three texts of three classes. */
static void loss__and_gradient_are_those_of_softmax(void **state)
{
    const float z[] = {1, 2, 3, 0, 0, 0, 5, 1, 1};
    const int32_t label[] = {2, 1, 1};
    size_t table[9] = {0};
    ql_loss sum = {0};
    float dz[9];
    double want = 0;

    (void)state;
    ql_classes_loss(&sum, dz, z, label, 3, 3, 0.5F, table);
    for (size_t s = 0; s < 3; s++) {
        double all = 0;

        for (size_t c = 0; c < 3; c++) {
            all += exp((double)z[3 * s + c]);
        }
        for (size_t c = 0; c < 3; c++) {
            const double p = exp((double)z[3 * s + c]) / all;
            const double g = 0.5 * (p - ((size_t)label[s] == c));

            assert_true(fabs((double)dz[3 * s + c] - g) < 1e-7);
        }
        want += log(all) - (double)z[3 * s + (size_t)label[s]];
    }
    assert_true(fabs(sum.sum - want) < 1e-12);
    assert_int_equal(sum.count, 3);
    assert_int_equal(sum.hits, 1);
    assert_int_equal(table[2 * 3 + 2], 1);
    assert_int_equal(table[1 * 3 + 0], 2);
}

/* Against scikit-learn's definition, worked out by hand. */
static void f1__is_that_of_the_second_class_or_the_mean(void **state)
{
    const size_t two[] = {5, 1, 2, 4};
    const size_t three[] = {2, 1, 0, 1, 3, 0, 0, 1, 0};
    const size_t none[4] = {3, 0, 0, 0};

    (void)state;
    assert_true(fabs(ql_classes_f1(two, 2) - 8.0 / 11) < 1e-12);
    assert_true(fabs(ql_classes_f1(three, 3) -
                     (2.0 * 2 / 6 + 2.0 * 3 / 9 + 0) / 3) < 1e-12);
    assert_true(ql_classes_f1(none, 2) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels__are_those_of_the_config),
        cmocka_unit_test(records__become_labelled_samples),
        cmocka_unit_test(pairs__are_cut_as_transformers_does),
        cmocka_unit_test(records__that_do_not_fit_are_refused),
        cmocka_unit_test(batches__carry_class_and_types),
        cmocka_unit_test(loss__and_gradient_are_those_of_softmax),
        cmocka_unit_test(f1__is_that_of_the_second_class_or_the_mean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
