/* quant_state and the JSON that Python would write. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
#include "src/base/rng.h"
#include "src/format/qstate.h"
#include "tests/check/check.h"

enum {
    MAX_TEXT = 1 << 16
};

static void check_format(const ql_qstate *q, const char *want)
{
    ql_qstate back;
    ql_buf b;

    ql_buf_init(&b, QL_TAG_MISC, MAX_TEXT);
    check_ok(ql_qstate_format(&b, q));
    assert_string_equal(b.data, want);
    check_ok(ql_qstate_parse(&back, b.data, b.len, "state"));
    assert_int_equal(back.book, q->book);
    assert_int_equal(back.block, q->block);
    assert_int_equal(back.dtype, q->dtype);
    assert_int_equal(back.rows, q->rows);
    assert_int_equal(back.cols, q->cols);
    assert_int_equal(back.nested, q->nested);
    assert_int_equal(back.nested_block, q->nested ? q->nested_block : 0);
    assert_memory_equal(&back.nested_offset, &q->nested_offset, 8);
    ql_buf_free(&b);
}

static void qstate__is_written_as_bitsandbytes_does(void **state)
{
    ql_qstate q = {.book = QL_CODEBOOK_NF4,
                   .block = 64,
                   .dtype = QL_DTYPE_BF16,
                   .rows = 64,
                   .cols = 64,
                   .nested = true,
                   .nested_block = 256,
                   .nested_offset = 0.0534820556640625};

    (void)state;
    check_format(&q, "{\"quant_type\": \"nf4\", \"blocksize\": 64, \"dtype\": "
                     "\"bfloat16\", \"shape\": [64, 64], "
                     "\"nested_blocksize\": 256, \"nested_dtype\": "
                     "\"float32\", \"nested_offset\": 0.0534820556640625}");
    q.nested = false;
    q.nested_offset = 0;
    check_format(&q, "{\"quant_type\": \"nf4\", \"blocksize\": 64, \"dtype\": "
                     "\"bfloat16\", \"shape\": [64, 64]}");
    q = (ql_qstate){.book = QL_CODEBOOK_FP4,
                    .block = 4096,
                    .dtype = QL_DTYPE_F16,
                    .rows = 1,
                    .cols = 4294967296};
    check_format(&q, "{\"quant_type\": \"fp4\", \"blocksize\": 4096, "
                     "\"dtype\": \"float16\", \"shape\": [1, 4294967296]}");
}

/* Offsets of any f32 survive. */
static void qstate__offset_is_exact(void **state)
{
    const uint64_t key = ql_rng_split(check_seed(), 77);

    (void)state;
    for (size_t i = 0; i < 20000; i++) {
        const uint32_t bits = (uint32_t)ql_rng_below(key, i, UINT32_MAX);
        ql_qstate q = {.block = 64,
                       .dtype = QL_DTYPE_F32,
                       .rows = 1,
                       .cols = 1,
                       .nested = true,
                       .nested_block = 256};
        ql_qstate back;
        float offset;
        ql_buf b;

        memcpy(&offset, &bits, sizeof(offset));
        if (!isfinite(offset)) {
            continue;
        }
        q.nested_offset = (double)offset;
        ql_buf_init(&b, QL_TAG_MISC, MAX_TEXT);
        check_ok(ql_qstate_format(&b, &q));
        check_ok(ql_qstate_parse(&back, b.data, b.len, "state"));
        assert_memory_equal(&back.nested_offset, &q.nested_offset, 8);
        ql_buf_free(&b);
    }
}

