/* The normalizers one by one: what becomes of a text, and where each byte of
 * it came from. */
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/text/normalize.h"
#include "tests/check/check.h"
#include "tests/check/toy_text.h"

/* Normalizes text; where: the original offset of each byte, as "0 1 3", NULL
 * for not compared. */
static void gives(const char *json, const char *text, const char *want,
                  const char *where)
{
    const ql_view v = {.s = text, .n = strlen(text)};
    json_t *o = toy_text_json(json);
    ql_normalizer n;
    ql_normal_work w;
    ql_view out;
    char at[512];
    size_t len = 0;

    check_ok(ql_normalizer_init(&n, o, "f"));
    ql_normal_work_init(&w);
    check_ok(ql_normalizer_run(&n, v, &w, &out));
    if (out.n != strlen(want) || memcmp(out.s, want, out.n) != 0) {
        fail_msg("%.200s of \"%s\": \"%.*s\" instead of \"%s\"", json, text,
                 (int)out.n, out.s, want);
    }
    at[0] = '\0';
    for (size_t i = 0; where && i < out.n; i++) {
        len += (size_t)snprintf(at + len, sizeof(at) - len, "%s%zu",
                                i > 0 ? " " : "", ql_view_at(out, i));
    }
    if (where) {
        assert_string_equal(at, where);
    }
    ql_normal_work_free(&w);
    ql_normalizer_free(&n);
    json_decref(o);
}

static void refuses(const char *json, ql_status status, const char *sentence)
{
    json_t *o = toy_text_json(json);
    ql_normalizer n;

    check_fails(ql_normalizer_init(&n, o, "f"), status, sentence);
    assert_non_null(strstr(ql_last_error(), "f: normalizer: "));
    ql_normalizer_free(&n);
    json_decref(o);
}

static void normalize__forms(void **state)
{
    (void)state;
    gives("{'type': 'NFC'}", "plain", "plain", "0 1 2 3 4");
    gives("{'type': 'NFC'}", "xe\u0301y", "x\u00e9y", "0 1 1 4");
    gives("{'type': 'NFC'}", "\u00e9e\u0301", "\u00e9\u00e9", "0 1 2 2");
    gives("{'type': 'NFD'}", "x\u00e9y", "xe\u0301y", "0 1 1 1 3");
    gives("{'type': 'NFKC'}", "\ufb01\u2460", "fi1", "0 0 3");
    gives("{'type': 'NFKD'}", "\u00bd", "1\u20442", "0 0 0 0 0");
    gives("{'type': 'NFC'}", "\u1112\u1161\u11ab", "\ud55c", "0 0 0");
    gives("{'type': 'NFD'}", "\ud55c\ud55c",
          "\u1112\u1161\u11ab\u1112\u1161\u11ab", NULL);
    gives("{'type': 'NFKC'}", "\uff76\uff9e", "\u30ac", "0 0 0");
    gives("{'type': 'NFC'}", "\uff76\uff9e", "\uff76\uff9e", "0 1 2 3 4 5");
    gives("{'type': 'NFC'}", "", "", "");
}

/* Marks are ordered by their classes, those of one class keep their order. */
static void normalize__orders_marks(void **state)
{
    (void)state;
    gives("{'type': 'NFD'}", "a\u0301\u0323", "a\u0323\u0301", NULL);
    gives("{'type': 'NFD'}", "a\u0301\u0300", "a\u0301\u0300", "0 1 2 3 4");
    gives("{'type': 'NFC'}", "\u0301z", "\u0301z", "0 1 2");
    gives("{'type': 'NFC'}", "a\u0323\u0302", "\u1ead", "0 0 0");
    gives("{'type': 'NFC'}", "\u0958", "\u0915\u093c", NULL);
}

/* A base with very many marks out of order takes no longer than sorting. */
static void normalize__takes_many_marks(void **state)
{
    const size_t n = 400001;
    char *text = ql_alloc(QL_TAG_TEXT, 1, n);
    const ql_view v = {.s = text, .n = n};
    json_t *o = toy_text_json("{'type': 'NFC'}");
    ql_normalizer norm;
    ql_normal_work w;
    ql_view out;

    (void)state;
    assert_non_null(text);
    text[0] = 'a';
    for (size_t i = 1; i < n; i += 4) {
        memcpy(text + i, "\u0301\u0323", 4);
    }
    check_ok(ql_normalizer_init(&norm, o, "f"));
    ql_normal_work_init(&w);
    check_ok(ql_normalizer_run(&norm, v, &w, &out));
    assert_memory_equal(out.s, "\u1ea1\u0323", 5); /* the others follow */
    ql_normal_work_free(&w);
    ql_normalizer_free(&norm);
    json_decref(o);
    ql_free(text);
}

static void normalize__characters(void **state)
{
    (void)state;
    gives("{'type': 'Lowercase'}", "A\u00c9\u0130z", "a\u00e9i\u0307z",
          "0 1 1 3 3 3 5");
    gives("{'type': 'StripAccents'}", "e\u0301\u0903", "e", "0");
    gives("{'type': 'Nmt'}", "a\x01\u200b\u2581z", "a  z", "0 2 5 8");
    gives("{'type': 'ByteLevel'}", "a \u00e9", "a\u0120\u00c3\u00a9",
          "0 1 1 2 2 3 3");
    gives("{'type': 'Strip', 'strip_left': true, 'strip_right': false}",
          " \u3000 a ", "a ", "5 6");
    gives("{'type': 'Strip', 'strip_left': false, 'strip_right': true}",
          " a\n\u00a0", " a", "0 1");
    gives("{'type': 'Strip', 'strip_left': true, 'strip_right': true}", " \n",
          "", "");
}

