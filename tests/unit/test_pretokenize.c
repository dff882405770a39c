/* The pre-tokenizers one by one, and patterns: which words a text becomes. */
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/text/pretokenize.h"
#include "tests/check/check.h"
#include "tests/check/toy_text.h"

static ql_status add_word(void *ctx, ql_view word)
{
    ql_buf *out = ctx;
    ql_status st = ql_buf_puts(out, out->len > 0 ? "|" : "");

    return st == QL_OK ? ql_buf_append(out, word.s, word.n) : st;
}

/* The words of a text, which begins a document, with | between them. */
static ql_status words_of(const ql_pretokenizer *p, const char *text,
                          ql_buf *out)
{
    const ql_view v = {.s = text, .n = strlen(text)};
    ql_pre_work w;
    ql_status st;

    check_ok(ql_pre_work_init(&w, p));
    w.begins = true;
    w.word = add_word;
    w.ctx = out;
    st = ql_pretokenizer_run(&w, v);
    ql_pre_work_free(&w);
    return st;
}

static void gives(const char *json, const char *text, const char *want)
{
    json_t *o = toy_text_json(json);
    ql_pretokenizer p;
    ql_buf out;

    check_ok(ql_pretokenizer_init(&p, o, "f"));
    ql_buf_init(&out, QL_TAG_TEXT, 1 << 20);
    check_ok(words_of(&p, text, &out));
    check_ok(ql_buf_puts(&out, ""));
    if (strcmp(out.data, want) != 0) {
        fail_msg("%s of \"%s\": \"%s\" instead of \"%s\"", json, text, out.data,
                 want);
    }
    ql_buf_free(&out);
    ql_pretokenizer_free(&p);
    json_decref(o);
}

static void refuses(const char *json, ql_status status, const char *sentence)
{
    json_t *o = toy_text_json(json);
    ql_pretokenizer p;

    check_fails(ql_pretokenizer_init(&p, o, "f"), status, sentence);
    assert_non_null(strstr(ql_last_error(), "f: pre_tokenizer: "));
    ql_pretokenizer_free(&p);
    json_decref(o);
}

/* Split with a pattern of a kind, whose backslashes are doubled for JSON. */
static void splits(const char *kind, const char *pattern, const char *behavior,
                   const char *text, const char *want)
{
    char json[4096];
    size_t n;

    n = (size_t)snprintf(json, sizeof(json),
                         "{'type': 'Split', 'behavior': '%s', 'invert': false,"
                         "'pattern': {'%s': '",
                         behavior, kind);
    for (; *pattern; pattern++) {
        const char plain[] = {*pattern, '\0'};

        n += (size_t)snprintf(json + n, sizeof(json) - n, "%s",
                              *pattern == '\\'   ? "\\\\"
                              : *pattern == '\'' ? "\\u0027"
                                                 : plain);
    }
    snprintf(json + n, sizeof(json) - n, "'}}");
    gives(json, text, want);
}

/* Matches are pieces of their own. */
static void matches(const char *pattern, const char *text, const char *want)
{
    splits("Regex", pattern, "Isolated", text, want);
}

static void pretokenize__split_behaviors(void **state)
{
    (void)state;
    splits("String", "-", "Removed", "-a--b-", "a|b");
    splits("String", "-", "Isolated", "-a--b-", "-|a|-|-|b|-");
    splits("String", "-", "MergedWithPrevious", "-a--b-", "-|a-|-|b-");
    splits("String", "-", "MergedWithNext", "-a--b-", "-a|-|-b|-");
    splits("String", "-", "Contiguous", "-a--b-", "-|a|--|b|-");
    splits("String", "", "Isolated", "ab", "a|b");
    splits("String", "x.", "Isolated", "axbx.", "axb|x.");
    gives("{'type': 'Split', 'behavior': 'Removed', 'invert': true,"
          "'pattern': {'Regex': '[ab]+'}}",
          "xabyba", "ab|ba");
    gives("{'type': 'Split', 'behavior': 'MergedWithPrevious', 'invert': true,"
          "'pattern': {'Regex': '[ab]+'}}",
          "xabyba", "x|aby|ba");
}

