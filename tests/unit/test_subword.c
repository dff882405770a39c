/* The models one by one: which tokens a text becomes, and where they begin. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/text/tokenizer_handle.h"
#include "tests/check/check.h"
#include "tests/check/toy_text.h"

/* Opens a tokenizer that is no more than members of tokenizer.json. */
static ql_status open_json(ql_tokenizer **out, const char *json)
{
    json_t *o = toy_text_json(json);
    char *text = json_dumps(o, 0);

    assert_non_null(text);
    toy_text_file("toy/tokenizer.json", text);
    free(text);
    json_decref(o);
    return ql_tokenizer_open(out, check_tmp_path("toy"));
}

/* want: the tokens, each with where it begins, as "ab@0 c@2". */
static void gives(const char *json, const char *text, const char *want)
{
    ql_tokenizer *tok = NULL;
    char shown[1000] = "";
    size_t len = 0;
    ql_encoding e;

    check_ok(open_json(&tok, json));
    ql_encoding_init(&e, QL_TAG_TEXT, true);
    check_ok(ql_tokenizer_append(tok, text, strlen(text), true, &e));
    for (size_t i = 0; i < ql_encoding_size(&e); i++) {
        len += (size_t)snprintf(shown + len, sizeof(shown) - len, "%s%s@%zu",
                                i > 0 ? " " : "",
                                ql_tokenizer_token(tok, ql_encoding_ids(&e)[i]),
                                ql_encoding_starts(&e)[i]);
    }
    assert_string_equal(shown, want);
    ql_encoding_free(&e);
    ql_tokenizer_close(&tok);
}

static void refuses(const char *json, const char *sentence)
{
    ql_tokenizer *tok = NULL;

    check_fails(open_json(&tok, json), QL_EFORMAT, sentence);
    assert_non_null(strstr(ql_last_error(), "tokenizer.json: "));
}

static void subword__bpe_with_affixes(void **state)
{
    const char *json =
        "{'pre_tokenizer': {'type': 'WhitespaceSplit'}, 'model': {"
        "'type': 'BPE', 'continuing_subword_prefix': '##',"
        "'end_of_word_suffix': '.', 'unk_token': 'u', 'vocab': {'u': 0,"
        "'a': 1, '##b': 2, '##b.': 3, 'a.': 4, 'ab': 5, 'ab.': 6, '##a': 7,"
        "'##ab.': 8, 'aab.': 9},"
        "'merges': ['#version: 0.2', 'a ##b', 'a ##b.', '##a ##b.']}}";

    (void)state;
    gives(json, "ab a aab", "ab.@0 a.@3 a@5 ##ab.@6");
    gives(json, "abb c", "ab@0 ##b.@2 u@4");
    refuses("{'model': {'type': 'BPE', 'continuing_subword_prefix': '##',"
            "'vocab': {'a': 0, 'b': 1}, 'merges': ['a b']}}",
            "merge 0");
}

/* A word that is an added token is none of the model's. */
static void subword__models_do_not_know_added_tokens(void **state)
{
    const char *added = "'added_tokens': [{'id': 9, 'content': 'ab',"
                        "'single_word': true}]";
    char json[512];

    (void)state;
    snprintf(json, sizeof(json),
             "{%s, 'model': {'type': 'BPE', 'ignore_merges': true,"
             "'vocab': {'a': 0, 'b': 1, 'x': 2}, 'merges': []},"
             "'pre_tokenizer': {'type': 'Split', 'pattern': {'String': 'x'},"
             "'behavior': 'Isolated', 'invert': false}}",
             added);
    gives(json, "xab ab", "x@0 a@1 b@2 ab@4");
    snprintf(json, sizeof(json),
             "{%s, 'model': {'type': 'WordLevel', 'unk_token': 'u', 'vocab':"
             "{'u': 0, 'x': 1}}, 'pre_tokenizer': {'type': 'Digits',"
             "'individual_digits': true}}",
             added);
    gives(json, "x1ab", "x@0 u@1 u@2");
}

