/* The parts of the tokenizer one by one, on the toy tokenizer, and files that
 * are wrong. */
#include <stdio.h>
#include <string.h>

#include "qlora/runtime.h"
#include "src/base/file.h"
#include "src/text/tokenizer_handle.h"
#include "tests/check/check.h"
#include "tests/check/toy_text.h"

/* The tokens of a text, with a space between them. */
static const char *tokens_of(const ql_tokenizer *tok, const char *text,
                             bool specials)
{
    static const uint8_t untrained[256];
    ql_sample s = {.train = untrained};
    const char *shown;
    int32_t *ids;

    check_ok(
        ql_tokenizer_encode(tok, text, strlen(text), specials, &ids, &s.n));
    assert_true(s.n <= sizeof(untrained));
    s.ids = ids;
    shown = toy_text_show(tok, s);
    ql_free(ids);
    return shown;
}

/* Opens the toy with a change, compares the tokens of one text. */
static void gives(const char *change, const char *text, const char *tokens)
{
    ql_tokenizer *tok = NULL;

    check_ok(toy_text_open(&tok, change));
    assert_string_equal(tokens_of(tok, text, false), tokens);
    ql_tokenizer_close(&tok);
}

static void refuses(const char *change, ql_status status, const char *text)
{
    ql_tokenizer *tok = NULL;

    check_fails(toy_text_open(&tok, change), status, text);
    assert_non_null(strstr(ql_last_error(), "tokenizer.json: "));
    assert_null(tok);
}

static void tokenizer__merges_lowest_rank_first(void **state)
{
    (void)state;
    gives(NULL, "hi ab  hi", "▁hi ▁ ab ▁▁ h i");
    gives(NULL, "", "");
    gives(NULL, " ", "▁▁");
    gives(NULL, "aab", "▁ a ab");
    gives("{'model': {'merges': ['▁ h', '▁ ▁', '▁h i']}}", "  hi", "▁▁ ▁hi");
    gives("{'model': {'merges': []}}", "hi", "▁ h i");
    gives("{'model': {'ignore_merges': true, 'merges': []},"
          "'normalizer': null}",
          "ab", "ab");
}

static void tokenizer__merges_of_one_rank_go_from_left_to_right(void **state)
{
    (void)state;
    gives(NULL, "    ", "▁▁ ▁▁ ▁");
    gives("{'model': {'vocab': {'aa': 400, 'aaa': 401},"
          "'merges': ['a a', 'aa a']}, 'normalizer': null}",
          "aaaaaaa", "aa aa aaa");
}

static void tokenizer__unknown_characters(void **state)
{
    (void)state;
    gives(NULL, "é", "▁ <0xC3> <0xA9>");
    gives("{'model': {'byte_fallback': false}}", "éèxé", "▁ <unk> x <unk>");
    gives("{'model': {'byte_fallback': false, 'fuse_unk': false}}", "éè",
          "▁ <unk> <unk>");
    gives("{'model': {'byte_fallback': false, 'unk_token': null}}", "éxè",
          "▁ x");
}

static void tokenizer__post_processor(void **state)
{
    ql_tokenizer *tok = NULL;

    (void)state;
    check_ok(toy_text_open(&tok, NULL));
    assert_string_equal(tokens_of(tok, "hi", true), "<s> ▁hi");
    ql_tokenizer_close(&tok);
    check_ok(toy_text_open(
        &tok, "{'post_processor': {'single': [{'Sequence': {'id': 'A'}},"
              "{'SpecialToken': {'id': 'x'}}],"
              "'special_tokens': {'x': {'ids': [2, 2]}}}}"));
    assert_string_equal(tokens_of(tok, "hi", true), "▁hi </s> </s>");
    ql_tokenizer_close(&tok);
    check_ok(toy_text_open(&tok, "{'post_processor': null}"));
    assert_string_equal(tokens_of(tok, "hi", true), "▁hi");
    ql_tokenizer_close(&tok);
}