static void pretokenize__kinds_of_characters(void **state)
{
    (void)state;
    gives("{'type': 'BertPreTokenizer'}", " a,b\u3000c\u3002+",
          "a|,|b|c|\u3002|+");
    gives("{'type': 'Digits', 'individual_digits': true}", "a12\u00bdb",
          "a|1|2|\u00bd|b");
    gives("{'type': 'Digits', 'individual_digits': false}", "a12\u00bdb",
          "a|12\u00bd|b");
    gives("{'type': 'Punctuation'}", "a..b", "a|.|.|b");
    gives("{'type': 'Punctuation', 'behavior': 'Contiguous'}", "a..b",
          "a|..|b");
    gives("{'type': 'Whitespace'}", "a_1 ,.\u200d b\u00b2",
          "a_1|,.|\u200d|b|\u00b2");
    gives("{'type': 'WhitespaceSplit'}", " a\u00a0\n b,", "a|b,");
    gives("{'type': 'CharDelimiterSplit', 'delimiter': '\u00e9'}",
          "a\u00e9\u00e9b", "a|b");
    gives("{'type': 'UnicodeScripts'}", " a b\u4e2d\u3042\u30fc\u0431.c",
          "a b|\u4e2d\u3042\u30fc|\u0431|.|c");
}

static void pretokenize__byte_level(void **state)
{
    (void)state;
    gives("{'type': 'ByteLevel', 'add_prefix_space': false}",
          "I'm  h\u00e9 12!\n",
          "I|'m|\u0120|\u0120h\u00c3\u00a9|\u0120"
          "12|!|\u010a");
    gives("{'type': 'ByteLevel', 'add_prefix_space': true}", "a b",
          "\u0120"
          "a|\u0120"
          "b");
    gives("{'type': 'ByteLevel', 'add_prefix_space': true,"
          "'use_regex': false}",
          " a b",
          "\u0120"
          "a\u0120"
          "b");
    gives("{'type': 'ByteLevel', 'add_prefix_space': false,"
          "'use_regex': false}",
          "\x01\x7f\u00ad", "\u0101\u0121\u00c2\u0143");
}

static void pretokenize__sequences(void **state)
{
    (void)state;
    gives("{'type': 'Sequence', 'pretokenizers': [{'type': 'WhitespaceSplit'},"
          "{'type': 'Metaspace', 'replacement': '_',"
          "'prepend_scheme': 'first'}]}",
          "a b", "_a|b");
    gives("{'type': 'Sequence', 'pretokenizers': [{'type': 'WhitespaceSplit'},"
          "{'type': 'Metaspace', 'replacement': '_'},"
          "{'type': 'Digits', 'individual_digits': true},"
          "{'type': 'ByteLevel', 'add_prefix_space': false,"
          "'use_regex': false}]}",
          " a1 \u00e9", "_a|1|_\u00c3\u00a9");
    gives("{'type': 'Sequence', 'pretokenizers': []}", "a b", "a b");
}

static void pretokenize__patterns_of_oniguruma(void **state)
{
    (void)state;
    matches("\\s+", "a\xc2\x85\u2003b\u180e", "a|\xc2\x85\u2003|b\u180e");
    matches("[^\\S\\n]", "a \nb", "a| |\nb");
    matches("\\h", "xfG", "x|f|G");
    matches("\\v", "a\x0b\nb", "a|\x0b|\nb");
    matches("(?i:'s|k)", "'\u017fK\u212a", "'\u017f|K|\u212a");
    matches("(?i)x|y", "XYz", "X|Y|z");
    matches("(a(?i)b|c)d", "aBdCDcd", "aBd|CDcd");
    matches("^a|b$", "aa\nab\nb", "a|a\n|a|b|\n|b");
    matches("a.", "a\nab", "a\n|ab");
    matches("(?m:a.)", "a\nab", "a\n|ab");
    matches("[a[bc]d]+", "xabcdx", "x|abcd|x");
    matches("[^(\\s|[.,])]+", "ab,(c", "ab|,(|c");
    matches("[[:alpha:]\\d-]+", "\u00e91-!", "\u00e91-|!");
    matches("[]a]", "]a", "]|a");
    matches("a{,2}b", "aaab", "a|aab");
    matches("x{a", "x{a", "x{a");
    matches("\\p{Han}+", "\u3006\u30fb\u4e2d", "\u3006\u30fb|\u4e2d");
    matches("\\p{^L}", "a1", "a|1");
    matches("\\P{Letter}", "a1", "a|1");
    matches("\\bab\\b", "ab\u00b2 ab", "ab\u00b2 |ab");
    matches("\\x41\\x{42}\\u0043", "ABC", "ABC");
    matches("#\\-", "a#-", "a|#-");
}

