/* The safetensors reader: each rule of the format is broken alone, and what
 * is legal though unusual is read. Then the writer, and the way to f32. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/half.h"
#include "src/base/file.h"
#include "src/format/safetensors.h"
#include "tests/check/check.h"

/* A file in memory: the header's length, the header, zeros as data. */
typedef struct image {
    unsigned char *bytes;
    size_t len;
} image;

static image make_image(const char *header, size_t n, size_t data)
{
    const uint64_t length = n;
    image f = {.len = 8 + n + data};

    f.bytes = calloc(f.len, 1);
    assert_non_null(f.bytes);
    memcpy(f.bytes, &length, 8);
    memcpy(f.bytes + 8, header, n);
    return f;
}

static ql_status open_header(const char *header, size_t data)
{
    const image f = make_image(header, strlen(header), data);
    ql_safetensors *st = NULL;
    const ql_status got =
        ql_safetensors_open_memory(&st, f.bytes, f.len, "m.safetensors");

    ql_safetensors_close(&st);
    free(f.bytes);
    return got;
}

typedef struct rule {
    const char *header;
    size_t data;
    const char *sentence;
} rule;

static void refuse_all(const rule *rules, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        check_failed(open_header(rules[i].header, rules[i].data), QL_EFORMAT,
                     rules[i].sentence, rules[i].header);
        assert_ptr_equal(strstr(ql_last_error(), "m.safetensors: "),
                         ql_last_error());
    }
}

#define REFUSE(rules) refuse_all(rules, sizeof(rules) / sizeof(rules[0]))

/* One tensor 'x' with this text between its braces. */
#define X(fields) "{\"x\":{" fields "}}"
#define OFFSETS(b, e) "\"data_offsets\":[" #b "," #e "]"
#define TENSOR(name, type, shape, b, e)                                        \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape                    \
    "," OFFSETS(b, e) "}"