static void tokenizer__added_tokens(void **state)
{
    (void)state;
    gives(NULL, "hi</s>hi <s>", "▁hi </s> ▁hi ▁ <s>");
    gives("{'added_tokens': [{'id': 400, 'content': 'xx'},"
          "{'id': 401, 'content': 'xxyy', 'normalized': false}]}",
          "xxyxxyyxx", "xx y xxyy xx");
    gives("{'added_tokens': [{'id': 400, 'content': 'xx', 'lstrip': true,"
          "'rstrip': true, 'normalized': false}]}",
          "a \n xx\t b", "▁ a xx ▁ b");
    gives("{'added_tokens': [{'id': 400, 'content': 'xx', 'special': true,"
          "'single_word': true}]}",
          "xx xxx éxx xx.", "xx ▁▁ x x x ▁ <0xC3> <0xA9> x x ▁ xx ▁ .");
}

/* A token within the white space that the one before has taken is found,
 * unless it takes white space itself; ids of known contents are the model's. */
static void tokenizer__added_tokens_side_by_side(void **state)
{
    (void)state;
    gives("{'normalizer': null, 'added_tokens': [{'id': 400, 'content': 'xx',"
          "'rstrip': true, 'normalized': false}, {'id': 401, 'content':"
          "'\\n', 'normalized': false}]}",
          "xx \nz", "xx \n z");
    gives("{'normalizer': null, 'added_tokens': [{'id': 400, 'content': 'xx',"
          "'rstrip': true, 'normalized': false}, {'id': 401, 'content':"
          "'\\n', 'lstrip': true, 'normalized': false}]}",
          "xx \nz", "xx z");
    gives("{'added_tokens': [{'id': 900, 'content': '<s>'}]}", "<s>", "<s>");
}

static void tokenizer__added_tokens_in_normalized_text(void **state)
{
    const char *change =
        "{'added_tokens': [{'id': 400, 'content': 'a b', 'normalized': true},"
        "{'id': 401, 'content': 'cc', 'normalized': true}],"
        "'normalizer': {'type': 'Replace', 'pattern': {'String': ' '},"
        "'content': '▁'}}";

    (void)state;
    gives(change, "xa ba▁bccab", "x a b a b cc ab");
    gives("{'added_tokens': [{'id': 400, 'content': '==', 'normalized': true}],"
          "'normalizer': {'type': 'Replace', 'pattern': {'String': '='},"
          "'content': ''}}",
          "a==b", "ab");
}

static void tokenizer__metaspace(void **state)
{
    (void)state;
    gives("{'normalizer': null, 'pre_tokenizer': {'type': 'Metaspace',"
          "'replacement': '▁', 'prepend_scheme': 'first', 'split': false}}",
          "hi  hi</s>hi", "▁hi ▁▁ h i </s> h i");
    gives("{'normalizer': null, 'pre_tokenizer': {'type': 'Metaspace'}}",
          "hi  hi</s>hi", "▁hi ▁ ▁hi </s> ▁hi");
    gives("{'normalizer': null, 'pre_tokenizer': {'type': 'Sequence',"
          "'pretokenizers': [{'type': 'Metaspace',"
          "'add_prefix_space': false}]}}",
          "hi hi", "h i ▁hi");
}

static void decodes(const char *change, const char *text, bool skip,
                    const char *want)
{
    ql_tokenizer *tok = NULL;
    int32_t *ids;
    char *back;
    size_t len;
    size_t n;

    check_ok(toy_text_open(&tok, change));
    check_ok(ql_tokenizer_encode(tok, text, strlen(text), true, &ids, &n));
    check_ok(ql_tokenizer_decode(tok, ids, n, skip, &back, &len));
    assert_string_equal(back, want);
    assert_int_equal(len, strlen(want));
    ql_free(ids);
    ql_free(back);
    ql_tokenizer_close(&tok);
}