static void subword__wordpiece(void **state)
{
    const char *json =
        "{'pre_tokenizer': {'type': 'WhitespaceSplit'}, 'model': {"
        "'type': 'WordPiece', 'unk_token': '[U]',"
        "'continuing_subword_prefix': '##', 'max_input_chars_per_word': 5,"
        "'vocab': {'[U]': 0, 'a': 1, 'ab': 2, '##c': 3, '##cd': 4,"
        "'##\u00e9': 5, 'b': 6}}}";

    (void)state;
    gives(json, "abcd  ac\u00e9", "ab@0 ##cd@2 a@6 ##c@7 ##\u00e9@8");
    gives(json, "abx b ba", "[U]@0 b@4 [U]@6");
    gives(json, "accc accccc", "a@0 ##c@1 ##c@2 ##c@3 [U]@5");
    gives(json, "a\u00e9\u00e9\u00e9\u00e9",
          "a@0 ##\u00e9@1 ##\u00e9@3 ##\u00e9@5 ##\u00e9@7");
    refuses("{'model': {'type': 'WordPiece', 'vocab': {'a': 0}}}", "unk_token");
}

static void subword__unigram(void **state)
{
    const char *json =
        "{'model': {'type': 'Unigram', 'unk_id': 0, 'vocab': [['u', 0],"
        "['a', -1], ['b', -1.5], ['ab', -3], ['abc', -2], ['c', -6],"
        "['bb', -3]]}}";
    const char *bytes =
        "{'model': {'type': 'Unigram', 'unk_id': 0, 'byte_fallback': true,"
        "'vocab': [['u', 0], ['a', -1], ['<0xC3>', -2], ['<0xA9>', -2]]}}";

    (void)state;
    gives(json, "ab", "a@0 b@1");
    gives(json, "abcab", "abc@0 a@3 b@4");
    /* of two ways with one score the first found */
    gives(json, "bb", "bb@0");
    gives(json, "xyaz", "u@0 a@2 u@3");
    gives(bytes, "a\u00e9x", "a@0 u@1");
    gives(bytes, "\u00e9", "<0xC3>@0 <0xA9>@1");
    refuses("{'model': {'type': 'Unigram', 'unk_id': 1, 'vocab': [['a', 0]]}}",
            "unk_id");
    refuses("{'model': {'type': 'Unigram', 'vocab': [['a']]}}", "expected");
    refuses("{'model': {'type': 'Unigram', 'vocab': [3]}}", "token 0 must be");
    refuses("{'model': {'type': 'Unigram', 'vocab': [['a\\u0000', 0]]}}",
            "model: the token with id 0 is not text");
    refuses("{'model': {'type': 'Unigram', 'vocab': {}}}",
            "\"vocab\" must be a list");
}

static void subword__unigram_without_unknown(void **state)
{
    ql_tokenizer *tok = NULL;
    int32_t *ids;
    size_t n;

    (void)state;
    check_ok(open_json(&tok, "{'model': {'type': 'Unigram', 'unk_id': null,"
                             "'vocab': [['a', 0]]}}"));
    check_fails(ql_tokenizer_encode(tok, "ab", 2, false, &ids, &n), QL_EFORMAT,
                "tokenizer.json: model: the text holds");
    assert_null(ids);
    ql_tokenizer_close(&tok);
}

static void subword__tells_models_without_type(void **state)
{
    (void)state;
    gives("{'model': {'vocab': {'a': 0, 'aa': 1}, 'merges': [['a', 'a']]}}",
          "aaa", "aa@0 a@2");
    gives("{'model': {'vocab': [['a', -1], ['u', -2]], 'unk_id': 1}}", "aa",
          "a@0 a@1");
    gives("{'model': {'vocab': {'[UNK]': 0, 'a': 1, '##b': 2},"
          "'max_input_chars_per_word': 9}}",
          "ab", "a@0 ##b@1");
    gives("{'model': {'vocab': {'u': 0, 'ab': 1}, 'unk_token': 'u'}}", "ab",
          "ab@0");
}

