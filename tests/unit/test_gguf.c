/* The GGUF container: what is written is read, 8-bit blocks, and damaged files
 * of all kinds. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/half.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/format/gguf.h"
#include "tests/check/check.h"

enum {
    PATH_BYTES = 4300,
    MAX_FILE = 1 << 20
};

static char path[PATH_BYTES];

static const float numbers[6] = {1, -2, 3, 4, -5, 6};

static ql_status write_all(ql_gguf_writer *w)
{
    const size_t a[2] = {3, 2};
    const size_t b[1] = {5};

    QL_TRY(ql_gguf_put_string(w, "general.architecture", "toy"));
    QL_TRY(ql_gguf_put_u32(w, "toy.count", 7));
    QL_TRY(ql_gguf_put_f32(w, "toy.eps", 0.5));
    QL_TRY(ql_gguf_put_bool(w, "toy.yes", true));
    QL_TRY(ql_gguf_put_list(w, "toy.texts", QL_GGUF_STRING, 2));
    QL_TRY(ql_gguf_item_string(w, "one", 3));
    QL_TRY(ql_gguf_item_string(w, "", 0));
    QL_TRY(ql_gguf_put_list(w, "toy.ids", QL_GGUF_INT32, 2));
    QL_TRY(ql_gguf_item_i32(w, -1));
    QL_TRY(ql_gguf_item_i32(w, 5));
    QL_TRY(ql_gguf_put_list(w, "toy.scores", QL_GGUF_FLOAT32, 1));
    QL_TRY(ql_gguf_item_f32(w, -3));
    QL_TRY(ql_gguf_writer_add(w, "matrix", QL_GGUF_F32, a, 2));
    QL_TRY(ql_gguf_writer_add(w, "vector", QL_GGUF_F16, b, 1));
    QL_TRY(ql_gguf_writer_begin(w));
    QL_TRY(ql_gguf_writer_write(w, numbers, 8));
    QL_TRY(ql_gguf_writer_write(w, numbers + 2, 16));
    QL_TRY(ql_gguf_writer_write(w, "abcdefghij", 10));
    return ql_gguf_writer_commit(w);
}

static ql_status write_file(void)
{
    ql_gguf_writer *w = NULL;
    ql_status st = ql_gguf_writer_open(&w, path);

    if (st == QL_OK) {
        st = write_all(w);
    }
    ql_gguf_writer_close(&w);
    return st;
}

static void file__is_read_as_it_was_written(void **state)
{
    ql_gguf *g = NULL;
    const ql_gguf_value *v;
    const ql_gguf_tensor *t;
    int32_t ids[2];

    (void)state;
    check_ok(write_file());
    check_ok(ql_gguf_open(&g, path));
    assert_int_equal(ql_gguf_values(g), 7);
    assert_string_equal(ql_gguf_value_at(g, 0)->key, "general.architecture");
    v = ql_gguf_find(g, "toy.texts");
    assert_true(v->kind == QL_GGUF_LIST && v->item == QL_GGUF_STRING);
    assert_int_equal(v->count, 2);
    assert_int_equal(v->bytes, 8 + 3 + 8);
    v = ql_gguf_find(g, "toy.ids");
    assert_int_equal(v->count, 2);
    memcpy(ids, v->data, sizeof(ids));
    assert_true(ids[0] == -1 && ids[1] == 5);
    assert_null(ql_gguf_find(g, "toy.no"));
    assert_int_equal(ql_gguf_tensors(g), 2);
    t = ql_gguf_tensor_at(g, 0);
    assert_string_equal(t->name, "matrix");
    assert_true(t->rank == 2 && t->ne[0] == 3 && t->ne[1] == 2);
    assert_memory_equal(t->data, numbers, sizeof(numbers));
    t = ql_gguf_tensor_at(g, 1);
    assert_int_equal(t->offset, 32);
    assert_memory_equal(t->data, "abcdefghij", 10);
    ql_gguf_close(&g);
}

/* Every file that lacks its end, and every one with a byte changed, is either
 * refused or read without harm. */
static void file__that_is_damaged_does_no_harm(void **state)
{
    unsigned char *copy;
    char *text;
    size_t n;

    (void)state;
    check_ok(write_file());
    check_ok(ql_file_read(path, MAX_FILE, &text, &n));
    copy = malloc(n);
    for (size_t i = 0; i < n; i++) {
        ql_gguf *g = NULL;

        memcpy(copy, text, n);
        assert_int_not_equal(ql_gguf_open_memory(&g, copy, i, "x"), QL_OK);
        assert_null(g);
        for (int k = 0; k < 3; k++) {
            copy[i] = (unsigned char)(k == 0 ? 0xFF : k == 1 ? text[i] ^ 1 : 0);
            if (ql_gguf_open_memory(&g, copy, n, "x") == QL_OK) {
                ql_gguf_close(&g);
            }
        }
    }
    free(copy);
    ql_free(text);
}

/* Changes 8 bytes, counted from the first place of a text. */
static void patched(const char *at, size_t skip, uint64_t to, ql_status st,
                    const char *say)
{
    ql_gguf *g = NULL;
    char *text;
    size_t n;
    size_t i = 0;

    check_ok(write_file());
    check_ok(ql_file_read(path, MAX_FILE, &text, &n));
    while (memcmp(text + i, at, strlen(at)) != 0) {
        i++;
    }
    memcpy(text + i + skip, &to, sizeof(to));
    check_fails(
        ql_gguf_open_memory(&g, (const unsigned char *)text, n, "x.gguf"), st,
        say);
    ql_free(text);
}