static void tokenizer__decodes(void **state)
{
    (void)state;
    decodes(NULL, "hi é 日", true, "hi é 日");
    decodes(NULL, "hi", false, "<s> hi");
    decodes(NULL, "", true, "");
    decodes("{'decoder': null}", "hi a", true, "▁hi ▁ a");
    decodes("{'decoder': {'decoders': [{'type': 'Strip', 'content': 'a',"
            "'start': 1, 'stop': 2}]}}",
            "xaab", true, "▁xb");
    decodes("{'decoder': {'type': 'Metaspace'}}", "hi a", true, "hi a");
}

static void tokenizer__decodes_bytes_that_are_no_text(void **state)
{
    const int32_t ids[] = {3 + 0xe6, 3 + 0x97, 260};
    const int32_t wrong[] = {1000};
    ql_tokenizer *tok = NULL;
    char *text;
    size_t len;

    (void)state;
    check_ok(toy_text_open(&tok, NULL));
    check_ok(ql_tokenizer_decode(tok, ids, 3, true, &text, &len));
    assert_string_equal(text, "\xef\xbf\xbd\xef\xbf\xbd!");
    ql_free(text);
    check_fails(ql_tokenizer_decode(tok, wrong, 1, true, &text, &len),
                QL_EINVAL, "1000");
    ql_tokenizer_close(&tok);
}

static void tokenizer__says_where_tokens_begin(void **state)
{
    static const size_t want[] = {0, 2, 6, 6, 7, 8};
    const char *text = "hi</s>é hi";
    ql_tokenizer *tok = NULL;
    ql_encoding e;

    (void)state;
    check_ok(toy_text_open(&tok, NULL));
    ql_encoding_init(&e, QL_TAG_TEXT, true);
    check_ok(ql_tokenizer_append(tok, text, strlen(text), true, &e));
    /* ▁hi </s> ▁ <0xC3> <0xA9> ▁hi */
    assert_int_equal(ql_encoding_size(&e), 6);
    assert_memory_equal(ql_encoding_starts(&e), want, 6 * sizeof(*want));
    ql_encoding_free(&e);
    ql_tokenizer_close(&tok);
}

static void tokenizer__takes_long_words(void **state)
{
    const size_t len = 2000000;
    ql_tokenizer *tok = NULL;
    char *text = ql_alloc(QL_TAG_TEXT, len, 1);
    int32_t *ids;
    size_t n;

    (void)state;
    assert_non_null(text);
    memset(text, ' ', len);
    check_ok(toy_text_open(&tok, NULL));
    check_ok(ql_tokenizer_encode(tok, text, len, false, &ids, &n));
    assert_int_equal(n, len / 2 + 1);
    ql_free(ids);
    ql_free(text);
    ql_tokenizer_close(&tok);
}

static void tokenizer__refuses_bytes_that_are_not_utf8(void **state)
{
    static const char *const texts[] = {"a\xff", "\xc0\x80", "\xed\xa0\x80",
                                        "\xf4\x90\x80\x80", "\xe2\x96"};
    ql_tokenizer *tok = NULL;
    int32_t *ids;
    size_t n;

    (void)state;
    check_ok(toy_text_open(&tok, NULL));
    for (size_t i = 0; i < 5; i++) {
        check_fails(ql_tokenizer_encode(tok, texts[i], strlen(texts[i]), true,
                                        &ids, &n),
                    QL_EFORMAT, "not UTF-8");
    }
    ql_tokenizer_close(&tok);
}

static void tokenizer__refuses_parts_it_does_not_know(void **state)
{
    (void)state;
    refuses("{'normalizer': {'type': 'Fancy'}}", QL_EUNSUPPORTED,
            "normalizer: Fancy");
    refuses("{'pre_tokenizer': {'type': 'Fancy'}}", QL_EUNSUPPORTED,
            "pre_tokenizer: Fancy");
    refuses("{'pre_tokenizer': {'type': 'Metaspace',"
            "'prepend_scheme': 'some'}}",
            QL_EUNSUPPORTED, "prepend_scheme");
    refuses("{'post_processor': {'type': 'Fancy'}}", QL_EUNSUPPORTED,
            "post_processor: Fancy");
    refuses("{'decoder': {'type': 'Fancy'}}", QL_EUNSUPPORTED,
            "decoder: Fancy");
    refuses("{'model': {'type': 'Fancy'}}", QL_EUNSUPPORTED, "model: Fancy");
    refuses("{'model': {'dropout': 0.1}}", QL_EUNSUPPORTED, "dropout");
}