static void qstate__that_is_wrong_is_refused(void **state)
{
    static const struct {
        const char *text;
        ql_status st;
        const char *say;
    } cases[] = {
        {"", QL_EFORMAT, "not valid JSON"},
        {"[]", QL_EFORMAT, "must be a JSON object"},
        {"1", QL_EFORMAT, "must be a JSON object"},
        {"{}", QL_EFORMAT, "quant_type"},
        {"{'quant_type': 'nf4'}", QL_EFORMAT, "dtype"},
        {"{'quant_type': 'int8', 'dtype': 'float32'}", QL_EUNSUPPORTED,
         "\"int8\" is not supported"},
        {"{'quant_type': 4, 'dtype': 'float32'}", QL_EFORMAT, "a string"},
        {"{'quant_type': 'nf4', 'dtype': 'float64'}", QL_EUNSUPPORTED,
         "\"float64\" is not supported"},
        {"{'quant_type': 'nf4', 'dtype': 'float32', 'blocksize': 63}",
         QL_EFORMAT, "blocksize 63"},
        {"{'quant_type': 'nf4', 'dtype': 'float32', 'blocksize': 0}",
         QL_EFORMAT, "blocksize 0"},
        {"{'quant_type': 'nf4', 'dtype': 'float32', 'blocksize': -64}",
         QL_EFORMAT, "blocksize"},
        {"{'quant_type': 'nf4', 'dtype': 'float32', 'blocksize': 6.4e1}",
         QL_EFORMAT, "blocksize"},
        {"{'quant_type': 'nf4', 'dtype': 'float32', 'blocksize': "
         "9223372036854775806}",
         QL_EFORMAT, "blocksize"},
        {"{'quant_type': 'nf4', 'dtype': 'float32', 'blocksize': 64}",
         QL_EFORMAT, "shape"},
        {"{'quant_type': 'nf4', 'dtype': 'float32', 'blocksize': 64, "
         "'shape': [4]}",
         QL_EFORMAT, "shape"},
        {"{'quant_type': 'nf4', 'dtype': 'float32', 'blocksize': 64, "
         "'shape': [4, -4]}",
         QL_EFORMAT, "shape"},
        {"{'quant_type': 'nf4', 'dtype': 'float32', 'blocksize': 64, "
         "'shape': [4, '4']}",
         QL_EFORMAT, "shape"},
        {"{'quant_type': 'nf4', 'dtype': 'float32', 'blocksize': 64, "
         "'shape': [4, 4], 'nested_offset': 1e39}",
         QL_EFORMAT, "nested"},
        {"{'quant_type': 'nf4', 'dtype': 'float32', 'blocksize': 64, "
         "'shape': [4, 4], 'nested_offset': 'x'}",
         QL_EFORMAT, "nested_offset"},
        {"{'quant_type': 'nf4', 'dtype': 'float32', 'blocksize': 64, "
         "'shape': [4, 4], 'nested_offset': 1, 'nested_blocksize': 0}",
         QL_EFORMAT, "nested"},
        {"{'quant_type': 'nf4', 'quant_type': 'fp4'}", QL_EFORMAT,
         "not valid JSON"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512];
        ql_qstate q;
        const size_t n =
            (size_t)snprintf(text, sizeof(text), "%s", cases[i].text);

        for (size_t k = 0; k < n; k++) {
            text[k] = text[k] == '\'' ? '"' : text[k];
        }
        check_fails(ql_qstate_parse(&q, text, n, "state"), cases[i].st,
                    cases[i].say);
    }
}