/* A word whose merges are all of one kind, in which no place can be cut. */
static void subword__long_words_take_no_square_time(void **state)
{
    const size_t n = 1000000;
    char *text = ql_alloc(QL_TAG_TEXT, n, 1);
    ql_tokenizer *tok = NULL;
    int32_t *ids;
    size_t count;

    (void)state;
    assert_non_null(text);
    memset(text, 'a', n);
    check_ok(open_json(&tok, "{'model': {'type': 'BPE', 'vocab': {'a': 0,"
                             "'aa': 1, 'aaaa': 2}, 'merges': ['a a',"
                             "'aa aa']}}"));
    check_ok(ql_tokenizer_encode(tok, text, n, false, &ids, &count));
    assert_int_equal(count, n / 4);
    ql_free(ids);
    ql_tokenizer_close(&tok);
    ql_free(text);
}

/* Ids and types of a pair, as "1:0 2:1". */
static void pair_gives(const char *post, bool specials, const char *want)
{
    const char *const texts[] = {"a", "b"};
    const size_t lens[] = {1, 1};
    ql_tokenizer *tok = NULL;
    char json[1000];
    char shown[200] = "";
    size_t len = 0;
    uint8_t *types;
    int32_t *ids;
    size_t n;

    snprintf(json, sizeof(json),
             "{'post_processor': %s, 'model': {'type': 'WordLevel',"
             "'unk_token': 'a', 'vocab': {'a': 0, 'b': 1, 'x': 2, 'y': 3}}}",
             post);
    check_ok(open_json(&tok, json));
    check_ok(
        ql_tokenizer_encode_pair(tok, texts, lens, specials, &ids, &types, &n));
    for (size_t i = 0; i < n; i++) {
        len += (size_t)snprintf(shown + len, sizeof(shown) - len, "%s%d:%u",
                                i > 0 ? " " : "", ids[i], types[i]);
    }
    assert_string_equal(shown, want);
    ql_free(ids);
    ql_free(types);
    ql_tokenizer_close(&tok);
}

static void subword__pairs(void **state)
{
    const char *bert =
        "{'type': 'BertProcessing', 'cls': ['x', 2], 'sep': ['y', 3]}";
    const char *roberta =
        "{'type': 'RobertaProcessing', 'cls': ['x', 2], 'sep': ['y', 3]}";
    const char *template =
        "{'type': 'Sequence', 'processors': [{'type': 'ByteLevel'},"
        "{'type': 'TemplateProcessing', 'single': [{'Sequence': {'id': 'A'}}],"
        "'pair': [{'Sequence': {'id': 'B', 'type_id': 1}}, {'SpecialToken':"
        "{'id': 'z', 'type_id': 7}}, {'Sequence': {'id': 'A'}}],"
        "'special_tokens': {'z': {'ids': [3, 2]}}}]}";

    (void)state;
    pair_gives("null", true, "0:0 1:1");
    pair_gives(bert, true, "2:0 0:0 3:0 1:1 3:1");
    pair_gives(bert, false, "0:0 1:1");
    pair_gives(roberta, true, "2:0 0:0 3:0 3:0 1:0 3:0");
    pair_gives(template, true, "1:1 3:7 2:7 0:0");
    pair_gives(template, false, "1:1 0:0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subword__bpe_with_affixes),
        cmocka_unit_test(subword__models_do_not_know_added_tokens),
        cmocka_unit_test(subword__wordpiece),
        cmocka_unit_test(subword__unigram),
        cmocka_unit_test(subword__unigram_without_unknown),
        cmocka_unit_test(subword__tells_models_without_type),
        cmocka_unit_test(subword__long_words_take_no_square_time),
        cmocka_unit_test(subword__pairs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
