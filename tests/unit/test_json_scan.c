/* JSON that is read value by value. */
#include <string.h>

#include "src/base/json_scan.h"
#include "tests/check/check.h"

static ql_json_scan scan_of(const char *text)
{
    return (ql_json_scan){text, text, text + strlen(text), "f"};
}

static void string_is(const char *text, const char *want)
{
    ql_json_scan s = scan_of(text);
    ql_buf out;

    ql_buf_init(&out, QL_TAG_MISC, 1000);
    check_ok(ql_json_scan_string(&s, &out));
    assert_string_equal(out.data, want);
    assert_int_equal(ql_json_scan_peek(&s), -1);
    ql_buf_free(&out);
}

static void json_scan__strings(void **state)
{
    (void)state;
    string_is("\"\"", "");
    string_is(" \"a b\"\n", "a b");
    string_is("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t");
    string_is("\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\"", "Aé€😀");
    string_is("\"é€😀\"", "é€😀");
}

static void string_fails(const char *text, const char *sentence)
{
    ql_json_scan s = scan_of(text);
    ql_buf out;

    ql_buf_init(&out, QL_TAG_MISC, 1000);
    check_fails(ql_json_scan_string(&s, &out), QL_EFORMAT, sentence);
    assert_true(s.p <= s.end);
    ql_buf_free(&out);
}

static void json_scan__strings_that_are_wrong(void **state)
{
    (void)state;
    string_fails("x", "f: not valid JSON: \" expected (byte 0)");
    string_fails("", "expected");
    string_fails("\"", "does not end");
    string_fails("\"a\nb\"", "does not end");
    string_fails("\"a\\", "escape");
    string_fails("\"\\x\"", "escape (byte 2)");
    string_fails("\"\\u12\"", "no character");
    string_fails("\"\\ud83d\"", "no character");
    string_fails("\"\\ud83d\\u0041\"", "no character");
    string_fails("\"\\ude00\"", "no character");
}

static void json_scan__numbers(void **state)
{
    static const char *const wrong[] = {"x",   "-",   "1.5",
                                        "1e3", "--1", "9223372036854775808"};
    ql_json_scan s = scan_of(" 9223372036854775807,-12, -1.5e-3 ");
    int64_t i;
    double d;

    (void)state;
    check_ok(ql_json_scan_integer(&s, &i));
    assert_true(i == INT64_MAX);
    assert_true(ql_json_scan_take(&s, ','));
    check_ok(ql_json_scan_integer(&s, &i));
    assert_int_equal(i, -12);
    check_ok(ql_json_scan_expect(&s, ','));
    check_ok(ql_json_scan_real(&s, &d));
    assert_true(d == -1.5e-3);
    for (size_t k = 0; k < sizeof(wrong) / sizeof(*wrong); k++) {
        s = scan_of(wrong[k]);
        check_fails(ql_json_scan_integer(&s, &i), QL_EFORMAT, "whole number");
    }
    s = scan_of("1e");
    check_fails(ql_json_scan_real(&s, &d), QL_EFORMAT, "a number expected");
}

static void json_scan__skips_values(void **state)
{
    static const char *const values[] = {"1",
                                         "null",
                                         "true",
                                         "[]",
                                         "{}",
                                         "\"a\\\"]\"",
                                         "{\"a\": {\"b\": [1]}, \"c\" : \"}\"}",
                                         "[1, [2, {}], \"]\"]"};
    static const char *const wrong[] = {"",  "]",       "[1 2]",    "[1,]",
                                        "[", "{\"a\"}", "{\"a\":}", "{1:2}",
                                        "{", "\"a",     "\"a\\"};

    (void)state;
    for (size_t k = 0; k < sizeof(values) / sizeof(*values); k++) {
        ql_json_scan s = scan_of(values[k]);

        check_ok(ql_json_scan_skip(&s));
        assert_int_equal(ql_json_scan_peek(&s), -1);
    }
    for (size_t k = 0; k < sizeof(wrong) / sizeof(*wrong); k++) {
        ql_json_scan s = scan_of(wrong[k]);

        check_fails(ql_json_scan_skip(&s), QL_EFORMAT, "f: not valid JSON: ");
        assert_true(s.p <= s.end);
    }
}

static void json_scan__refuses_depth(void **state)
{
    char deep[5001];
    ql_json_scan s;

    (void)state;
    memset(deep, '[', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    s = scan_of(deep);
    check_fails(ql_json_scan_skip(&s), QL_EFORMAT, "nested too deep");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_scan__strings),
        cmocka_unit_test(json_scan__strings_that_are_wrong),
        cmocka_unit_test(json_scan__numbers),
        cmocka_unit_test(json_scan__skips_values),
        cmocka_unit_test(json_scan__refuses_depth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