static void regex_refused(const char *pattern, const char *sentence)
{
    char json[256];

    snprintf(json, sizeof(json),
             "{'type': 'Split', 'behavior': 'Isolated', 'pattern':"
             "{'Regex': '%s'}}",
             pattern);
    refuses(json, QL_EUNSUPPORTED, sentence);
}

static void pretokenize__refuses_patterns(void **state)
{
    static const char *const bad[][2] = {
        {"(", "\"(\" without end"},
        {"a)", "\")\" too many"},
        {"[a", "\"[\" without end"},
        {"(?~a)", "this kind of group"},
        {"(?x:a)", "this kind of group"},
        {"(*F)", "(*"},
        {"\\\\1", "\\1"},
        {"\\\\k<a>", "\\k"},
        {"\\\\p{Nope}", "pattern is not supported"},
        {"\\\\p{L1}", "this \\p"},
        {"[^[^a]]", "negated class"},
        {"[a&&b]", "&&"},
        {"[[:graph:]]", "class in brackets"},
        {"a{2}+", "after {n}"},
        {"(?i:mass)", "fold into one"},
        {"\\\\xe3", "\\x"},
        {"*", "pattern is not supported"},
        {"a\\\\", "backslash at its end"},
    };
    char deep[600] = "";

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        regex_refused(bad[i][0], bad[i][1]);
    }
    for (int i = 0; i < 120; i++) {
        strncat(deep, "(", sizeof(deep) - strlen(deep) - 1);
    }
    regex_refused(deep, "nested so deep");
}

/* One that takes time without end is given up. */
static void pretokenize__patterns_have_limits(void **state)
{
    const size_t n = 4000;
    char *text = ql_alloc(QL_TAG_TEXT, n + 1, 1);
    json_t *o = toy_text_json("{'type': 'Split', 'behavior': 'Isolated',"
                              "'pattern': {'Regex': '(a|b|ab)*(a|ba)*c'}}");
    ql_pretokenizer p;
    ql_buf out;

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) {
        text[i] = "ab"[i % 2];
    }
    text[n - 2] = '.'; /* the c is there and cannot be reached */
    text[n - 1] = 'c';
    text[n] = '\0';
    check_ok(ql_pretokenizer_init(&p, o, "f"));
    ql_buf_init(&out, QL_TAG_TEXT, 1 << 20);
    check_fails(words_of(&p, text, &out), QL_EFORMAT,
                "f: pre_tokenizer: a pattern cannot be matched");
    ql_buf_free(&out);
    ql_pretokenizer_free(&p);
    json_decref(o);
    ql_free(text);
}

static void pretokenize__refuses_what_is_wrong(void **state)
{
    char many[4096] = "{'type': 'Sequence', 'pretokenizers': [";

    (void)state;
    refuses("{'type': 'FixedLength', 'length': 3}", QL_EUNSUPPORTED,
            "FixedLength");
    refuses("{'type': 'Split', 'behavior': 'Odd', 'pattern': {'String': 'a'}}",
            QL_EUNSUPPORTED, "behavior");
    refuses("{'type': 'Split', 'pattern': {'String': 'a'}}", QL_EFORMAT,
            "behavior");
    refuses("{'type': 'Split', 'behavior': 'Isolated'}", QL_EFORMAT,
            "\"pattern\"");
    refuses("{'type': 'CharDelimiterSplit', 'delimiter': 'ab'}", QL_EFORMAT,
            "one character");
    for (int i = 0; i < 70; i++) {
        strncat(many, "{'type': 'Punctuation'},",
                sizeof(many) - strlen(many) - 1);
    }
    strncat(many, "{'type': 'Digits'}]}", sizeof(many) - strlen(many) - 1);
    refuses(many, QL_EUNSUPPORTED, "as long as this");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pretokenize__split_behaviors),
        cmocka_unit_test(pretokenize__kinds_of_characters),
        cmocka_unit_test(pretokenize__byte_level),
        cmocka_unit_test(pretokenize__sequences),
        cmocka_unit_test(pretokenize__patterns_of_oniguruma),
        cmocka_unit_test(pretokenize__refuses_patterns),
        cmocka_unit_test(pretokenize__patterns_have_limits),
        cmocka_unit_test(pretokenize__refuses_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