/* Python 3's repr. */
static void reals__are_written_as_python_does(void **state)
{
    static const struct {
        double x;
        const char *text;
    } cases[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {-1.0, "-1.0"},
        {0.1, "0.1"},
        {0.3, "0.3"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1e-5, "1e-05"},
        {1.5e-5, "1.5e-05"},
        {1e-4, "0.0001"},
        {0.00012345, "0.00012345"},
        {9.999e-5, "9.999e-05"},
        {1e-100, "1e-100"},
        {1e15, "1000000000000000.0"},
        {1e16, "1e+16"},
        {1.5e16, "1.5e+16"},
        {9999999999999998.0, "9999999999999998.0"},
        {123456789.0, "123456789.0"},
        {1234567.875, "1234567.875"},
        {1e22, "1e+22"},
        {1e23, "1e+23"},
        {500000.0, "500000.0"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {-DBL_MAX, "-1.7976931348623157e+308"},
        {DBL_MIN, "2.2250738585072014e-308"},
        {5e-324, "5e-324"},
        {0.0534820556640625, "0.0534820556640625"},
        {(double)0.1F, "0.10000000149011612"},
        {(double)1e-38F, "9.999999350456404e-39"},
        {9007199254740993.0, "9007199254740992.0"},
        {2.0 / 3, "0.6666666666666666"},
        {100.0, "100.0"},
        {6.0, "6.0"},
        {HUGE_VAL, "Infinity"},
        {-HUGE_VAL, "-Infinity"},
        {(double)NAN, "NaN"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ql_buf b;

        ql_buf_init(&b, QL_TAG_MISC, MAX_TEXT);
        check_ok(ql_json_put_real(&b, cases[i].x));
        assert_string_equal(b.data, cases[i].text);
        ql_buf_free(&b);
    }
}

/* json.dumps(json.loads(TEXT), indent=2, sort_keys=True) */
static void values__are_written_as_python_does(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"null", "null"},
        {"-12", "-12"},
        {"9223372036854775807", "9223372036854775807"},
        {"1.0", "1.0"},
        {"1E+4", "10000.0"},
        {"\"\"", "\"\""},
        {"[]", "[]"},
        {"{}", "{}"},
        {"[{}, [], [1]]", "[\n  {},\n  [],\n  [\n    1\n  ]\n]"},
        {"{\"b\": 1, \"a\": {\"z\": false, \"Z\": true}}",
         "{\n  \"a\": {\n    \"Z\": true,\n    \"z\": false\n  },\n  \"b\": "
         "1\n}"},
        {"\"\\u00e9\\u20ac\\ud83d\\ude00/\\/\\u007f\\u0001\\b\\f\\n\\r\\t\\\\"
         "\\\"\"",
         "\"\\u00e9\\u20ac\\ud83d\\ude00//\\u007f\\u0001\\b\\f\\n\\r\\t\\\\"
         "\\\"\""},
        {"\"a\\u0000b\"", "\"a\\u0000b\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *v = NULL;
        ql_buf b;

        check_ok(ql_json_parse(&v, cases[i].in, strlen(cases[i].in), "text"));
        ql_buf_init(&b, QL_TAG_MISC, MAX_TEXT);
        check_ok(ql_json_put(&b, v));
        assert_string_equal(b.data, cases[i].out);
        ql_buf_free(&b);
        json_decref(v);
    }
}

/* Fails if fewer digits than text has give x, too. */
static void check_shortest(const char *text, double x)
{
    const char *end = strchr(text, 'e');
    char fewer[64];
    int n = 0;
    int zeros = 0;

    for (const char *p = text; *p && p != end; p++) {
        if (*p >= '0' && *p <= '9' && (n > 0 || *p != '0')) {
            zeros = *p == '0' ? zeros + 1 : 0;
            n++;
        }
    }
    n -= zeros;
    if (n > 1) {
        snprintf(fewer, sizeof(fewer), "%.*e", n - 2, x);
        if (strtod(fewer, NULL) == x) {
            fail_msg("%s is longer than %s", text, fewer);
        }
    }
}

static void reals__give_the_double_back(void **state)
{
    const uint64_t key = ql_rng_split(check_seed(), 78);

    (void)state;
    for (size_t i = 0; i < 20000; i++) {
        const uint64_t bits = ql_rng_split(key, i);
        double x;
        ql_buf b;

        memcpy(&x, &bits, sizeof(x));
        if (i % 4 == 1) { /* not all are of full length */
            x = (double)(bits % 100000) * pow(10, (double)(bits >> 60) - 8);
        } else if (i % 4 == 2) {
            x = (double)(float)x;
        } else if (i % 4 == 3) {
            x *= DBL_MIN;
        }
        if (!isfinite(x)) {
            continue;
        }
        ql_buf_init(&b, QL_TAG_MISC, MAX_TEXT);
        check_ok(ql_json_put_real(&b, x));
        assert_true(strtod(b.data, NULL) == x);
        check_shortest(b.data, x);
        ql_buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qstate__is_written_as_bitsandbytes_does),
        cmocka_unit_test(qstate__offset_is_exact),
        cmocka_unit_test(qstate__that_is_wrong_is_refused),
        cmocka_unit_test(reals__are_written_as_python_does),
        cmocka_unit_test(reals__give_the_double_back),
        cmocka_unit_test(values__are_written_as_python_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