static void normalize__replace_and_prepend(void **state)
{
    (void)state;
    gives("{'type': 'Prepend', 'prepend': '\u2581'}", "xy", "\u2581xy",
          "0 0 0 0 1");
    gives("{'type': 'Prepend', 'prepend': '\u2581'}", "", "", "");
    gives("{'type': 'Replace', 'pattern': {'String': 'ab'}, 'content': 'X'}",
          "cabab", "cXX", "0 1 3");
    gives("{'type': 'Replace', 'pattern': {'Regex': ' {2,}'},"
          "'content': ' '}",
          "a   b c", "a b c", "0 1 4 5 6");
    gives("{'type': 'Replace', 'pattern': {'Regex': 'x*'}, 'content': '-'}",
          "axb", "-a-b-", "0 0 1 2 2");
    gives("{'type': 'Sequence', 'normalizers': [{'type': 'NFD'},"
          "{'type': 'NFC'}, {'type': 'Lowercase'}, {'type': 'Replace',"
          "'pattern': {'String': 'a'}, 'content': 'bb'}]}",
          "xA\u00c9", "xbb\u00e9", "0 1 1 2 2");
}

static void normalize__bert(void **state)
{
    (void)state;
    gives("{'type': 'BertNormalizer', 'clean_text': true,"
          "'handle_chinese_chars': true, 'strip_accents': null,"
          "'lowercase': true}",
          "\u00c9T\t\u4f60\u00adx", "et  \u4f60 x", "0 2 3 4 4 4 4 4 9");
    gives("{'type': 'BertNormalizer', 'clean_text': false,"
          "'handle_chinese_chars': false, 'strip_accents': null,"
          "'lowercase': false}",
          "\u00c9\t\u4f60", "\u00c9\t\u4f60", "0 1 2 3 4 5");
    gives("{'type': 'BertNormalizer', 'clean_text': false,"
          "'handle_chinese_chars': false, 'strip_accents': true,"
          "'lowercase': false}",
          "\u00c9", "E", "0");
}

static void encode_base64(const unsigned char *b, size_t n, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < n; i += 3) {
        const unsigned bits = (unsigned)b[i] << 16 |
                              (i + 1 < n ? (unsigned)b[i + 1] << 8 : 0) |
                              (i + 2 < n ? b[i + 2] : 0);

        for (int k = 0; k < 4; k++) {
            *out++ = digits[bits >> (18 - 6 * k) & 63];
        }
    }
    *out = '\0';
}

/* A trie by hand, in which a with an acute (61 cc 81) becomes xy: from the
 * root to unit 0x60, to 0xc8, to 0x89, where a key ends, whose value is in
 * unit 16. */
static void normalize__charsmap(void **state)
{
    enum {
        UNITS = 0xc9
    };
    static const struct {
        size_t at;
        uint32_t unit;
    } units[] = {{0, 1 << 10},
                 {0x60, 'a' | 0x64 << 10},
                 {0xc8, 0xcc | 0xc0 << 10},
                 {0x89, 0x81 | 1 << 8 | 0x99 << 10},
                 {16, 1u << 31}};
    unsigned char bytes[4 + 4 * UNITS + 3] = {4 * UNITS & 0xff, 4 * UNITS >> 8};
    char base64[2 * sizeof(bytes)];
    char json[4 * sizeof(bytes)];

    (void)state;
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        for (size_t k = 0; k < 4; k++) {
            bytes[4 + 4 * units[i].at + k] =
                (unsigned char)(units[i].unit >> 8 * k);
        }
    }
    memcpy(bytes + 4 + 4 * UNITS, "xy", 3);
    encode_base64(bytes, sizeof(bytes), base64);
    snprintf(json, sizeof(json),
             "{'type': 'Precompiled', 'precompiled_charsmap': '%s'}", base64);
    gives(json, "za\u0301a", "zxya", "0 1 1 4");
    /* what begins with a key is replaced as a whole, */
    gives(json, "a\u0301\u0323", "xy", "0 0");
    /* but for a long one, which is looked up by its characters */
    gives(json, "a\u0301\u0323\u0323", "a\u0301\u0323\u0323", NULL);
}

static void normalize__refuses_what_is_wrong(void **state)
{
    (void)state;
    refuses("{'type': 'Append', 'append': 'x'}", QL_EUNSUPPORTED, "Append");
    refuses("{'type': 'Precompiled', 'precompiled_charsmap': null}", QL_EFORMAT,
            "does not hold a trie");
    refuses("{'type': 'Precompiled', 'precompiled_charsmap': '?'}", QL_EFORMAT,
            "base 64");
    refuses("{'type': 'Precompiled', 'precompiled_charsmap': 'AAAAAA=='}",
            QL_EFORMAT, "does not hold a trie");
    refuses("{'type': 'Precompiled', 'precompiled_charsmap': '////fwAAAAA='}",
            QL_EFORMAT, "does not hold a trie");
    refuses("{'type': 'Precompiled', 'precompiled_charsmap':"
            "'BAAAAAAAAAD/AA=='}",
            QL_EFORMAT, "not UTF-8");
    refuses("{'type': 'Replace', 'content': 'x'}", QL_EFORMAT,
            "String or a Regex");
    refuses("{'type': 'Replace', 'pattern': {'Regex': '('}, 'content': ''}",
            QL_EUNSUPPORTED, "pattern");
    refuses("{'type': 'Prepend'}", QL_EFORMAT, "\"prepend\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalize__forms),
        cmocka_unit_test(normalize__orders_marks),
        cmocka_unit_test(normalize__takes_many_marks),
        cmocka_unit_test(normalize__characters),
        cmocka_unit_test(normalize__replace_and_prepend),
        cmocka_unit_test(normalize__bert),
        cmocka_unit_test(normalize__charsmap),
        cmocka_unit_test(normalize__refuses_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