static void lies__are_found(void **state)
{
    (void)state;
    patched("GGUF", 0, 0, QL_EFORMAT, "not a GGUF file");
    patched("GGUF", 4, 2, QL_EUNSUPPORTED, "version 2");
    patched("GGUF", 8, UINT64_MAX, QL_EFORMAT, "more than fits");
    patched("GGUF", 16, UINT64_MAX / 2, QL_EFORMAT, "more than fits");
    patched("toy.count", 9, 99, QL_EFORMAT, "unknown type 99");
    patched("toy.texts", 13, 9, QL_EUNSUPPORTED, "list of lists");
    patched("toy.ids", 15, 1ULL << 40, QL_EFORMAT, "more than fits");
    patched("matrix", 6, 9, QL_EFORMAT, "9 dimensions");
    patched("matrix", 10, 0, QL_EFORMAT, "absurd size");
    patched("matrix", 10, 1ULL << 63, QL_EFORMAT, "absurd size");
    patched("matrix", 10, 9, QL_EFORMAT, "begins at 32, not at 96");
    patched("vector", 6 + 4 + 8, 3, QL_EUNSUPPORTED, "type 3");
    patched("vector", 6 + 4, 17, QL_EFORMAT, "header and tensors make 448");
    /* "toy.yes" */
    patched("toy.ids", 0, 0x097365792e796f74, QL_EFORMAT, "is there twice");
}

static void blocks__of_8_bits_round_as_the_converter(void **state)
{
    float x[32];
    unsigned char out[34];
    uint16_t half;
    float d;

    (void)state;
    check_fill(x, 32, 3);
    x[5] = 1.5F; /* the largest */
    assert_true(ql_gguf_pack(QL_GGUF_Q8_0, out, x, 32));
    assert_int_equal(ql_gguf_bytes(QL_GGUF_Q8_0, 64), 68);
    memcpy(&half, out, 2);
    d = 1.5F / 127;
    assert_int_equal(half, ql_f32_to_f16(d));
    for (size_t i = 0; i < 32; i++) {
        const double want = (double)x[i] / (double)d;

        assert_true(fabs((double)(int8_t)out[2 + i] - want) <= 0.5001);
    }
    assert_int_equal((int8_t)out[2 + 5], 127);
    memset(x, 0, sizeof(x));
    assert_true(ql_gguf_pack(QL_GGUF_Q8_0, out, x, 32));
    for (size_t i = 0; i < 34; i++) {
        assert_int_equal(out[i], 0);
    }
    for (size_t k = 0; k < 4; k++) { /* numbers whose scale has no inverse */
        static const float tiny[] = {1e-45F, 1e-39F, 1e-38F, 3.7e-37F};

        x[0] = tiny[k];
        x[1] = -tiny[k];
        assert_true(ql_gguf_pack(QL_GGUF_Q8_0, out, x, 32));
        for (size_t i = 0; i < 34; i++) {
            assert_int_equal(out[i], 0);
        }
    }
    x[0] = 3.8e-37F; /* here it has one, and the scale is 0 all the same */
    x[1] = -x[0] / 2;
    assert_true(ql_gguf_pack(QL_GGUF_Q8_0, out, x, 32));
    assert_true(out[0] == 0 && out[1] == 0);
    assert_true((int8_t)out[2] == 127 && abs((int8_t)out[3] + 64) <= 1);
    x[0] = 1e9F;
    assert_false(ql_gguf_pack(QL_GGUF_Q8_0, out, x, 32));
    assert_false(ql_gguf_pack(QL_GGUF_F16, out, x, 1));
    assert_true(ql_gguf_pack(QL_GGUF_BF16, out, x, 1));
}

static void writer__refuses_what_the_format_cannot_hold(void **state)
{
    const size_t ne[1] = {1};
    char name[QL_GGUF_NAME_BYTES + 1];
    ql_gguf_writer *w = NULL;

    (void)state;
    memset(name, 'x', sizeof(name));
    name[QL_GGUF_NAME_BYTES] = '\0';
    check_ok(ql_gguf_writer_open(&w, path));
    check_ok(ql_gguf_put_u32(w, "a", 1));
    check_fails(ql_gguf_put_u32(w, "a", 1), QL_EINVAL, "given twice");
    check_fails(ql_gguf_put_u32(w, "b", (size_t)1 << 33), QL_EUNSUPPORTED,
                "more than b can say");
    check_fails(ql_gguf_writer_add(w, name, QL_GGUF_F32, ne, 1),
                QL_EUNSUPPORTED, "too long");
    check_ok(ql_gguf_writer_add(w, name + 1, QL_GGUF_F32, ne, 1));
    check_fails(ql_gguf_writer_commit(w), QL_EINVAL, "missing");
    check_ok(ql_gguf_writer_begin(w));
    check_fails(ql_gguf_writer_commit(w), QL_EINVAL, "missing");
    ql_gguf_writer_close(&w);
    remove(path);
    assert_false(ql_path_exists(path));
}

static void memory__that_is_lacking_ends_it_cleanly(void **state)
{
    bool ok = false;
    ql_gguf *g = NULL;

    (void)state;
    for (long n = 0; !ok; n++) {
        ok = check_lacking(n, write_file());
        assert_int_equal(ql_path_exists(path), ok);
    }
    ok = false;
    for (long n = 0; !ok; n++) {
        ok = check_lacking(n, ql_gguf_open(&g, path));
        assert_int_equal(g != NULL, ok);
    }
    ql_gguf_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file__is_read_as_it_was_written),
        cmocka_unit_test(file__that_is_damaged_does_no_harm),
        cmocka_unit_test(lies__are_found),
        cmocka_unit_test(blocks__of_8_bits_round_as_the_converter),
        cmocka_unit_test(writer__refuses_what_the_format_cannot_hold),
        cmocka_unit_test(memory__that_is_lacking_ends_it_cleanly),
    };

    snprintf(path, sizeof(path), "%s", check_tmp_path("x.gguf"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