static void safetensors__refuses_a_broken_frame(void **state)
{
    static const char lfs[] = "version https://git-lfs.github.com/spec/v1\n"
                              "oid sha256:00\nsize 5\n";
    unsigned char bytes[16] = {9, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    ql_safetensors *st = NULL;

    (void)state;
    for (size_t n = 0; n < 8; n++) {
        check_fails(ql_safetensors_open_memory(&st, bytes, n, "f"), QL_EFORMAT,
                    "not a safetensors file");
    }
    check_fails(ql_safetensors_open_memory(&st, bytes, 10, "f"), QL_EFORMAT,
                "truncated: a header of 9 bytes is promised, but 2 are there; "
                "download it again");
    memset(bytes, 0xff, 8);
    check_fails(ql_safetensors_open_memory(&st, bytes, 16, "f"), QL_EFORMAT,
                "at most 100000000 are allowed");
    check_fails(ql_safetensors_open_memory(&st, (const unsigned char *)lfs,
                                           sizeof(lfs) - 1, "f"),
                QL_EFORMAT, "git lfs pull");
    assert_null(st);
}

/* What closes the header must be in it, and not the first byte of the data. */
static void safetensors__reads_no_header_beyond_its_end(void **state)
{
    static const unsigned char bytes[] = {1, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    ql_safetensors *st = NULL;

    (void)state;
    check_fails(ql_safetensors_open_memory(&st, bytes, sizeof(bytes), "f"),
                QL_EFORMAT, "byte 1 of the header: a string expected");
}

static void safetensors__keeps_the_limit_of_the_header(void **state)
{
    static const uint64_t limit = 100000000;
    unsigned char bytes[16] = {0};
    uint64_t n = limit;
    ql_safetensors *st = NULL;

    (void)state;
    memcpy(bytes, &n, 8);
    check_fails(ql_safetensors_open_memory(&st, bytes, 16, "f"), QL_EFORMAT,
                "truncated");
    n = limit + 1;
    memcpy(bytes, &n, 8);
    check_fails(ql_safetensors_open_memory(&st, bytes, 16, "f"), QL_EFORMAT,
                "not a safetensors file");
}

static void safetensors__refuses_broken_json(void **state)
{
    static const rule rules[] = {
        {"", 0, "'{' expected"},
        {"[]", 0, "'{' expected"},
        {"null", 0, "'{' expected"},
        {"{", 0, "a string expected"},
        {"{}x", 0, "text after the closing brace"},
        {"{}{}", 0, "text after the closing brace"},
        {"{,}", 0, "a string expected"},
        {"{" TENSOR("x", "U8", "[1]", 0, 1) ",}", 1, "a string expected"},
        {"{" TENSOR("x", "U8", "[1,]", 0, 1) "}", 1, "whole number"},
        {"{" TENSOR("x", "U8", "[1", 0, 1) "}", 1, "whole number"},
        {"{" TENSOR("x", "U8", "[1 1]", 0, 1) "}", 1, "']' expected"},
        {"{\"x\" {}}", 0, "':' expected"},
        {"{x:{}}", 0, "a string expected"},
        {"{'x':{}}", 0, "a string expected"},
        {"{/**/}", 0, "a string expected"},
        {"{\"x", 0, "a string without end"},
        {"{\"x\":", 0, "'{' expected"},
        {"\xef\xbb\xbf{}", 0, "'{' expected"},
    };

    (void)state;
    REFUSE(rules);
}

static void safetensors__refuses_broken_strings(void **state)
{
    static const rule rules[] = {
        {"{\"a\nb\":{}}", 0, "control character"},
        {"{\"a\\qb\":{}}", 0, "unknown escape"},
        {"{\"a\\", 0, "unknown escape"},
        {"{\"a\\u12", 0, "character's number"},
        {"{\"a\\u12g4\":{}}", 0, "character's number"},
        {"{\"a\\ud800\":{}}", 0, "character's number"},
        {"{\"a\\ud800\\u0041\":{}}", 0, "character's number"},
        {"{\"a\\udc00\":{}}", 0, "character's number"},
        {"{\"a\\u0000b\":{}}", 0, "\\u0000 in a string cannot be honoured"},
        {"{\"a\xff\":{}}", 0, "not UTF-8"},
        {"{\"a\xc0\x80\":{}}", 0, "not UTF-8"},
        {"{\"a\xed\xa0\x80\":{}}", 0, "not UTF-8"},
        {"{\"a\xf4\x90\x80\x80\":{}}", 0, "not UTF-8"},
        {"{\"a\":{}}\xe2\x82", 0, "not UTF-8"},
    };

    (void)state;
    REFUSE(rules);
    check_failed(open_header("{\0}", 0), QL_EFORMAT, "expected", "{\\0}");
}

static void safetensors__refuses_broken_numbers(void **state)
{
    static const rule rules[] = {
        {"{" TENSOR("x", "U8", "[-1]", 0, 1) "}", 1, "without sign"},
        {"{" TENSOR("x", "U8", "[-0]", 0, 0) "}", 0, "without sign"},
        {"{" TENSOR("x", "U8", "[+1]", 0, 1) "}", 1, "without sign"},
        {"{" TENSOR("x", "U8", "[1.0]", 0, 1) "}", 1, "whole number"},
        {"{" TENSOR("x", "U8", "[1e0]", 0, 1) "}", 1, "whole number"},
        {"{" TENSOR("x", "U8", "[1E0]", 0, 1) "}", 1, "whole number"},
        {"{" TENSOR("x", "U8", "[01]", 0, 1) "}", 1, "whole number"},
        {"{" TENSOR("x", "U8", "[\"1\"]", 0, 1) "}", 1, "whole number"},
        {"{" TENSOR("x", "U8", "[true]", 0, 1) "}", 1, "whole number"},
        {"{" TENSOR("x", "U8", "[null]", 0, 1) "}", 1, "whole number"},
        {"{" TENSOR("x", "U8", "[[1]]", 0, 1) "}", 1, "whole number"},
        {"{" TENSOR("x", "U8", "1", 0, 1) "}", 1, "'[' expected"},
        {"{" TENSOR("x", "U8", "[18446744073709551616]", 0, 1) "}", 1,
         "too large"},
        {"{" TENSOR("x", "U8", "[184467440737095516150]", 0, 1) "}", 1,
         "too large"},
        {X("\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]"), 1,
         "data_offsets must be two numbers"},
        {X("\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,1]"), 1,
         "data_offsets must be two numbers"},
    };

    (void)state;
    REFUSE(rules);
}

static void safetensors__refuses_broken_tensors(void **state)
{
    static const rule rules[] = {
        {X(""), 0, "tensor 'x': dtype is missing"},
        {X("\"dtype\":\"U8\",\"shape\":[1]"), 1,
         "tensor 'x': data_offsets is missing"},
        {X("\"dtype\":\"U8\"," OFFSETS(0, 1)), 1,
         "tensor 'x': shape is missing"},
        {X("\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1]," OFFSETS(0, 1)), 1,
         "tensor 'x': dtype is given twice"},
        {X("\"dtype\":\"U8\",\"shape\":[1]," OFFSETS(0, 1) ",\"extra\":1"), 1,
         "the key 'extra' is not dtype, shape or data_offsets"},
        {X("\"dtype\":7,\"shape\":[1]," OFFSETS(0, 1)), 1, "a string expected"},
        {"{\"x\":[]}", 0, "tensor 'x': byte 5 of the header: '{' expected"},
        {"{" TENSOR("x", "F128", "[1]", 0, 16) "}", 16,
         "tensor 'x': the dtype 'F128' is unknown"},
        {"{" TENSOR("x", "f32", "[1]", 0, 4) "}", 4, "dtype 'f32' is unknown"},
        {"{" TENSOR("x", "F32", "[2, 4]", 0, 40) "}", 40,
         "m.safetensors: tensor 'x': 40 bytes, but [2, 4] of F32 needs 32"},
        {"{" TENSOR("x", "F32", "[]", 0, 0) "}", 0, "[] of F32 needs 4"},
        {"{" TENSOR("x", "F4", "[3]", 0, 1) "}", 1,
         "[3] of F4 is not a whole number of bytes"},
        {"{" TENSOR("x", "F6_E2M3", "[2]", 0, 2) "}", 2, "not a whole number"},
        {"{" TENSOR("x", "U8", "[4294967296,4294967296]", 0, 0) "}", 0,
         "more than can be addressed"},
        {"{" TENSOR("x", "F64", "[2305843009213693952]", 0, 0) "}", 0,
         "more than can be addressed"},
        {"{" TENSOR("x", "U8", "[1]", 1, 0) "}", 1, "run backwards"},
        {"{" TENSOR("x", "U8", "[1]", 0, 1) "," TENSOR("x", "U8", "[1]", 1,
                                                       2) "}",
         2, "tensor 'x' is there twice"},
        {"{" TENSOR("x", "U8", "[1]", 0, 1) "," TENSOR("\\u0078", "U8", "[1]",
                                                       1, 2) "}",
         2, "tensor 'x' is there twice"},
    };

    (void)state;
    REFUSE(rules);
}

static void safetensors__refuses_a_broken_layout(void **state)
{
    static const rule rules[] = {
        {"{" TENSOR("x", "U8", "[2]", 1, 3) "}", 3,
         "bytes from 0 on belong to no tensor"},
        {"{" TENSOR("a", "U8", "[2]", 0, 2) "," TENSOR("b", "U8", "[2]", 3,
                                                       5) "}",
         5, "tensor 'b': begins at byte 3 of the data, but bytes from 2 on"},
        {"{" TENSOR("a", "U8", "[2]", 0, 2) "," TENSOR("b", "U8", "[2]", 1,
                                                       3) "}",
         3, "tensors 'a' and 'b' overlap"},
        {"{" TENSOR("a", "U8", "[2]", 0, 2) "," TENSOR("b", "U8", "[2]", 0,
                                                       2) "}",
         2, "overlap"},
        {"{" TENSOR("x", "U8", "[9]", 0, 9) "}", 8,
         "truncated: the header promises 9 bytes of tensors, but 8 are there; "
         "download it again"},
        {"{" TENSOR("x", "U8", "[9]", 0, 9) "}", 10,
         "1 bytes follow the last tensor"},
        {"{}", 1, "1 bytes follow the last tensor"},
        {"{" TENSOR("x", "U8", "[18446744073709551615]", 0,
                    18446744073709551615) "}",
         8, "more than can be addressed"},
    };

    (void)state;
    REFUSE(rules);
}

static void safetensors__refuses_broken_metadata(void **state)
{
    static const rule rules[] = {
        {"{\"__metadata__\":[]}", 0, "must be an object of strings"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "must be an object of strings"},
        {"{\"__metadata__\":{\"a\":{}}}", 0, "must be an object of strings"},
        {"{\"__metadata__\":{\"a\":\"b\"},\"__metadata__\":{}}", 0,
         "__metadata__ is given twice"},
        {"{\"__metadata__\":{\"a\":\"b\",\"a\":\"b\"}}", 0,
         "__metadata__: 'a' is there twice"},
        {"{\"__metadata__\":{\"a\"}}", 0, "':' expected"},
        {"{\"__metadata__\":{\"a\":\"b\"", 0, "'}' expected"},
    };

    (void)state;
    REFUSE(rules);
}

static void safetensors__says_that_a_rank_is_beyond_us(void **state)
{
    (void)state;
    check_ok(
        open_header("{" TENSOR("x", "U8", "[1,1,1,1,1,1,1,1]", 0, 1) "}", 1));
    check_fails(
        open_header("{" TENSOR("x", "U8", "[1,1,1,1,1,1,1,1,1]", 0, 1) "}", 1),
        QL_EUNSUPPORTED, "tensor 'x': 9 dimensions, but at most 8");
}

/* Brackets without end must cost neither stack nor time. */
static void safetensors__is_not_moved_by_depth(void **state)
{
    enum {
        DEEP = 1 << 20
    };
    static const char openers[] = "[{";

    (void)state;
    for (const char *c = openers; *c; c++) {
        char *text = malloc(DEEP + 1);

        assert_non_null(text);
        memset(text, *c, DEEP);
        text[DEEP] = '\0';
        assert_int_equal(open_header(text, 0), QL_EFORMAT);
        memcpy(text, "{\"x\":", 5);
        assert_int_equal(open_header(text, 0), QL_EFORMAT);
        free(text);
    }
}

static void safetensors__reads_what_is_legal(void **state)
{
    static const char header[] =
        " \n{ \"\\u00e9\\ud83d\\ude00\\n\\\"\\/\" : { \"data_offsets\" : "
        "[ 1 , 5 ] , \"shape\" : [ ] , \"dtype\" : \"F32\" } ,\t"
        "\"__metadata__\": { \"format\": \"pt\", \"a\": \"\" },"
        "\"empty\":{\"dtype\":\"I64\",\"shape\":[4,0],\"data_offsets\":[1,1]},"
        "\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
        "\"six\":{\"dtype\":\"F6_E3M2\",\"shape\":[4],\"data_offsets\":[5,8]}}"
        "\r ";
    const image f = make_image(header, strlen(header), 8);
    const ql_tensor *t;
    ql_safetensors *st = NULL;

    (void)state;
    check_ok(ql_safetensors_open_memory(&st, f.bytes, f.len, "f"));
    assert_int_equal(ql_safetensors_count(st), 4);
    for (size_t i = 1; i < 4; i++) {
        assert_true(strcmp(ql_safetensors_at(st, i - 1)->name,
                           ql_safetensors_at(st, i)->name) < 0);
    }
    t = ql_safetensors_find(st, "\xc3\xa9\xf0\x9f\x98\x80\n\"/");
    assert_non_null(t);
    assert_int_equal(t->rank, 0);
    assert_int_equal(t->elements, 1);
    assert_int_equal(t->bytes, 4);
    assert_ptr_equal(t->data, f.bytes + 8 + strlen(header) + 1);
    ql_safetensors_drop(st, t);
    t = ql_safetensors_find(st, "empty");
    assert_int_equal(t->elements, 0);
    assert_int_equal(t->shape[0], 4);
    assert_non_null(ql_safetensors_find(st, ""));
    assert_null(ql_safetensors_find(st, "none"));
    assert_string_equal(ql_safetensors_metadata(st, "format"), "pt");
    assert_string_equal(ql_safetensors_metadata(st, "a"), "");
    assert_null(ql_safetensors_metadata(st, "none"));
    ql_safetensors_close(&st);
    assert_null(st);
    free(f.bytes);
}

static void safetensors__reads_a_file_without_tensors(void **state)
{
    const image f = make_image("{}", 2, 0);
    ql_safetensors *st = NULL;

    (void)state;
    check_ok(ql_safetensors_open_memory(&st, f.bytes, f.len, "f"));
    assert_int_equal(ql_safetensors_count(st), 0);
    assert_null(ql_safetensors_find(st, "x"));
    assert_null(ql_safetensors_metadata(st, "x"));
    ql_safetensors_close(&st);
    free(f.bytes);
}

static void safetensors__names_the_file(void **state)
{
    const char *path = check_tmp_path("named.safetensors");
    ql_safetensors *st = NULL;

    (void)state;
    check_fails(ql_safetensors_open(&st, path), QL_ENOTFOUND,
                "named.safetensors");
    check_ok(ql_file_write(path, "", 0));
    check_fails(ql_safetensors_open(&st, path), QL_EFORMAT,
                "named.safetensors: not a safetensors file: 0 bytes");
    check_fails(ql_safetensors_open(&st, check_tmp()), QL_EFORMAT,
                "not a regular file");
    assert_null(st);
}

/* Byte by byte what the crate writes for these tensors. */
static void writer__is_the_crate_s_twin(void **state)
{
    static const char want[] =
        "{\"__metadata__\":{\"format\":\"pt\",\"b\\n\":\"\\u001f\xc3\xa9\"},"
        "\"n\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
        "\"Z\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[8,16]},"
        "\"a\\\"\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[16,16]},"
        "\"x\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[16,19]}}";
    static const unsigned char data[19] = {1, 2, 3, [18] = 4};
    const size_t shape[] = {1, 2};
    const size_t zero = 0;
    const size_t three = 3;
    const char *path = check_tmp_path("twin.safetensors");
    ql_safetensors_writer *w = NULL;
    char *got = NULL;
    size_t len;
    uint64_t n;

    (void)state;
    check_ok(ql_safetensors_writer_open(&w, path));
    check_ok(ql_safetensors_writer_metadata(w, "format", "pt"));
    check_ok(ql_safetensors_writer_metadata(w, "b\n", "\x1f\xc3\xa9"));
    check_ok(ql_safetensors_writer_add(w, "x", QL_DTYPE_U8, &three, 1));
    check_ok(ql_safetensors_writer_add(w, "a\"", QL_DTYPE_F32, &zero, 1));
    check_ok(ql_safetensors_writer_add(w, "n", QL_DTYPE_I64, NULL, 0));
    check_ok(ql_safetensors_writer_add(w, "Z", QL_DTYPE_F32, shape, 2));
    check_ok(ql_safetensors_writer_begin(w));
    check_ok(ql_safetensors_writer_put(w, "x", data + 16));
    check_ok(ql_safetensors_writer_put(w, "a\"", data));
    check_ok(ql_safetensors_writer_put(w, "Z", data + 8));
    check_ok(ql_safetensors_writer_put(w, "n", data));
    check_ok(ql_safetensors_writer_commit(w));
    ql_safetensors_writer_close(&w);

    check_ok(ql_file_read(path, 10000, &got, &len));
    memcpy(&n, got, 8);
    assert_int_equal(n % 8, 0);
    assert_int_equal(len, 8 + n + 19);
    assert_memory_equal(got + 8, want, strlen(want));
    for (size_t i = strlen(want); i < n; i++) {
        assert_int_equal(got[8 + i], ' ');
    }
    assert_memory_equal(got + 8 + n, data, 19);
    ql_free(got);
}

static void writer__refuses_what_cannot_be_read_back(void **state)
{
    const size_t shape[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    const size_t huge[2] = {SIZE_MAX, 2};
    const size_t three = 3;
    const char *path = check_tmp_path("refused.safetensors");
    ql_safetensors_writer *w = NULL;

    (void)state;
    check_ok(ql_safetensors_writer_open(&w, path));
    check_fails(ql_safetensors_writer_add(w, "x", QL_DTYPE_U8, shape, 9),
                QL_EINVAL, "9 dimensions");
    check_fails(ql_safetensors_writer_add(w, "x", QL_DTYPE_U8, huge, 2),
                QL_EINVAL, "more than can be addressed");
    check_fails(ql_safetensors_writer_add(w, "x", QL_DTYPE_F4, &three, 1),
                QL_EINVAL, "whole number of bytes");
    check_fails(
        ql_safetensors_writer_add(w, "__metadata__", QL_DTYPE_U8, shape, 1),
        QL_EINVAL, "cannot be called");
    check_fails(ql_safetensors_writer_add(w, "\xff", QL_DTYPE_U8, shape, 1),
                QL_EINVAL, "not UTF-8");
    check_fails(ql_safetensors_writer_metadata(w, "k", "\xff"), QL_EINVAL,
                "not UTF-8");
    check_ok(ql_safetensors_writer_metadata(w, "k", "v"));
    check_fails(ql_safetensors_writer_metadata(w, "k", "v"), QL_EINVAL,
                "metadata 'k' is given twice");
    check_ok(ql_safetensors_writer_add(w, "x", QL_DTYPE_U8, shape, 1));
    check_ok(ql_safetensors_writer_add(w, "y", QL_DTYPE_I8, shape, 1));
    check_ok(ql_safetensors_writer_add(w, "x", QL_DTYPE_F32, shape, 1));
    check_fails(ql_safetensors_writer_begin(w), QL_EINVAL,
                "tensor 'x' is announced twice");
    ql_safetensors_writer_close(&w);
    assert_false(ql_path_exists(path));
}

static void writer__wants_each_tensor_once(void **state)
{
    const size_t four = 4;
    const char *path = check_tmp_path("counted.safetensors");
    ql_safetensors_writer *w = NULL;

    (void)state;
    check_ok(ql_safetensors_writer_open(&w, path));
    check_ok(ql_safetensors_writer_add(w, "x", QL_DTYPE_U8, &four, 1));
    check_ok(ql_safetensors_writer_add(w, "y", QL_DTYPE_U8, &four, 1));
    check_ok(ql_safetensors_writer_begin(w));
    check_fails(ql_safetensors_writer_put(w, "z", "1234"), QL_ENOTFOUND,
                "tensor 'z' was not announced");
    check_ok(ql_safetensors_writer_put(w, "x", "1234"));
    check_fails(ql_safetensors_writer_put(w, "x", "1234"), QL_EINVAL,
                "tensor 'x' is written twice");
    check_fails(ql_safetensors_writer_commit(w), QL_EINVAL,
                "tensor 'y' is missing");
    ql_safetensors_writer_close(&w);
    assert_false(ql_path_exists(path));
    assert_false(ql_path_exists(check_tmp_path("counted.safetensors.part")));
}

/* What was left out reads as zeros, wherever it lies, and takes no disk. */
static void writer__leaves_holes(void **state)
{
    const size_t huge = (size_t)1 << 42;
    const size_t four = 4;
    const char *path = check_tmp_path("holes.safetensors");
    ql_safetensors_writer *w = NULL;
    ql_safetensors *st;
    const ql_tensor *t;

    (void)state;
    check_ok(ql_safetensors_writer_open(&w, path));
    ql_safetensors_writer_sparse(w);
    check_ok(ql_safetensors_writer_add(w, "a", QL_DTYPE_U8, &huge, 1));
    check_ok(ql_safetensors_writer_add(w, "b", QL_DTYPE_U8, &four, 1));
    check_ok(ql_safetensors_writer_add(w, "c", QL_DTYPE_U8, &huge, 1));
    check_ok(ql_safetensors_writer_begin(w));
    check_ok(ql_safetensors_writer_put(w, "b", "1234"));
    check_ok(ql_safetensors_writer_commit(w));
    ql_safetensors_writer_close(&w);

    check_ok(ql_safetensors_open(&st, path));
    t = ql_safetensors_find(st, "b");
    assert_non_null(t);
    assert_memory_equal(t->data, "1234", 4);
    t = ql_safetensors_find(st, "c");
    assert_non_null(t);
    assert_int_equal(t->bytes, huge);
    assert_int_equal(t->data[0], 0);
    assert_int_equal(t->data[huge - 1], 0);
    ql_safetensors_close(&st);
}

static void writer__says_that_the_disk_is_too_small(void **state)
{
    const size_t huge = (size_t)1 << 60;
    ql_safetensors_writer *w = NULL;

    (void)state;
    check_ok(
        ql_safetensors_writer_open(&w, check_tmp_path("huge.safetensors")));
    check_ok(ql_safetensors_writer_add(w, "x", QL_DTYPE_U8, &huge, 1));
    check_fails(ql_safetensors_writer_begin(w), QL_ENOSPACE, "of disk");
    ql_safetensors_writer_close(&w);
}

static void dtype__names_and_bits(void **state)
{
    (void)state;
    for (int i = 0; i < QL_DTYPE_COUNT; i++) {
        assert_int_equal(ql_dtype_parse(ql_dtype_name((ql_dtype)i)), i);
    }
    assert_int_equal(ql_dtype_parse("F31"), QL_DTYPE_COUNT);
    assert_int_equal(ql_dtype_bits(QL_DTYPE_F4), 4);
    assert_int_equal(ql_dtype_bits(QL_DTYPE_F6_E2M3), 6);
    assert_int_equal(ql_dtype_bits(QL_DTYPE_BOOL), 8);
    assert_int_equal(ql_dtype_bits(QL_DTYPE_BF16), 16);
    assert_int_equal(ql_dtype_bits(QL_DTYPE_C64), 64);
}

/* Two elements at an odd address. */
static void expect_f32(ql_dtype dtype, const void *raw, float first,
                       float second)
{
    const size_t bytes = ql_dtype_bits(dtype) / 8 * 2;
    unsigned char odd[1 + 16];
    float out[2];
    const ql_tensor t = {.name = "t",
                         .dtype = dtype,
                         .elements = 2,
                         .bytes = bytes,
                         .data = odd + 1};

    memcpy(odd + 1, raw, bytes);
    check_ok(ql_tensor_to_f32(out, &t));
    assert_true(out[0] == first);
    assert_true(out[1] == second);
}

static void dtype__widens_to_f32(void **state)
{
    const ql_tensor unfit = {
        .name = "t", .dtype = QL_DTYPE_F8_E4M3, .elements = 1};
    float out;

    (void)state;
    expect_f32(QL_DTYPE_F32, (const float[]){0.1F, -2}, 0.1F, -2);
    expect_f32(QL_DTYPE_BF16, (const uint16_t[]){0x3f80, 0xff80}, 1, -INFINITY);
    expect_f32(QL_DTYPE_F16, (const uint16_t[]){0x3c00, 0x0001}, 1, 0x1p-24F);
    expect_f32(QL_DTYPE_F64, (const double[]){0.1, 1e300}, 0.1F, INFINITY);
    expect_f32(QL_DTYPE_U8, (const uint8_t[]){200, 1}, 200, 1);
    expect_f32(QL_DTYPE_I8, (const int8_t[]){-128, 1}, -128, 1);
    expect_f32(QL_DTYPE_U16, (const uint16_t[]){65535, 1}, 65535, 1);
    expect_f32(QL_DTYPE_I16, (const int16_t[]){-32768, 1}, -32768, 1);
    expect_f32(QL_DTYPE_U32, (const uint32_t[]){0xffffffff, 16777217},
               4294967296.0F, 16777216);
    expect_f32(QL_DTYPE_I32, (const int32_t[]){INT32_MIN, 16777219},
               -2147483648.0F, 16777220);
    expect_f32(QL_DTYPE_U64, (const uint64_t[]){UINT64_MAX, 3},
               18446744073709551616.0F, 3);
    expect_f32(QL_DTYPE_I64, (const int64_t[]){INT64_MIN, -3},
               -9223372036854775808.0F, -3);
    check_fails(ql_tensor_to_f32(&out, &unfit), QL_EUNSUPPORTED,
                "tensor 't': its type F8_E4M3");
}

/* Every half is exact, and comes back. */
static void half__round_trips(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        const float b = ql_bf16_to_f32((uint16_t)h);
        const float f = ql_f16_to_f32((uint16_t)h);

        if (isnan(b)) {
            assert_int_equal(ql_f32_to_bf16(b), h | 0x40);
        } else {
            assert_int_equal(ql_f32_to_bf16(b), h);
        }
        if (isnan(f)) {
            assert_int_equal(ql_f32_to_f16(f), h | 0x200);
        } else {
            assert_int_equal(ql_f32_to_f16(f), h);
        }
    }
}

/* Between two neighbours: the nearer one, at half way the even one. */
static void half__rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7bff; h++) {
        const float low = ql_f16_to_f32((uint16_t)h);
        const float high = ql_f16_to_f32((uint16_t)(h + 1));
        const float middle = (low + high) / 2;

        assert_int_equal(ql_f32_to_f16(middle), h + (h & 1));
        assert_int_equal(ql_f32_to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(ql_f32_to_f16(-nextafterf(middle, 1e6F)),
                         0x8000 | (h + 1));
    }
    assert_int_equal(ql_f32_to_f16(65519.996F), 0x7bff);
    assert_int_equal(ql_f32_to_f16(65520.0F), 0x7c00);
    assert_int_equal(ql_f32_to_f16(-1e30F), 0xfc00);
    assert_int_equal(ql_f32_to_f16(1e-30F), 0);
    assert_int_equal(ql_f32_to_bf16(1.00390625F), 0x3f80);
    assert_int_equal(ql_f32_to_bf16(1.01171875F), 0x3f82);
    assert_int_equal(ql_f32_to_bf16(3.4e38F), 0x7f80);
    assert_int_equal(ql_f32_to_bf16(-NAN) & 0x7fc0, 0x7fc0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safetensors__refuses_a_broken_frame),
        cmocka_unit_test(safetensors__reads_no_header_beyond_its_end),
        cmocka_unit_test(safetensors__keeps_the_limit_of_the_header),
        cmocka_unit_test(safetensors__refuses_broken_json),
        cmocka_unit_test(safetensors__refuses_broken_strings),
        cmocka_unit_test(safetensors__refuses_broken_numbers),
        cmocka_unit_test(safetensors__refuses_broken_tensors),
        cmocka_unit_test(safetensors__refuses_a_broken_layout),
        cmocka_unit_test(safetensors__refuses_broken_metadata),
        cmocka_unit_test(safetensors__says_that_a_rank_is_beyond_us),
        cmocka_unit_test(safetensors__is_not_moved_by_depth),
        cmocka_unit_test(safetensors__reads_what_is_legal),
        cmocka_unit_test(safetensors__reads_a_file_without_tensors),
        cmocka_unit_test(safetensors__names_the_file),
        cmocka_unit_test(writer__is_the_crate_s_twin),
        cmocka_unit_test(writer__refuses_what_cannot_be_read_back),
        cmocka_unit_test(writer__wants_each_tensor_once),
        cmocka_unit_test(writer__leaves_holes),
        cmocka_unit_test(writer__says_that_the_disk_is_too_small),
        cmocka_unit_test(dtype__names_and_bits),
        cmocka_unit_test(dtype__widens_to_f32),
        cmocka_unit_test(half__round_trips),
        cmocka_unit_test(half__rounds_to_nearest_even),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