static void tokenizer__refuses_a_wrong_vocabulary(void **state)
{
    (void)state;
    refuses("{'model': {'vocab': []}}", QL_EFORMAT, "\"vocab\"");
    refuses("{'model': {'vocab': {'x': 1}}}", QL_EFORMAT, "same id");
    refuses("{'model': {'vocab': {'xx': -1}}}", QL_EFORMAT, "id -1");
    refuses("{'model': {'vocab': {'xx': 16777216}}}", QL_EFORMAT, "16777216");
    refuses("{'model': {'vocab': {'xx': 9223372036854775807}}}", QL_EFORMAT,
            "not in 0 to");
    refuses("{'model': {'vocab': {'xx': '1'}}}", QL_EFORMAT, "number");
    refuses("{'model': {'unk_token': 'nope'}}", QL_EFORMAT, "unk_token");
    refuses("{'model': 3}", QL_EFORMAT, "model");
    refuses("{'model': {'merges': 3}}", QL_EFORMAT, "\"merges\"");
    refuses("{'post_processor': {'type': 'Sequence', 'processors': ["
            "{'type': 'BertProcessing', 'sep': ['', 1], 'cls': ['', 1]},"
            "{'type': 'BertProcessing', 'sep': ['', 1], 'cls': ['', 1]}]}}",
            QL_EUNSUPPORTED, "second part");
    refuses("{'model': {'merges': ['ab']}}", QL_EFORMAT, "merge 0");
    refuses("{'model': {'merges': ['a b', 'a b c']}}", QL_EFORMAT, "merge 1");
    refuses("{'model': {'merges': [['a', 'b', 'c']]}}", QL_EFORMAT, "merge 0");
    refuses("{'model': {'merges': ['a ']}}", QL_EFORMAT, "merge 0");
    refuses("{'model': {'merges': ['a nope']}}", QL_EFORMAT, "\"nope\"");
    refuses("{'model': {'merges': ['a c']}}", QL_EFORMAT, "\"ac\"");
}

static void tokenizer__refuses_wrong_parts(void **state)
{
    char deep[1024] = "{'normalizer': ";

    (void)state;
    for (int i = 0; i < 12; i++) {
        strncat(deep, "{'type': 'Sequence', 'normalizers': [",
                sizeof(deep) - strlen(deep) - 1);
    }
    for (int i = 0; i < 12; i++) {
        strncat(deep, "]}", sizeof(deep) - strlen(deep) - 1);
    }
    strncat(deep, "}", sizeof(deep) - strlen(deep) - 1);
    refuses(deep, QL_EFORMAT, "too deep");
    refuses("{'normalizer': 3}", QL_EFORMAT, "normalizer");
    refuses("{'normalizer': {'normalizers': 3}}", QL_EFORMAT, "list");
    refuses("{'decoder': {'type': 'Strip', 'content': ''}}", QL_EFORMAT,
            "Strip");
    refuses("{'added_tokens': 3}", QL_EFORMAT, "added_tokens");
    refuses("{'added_tokens': [3]}", QL_EFORMAT, "added_tokens");
    refuses("{'added_tokens': [{'id': 7, 'content': '<new>'}]}", QL_EFORMAT,
            "same id");
    refuses("{'added_tokens': [{'id': 700, 'content': 'a\\u0000'}]}",
            QL_EFORMAT, "content");
    refuses("{'post_processor': {'single': []}}", QL_EFORMAT, "$A");
    refuses("{'post_processor': {'single': [{'SpecialToken': {'id': 'x'}}]}}",
            QL_EFORMAT, "described");
    refuses("{'post_processor': {'special_tokens': {'<s>': {'ids': [999]}}}}",
            QL_EFORMAT, "unknown id");
    refuses("{'post_processor': {'single': [{'Sequence': {'id': 'B'}}]}}",
            QL_EFORMAT, "$A");
}

static void tokenizer__refuses_what_is_no_json(void **state)
{
    ql_tokenizer *tok = NULL;
    char deep[5001];

    (void)state;
    check_fails(ql_tokenizer_open(&tok, check_tmp_path("none")), QL_ENOTFOUND,
                "none: no such folder");
    check_fails(ql_tokenizer_open(&tok, check_tmp()), QL_ENOTFOUND,
                "tokenizer.json");
    toy_text_file("toy/tokenizer.json", NULL);
    toy_text_file("toy/tokenizer.model", "x");
    check_fails(ql_tokenizer_open(&tok, check_tmp_path("toy")), QL_ENOTFOUND,
                "no tokenizer.json but a tokenizer.model, which is not read");
    toy_text_file("toy/tokenizer.model", NULL);
    toy_text_file("toy/tokenizer.json", "{");
    check_fails(ql_tokenizer_open(&tok, check_tmp_path("toy")), QL_EFORMAT,
                "tokenizer.json");
    toy_text_file("toy/tokenizer.json", "[]");
    check_fails(ql_tokenizer_open(&tok, check_tmp_path("toy")), QL_EFORMAT,
                "tokenizer.json");
    memset(deep, '[', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    toy_text_file("toy/tokenizer.json", deep);
    check_fails(ql_tokenizer_open(&tok, check_tmp_path("toy")), QL_EFORMAT,
                "tokenizer.json");
}

/* The bos and eos that the toy names with a file beside it. */
static void names(const char *file, const char *text, int32_t bos, int32_t eos)
{
    ql_tokenizer *tok = NULL;

    toy_text_file(file, text);
    check_ok(toy_text_open(&tok, NULL));
    assert_int_equal(ql_tokenizer_bos(tok), bos);
    assert_int_equal(ql_tokenizer_eos(tok), eos);
    ql_tokenizer_close(&tok);
    toy_text_file(file, NULL);
}

static void tokenizer__special_tokens_of_the_folder(void **state)
{
    (void)state;
    names("toy/config.json", "{}", -1, -1);
    names("toy/tokenizer_config.json",
          "{\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"</s>\"}}", 1,
          2);
    names("toy/special_tokens_map.json", "{\"eos_token\": \"</s>\"}", -1, 2);
    names("toy/config.json", "{\"bos_token_id\": 1, \"eos_token_id\": [2, 3]}",
          1, 2);
    names("toy/generation_config.json", "{\"eos_token_id\": 2}", -1, 2);
    toy_text_file("toy/config.json", "{\"bos_token_id\": 1}");
    names("toy/tokenizer_config.json", "{\"bos_token\": null}", -1, -1);
    toy_text_file("toy/config.json", NULL);
}

static void tokenizer__refuses_tokens_that_are_not_there(void **state)
{
    ql_tokenizer *tok = NULL;

    (void)state;
    toy_text_file("toy/tokenizer_config.json", "{\"eos_token\": \"<end>\"}");
    check_fails(toy_text_open(&tok, NULL), QL_EFORMAT, "<end>");
    toy_text_file("toy/tokenizer_config.json", "{\"eos_token\": 2}");
    check_fails(toy_text_open(&tok, NULL), QL_EFORMAT, "eos_token");
    toy_text_file("toy/tokenizer_config.json", NULL);
    toy_text_file("toy/config.json", "{\"eos_token_id\": 5000}");
    check_fails(toy_text_open(&tok, NULL), QL_EFORMAT, "eos_token_id");
    toy_text_file("toy/config.json", NULL);
}

/* The tokens of "hi" with specials, beside a tokenizer_config.json. */
static void config_gives(const char *config, const char *tokens)
{
    ql_tokenizer *tok = NULL;

    toy_text_file("toy/tokenizer_config.json", config);
    check_ok(toy_text_open(&tok, NULL));
    assert_string_equal(tokens_of(tok, "hi", true), tokens);
    ql_tokenizer_close(&tok);
    toy_text_file("toy/tokenizer_config.json", NULL);
}

static void tokenizer__classes_that_decide_specials(void **state)
{
    ql_tokenizer *tok = NULL;

    (void)state;
    config_gives("{\"add_bos_token\": false}", "<s> \u2581hi");
    config_gives("{\"tokenizer_class\": \"Other\", \"add_eos_token\": true}",
                 "<s> \u2581hi");
    config_gives("{\"tokenizer_class\": \"LlamaTokenizer\"}", "<s> \u2581hi");
    config_gives("{\"tokenizer_class\": \"LlamaTokenizerFast\","
                 "\"add_bos_token\": false}",
                 "\u2581hi");
    config_gives("{\"tokenizer_class\": \"GemmaTokenizer\", \"bos_token\":"
                 "\"</s>\", \"eos_token\": \"<unk>\","
                 "\"add_eos_token\": true, \"model_max_length\":"
                 "1000000000000000019884624838656}",
                 "</s> \u2581hi <unk>");
    toy_text_file("toy/tokenizer_config.json",
                  "{\"tokenizer_class\": \"GemmaTokenizer\"}");
    check_fails(toy_text_open(&tok, NULL), QL_EFORMAT,
                "tokenizer_config.json: \"add_bos_token\" holds");
    toy_text_file("toy/tokenizer_config.json", NULL);
}

static void tokenizer__answers_about_tokens(void **state)
{
    ql_tokenizer *tok = NULL;

    (void)state;
    check_ok(toy_text_open(
        &tok, "{'added_tokens': [{'id': 500, 'content': '<far>'}]}"));
    assert_int_equal(ql_tokenizer_size(tok), 501);
    assert_int_equal(ql_tokenizer_id(tok, "<far>"), 500);
    assert_int_equal(ql_tokenizer_id(tok, "<near>"), -1);
    assert_string_equal(ql_tokenizer_token(tok, 500), "<far>");
    assert_null(ql_tokenizer_token(tok, 499));
    assert_null(ql_tokenizer_token(tok, 501));
    assert_null(ql_tokenizer_token(tok, -1));
    ql_tokenizer_close(&tok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokenizer__merges_lowest_rank_first),
        cmocka_unit_test(tokenizer__merges_of_one_rank_go_from_left_to_right),
        cmocka_unit_test(tokenizer__unknown_characters),
        cmocka_unit_test(tokenizer__post_processor),
        cmocka_unit_test(tokenizer__added_tokens),
        cmocka_unit_test(tokenizer__added_tokens_side_by_side),
        cmocka_unit_test(tokenizer__added_tokens_in_normalized_text),
        cmocka_unit_test(tokenizer__classes_that_decide_specials),
        cmocka_unit_test(tokenizer__metaspace),
        cmocka_unit_test(tokenizer__decodes),
        cmocka_unit_test(tokenizer__decodes_bytes_that_are_no_text),
        cmocka_unit_test(tokenizer__says_where_tokens_begin),
        cmocka_unit_test(tokenizer__takes_long_words),
        cmocka_unit_test(tokenizer__refuses_bytes_that_are_not_utf8),
        cmocka_unit_test(tokenizer__refuses_parts_it_does_not_know),
        cmocka_unit_test(tokenizer__refuses_a_wrong_vocabulary),
        cmocka_unit_test(tokenizer__refuses_wrong_parts),
        cmocka_unit_test(tokenizer__refuses_what_is_no_json),
        cmocka_unit_test(tokenizer__special_tokens_of_the_folder),
        cmocka_unit_test(tokenizer__refuses_tokens_that_are_not_there),
        cmocka_unit_test(tokenizer__answers_about_tokens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
