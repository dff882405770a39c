/* The base room: sizes, buffers, files that are never half written, lines. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "src/base/alloc.h"
#include "src/base/buf.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/lines.h"
#include "src/base/rng.h"
#include "tests/check/check.h"

static void alloc__refuses_sizes_that_overflow(void **state)
{
    (void)state;
    assert_null(ql_alloc(QL_TAG_MISC, SIZE_MAX, 2));
    assert_null(ql_alloc(QL_TAG_MISC, SIZE_MAX - 3, 1));
    assert_non_null(strstr(ql_last_error(), "cannot exist"));
}

static void alloc__counts_by_tag(void **state)
{
    const size_t before = ql_alloc_bytes(QL_TAG_DATA);
    char *p = ql_calloc(QL_TAG_DATA, 10, 10);

    (void)state;
    assert_int_equal(ql_alloc_bytes(QL_TAG_DATA), before + 100);
    assert_int_equal((uintptr_t)p % 64, 0);
    p[99] = 1;
    p = ql_realloc(QL_TAG_DATA, p, 200, 1);
    assert_int_equal(p[99], 1);
    ql_free(p);
    assert_int_equal(ql_alloc_bytes(QL_TAG_DATA), before);
    assert_true(ql_alloc_peak(QL_TAG_DATA) >= 200);
}

static void buf__keeps_its_ceiling(void **state)
{
    ql_buf b;

    (void)state;
    ql_buf_init(&b, QL_TAG_MISC, 5);
    check_ok(ql_buf_puts(&b, "hello"));
    check_fails(ql_buf_putc(&b, '!'), QL_EFORMAT, "limit of 5");
    assert_string_equal(b.data, "hello");
    ql_buf_free(&b);
}

static void outfile__shows_only_when_committed(void **state)
{
    const char *path = check_tmp_path("out.txt");
    ql_outfile f;
    char *text;
    size_t len;

    (void)state;
    check_ok(ql_outfile_init(&f, path));
    check_ok(ql_outfile_write(&f, "abc", 3));
    assert_false(ql_path_exists(path));
    ql_outfile_free(&f);
    assert_false(ql_path_exists(path));
    assert_false(ql_path_exists(check_tmp_path("out.txt.part")));
    check_ok(ql_file_write(path, "abc", 3));
    check_ok(ql_file_read(path, 3, &text, &len));
    assert_int_equal(len, 3);
    ql_free(text);
    check_fails(ql_file_read(path, 2, &text, &len), QL_EFORMAT, "at most 2");
}

static void outdir__replaces_only_when_asked(void **state)
{
    const char *path = check_tmp_path("dir");
    ql_outdir d;

    (void)state;
    check_ok(ql_outdir_init(&d, path, false));
    check_ok(ql_outdir_commit(&d));
    ql_outdir_free(&d);
    check_fails(ql_outdir_init(&d, path, false), QL_EINVAL, "--force");
    check_ok(ql_outdir_init(&d, path, true));
    ql_outdir_free(&d);
    assert_true(ql_path_is_dir(path));
    check_ok(ql_outdir_init(&d, path, true));
    check_ok(ql_outdir_commit(&d));
    ql_outdir_free(&d);
    assert_true(ql_path_is_dir(path));
}

/* Where there is no room is said by the name that the folder will have. */
static void outdir__is_named_as_it_will_be(void **state)
{
    char said[4300];
    char inside[4300];
    ql_outdir d;

    (void)state;
    check_ok(ql_outdir_init(&d, check_tmp_path("named"), false));
    check_fails(ql_disk_need(d.work, UINT64_MAX), QL_ENOSPACE, "/named needs ");
    snprintf(inside, sizeof(inside), "%s/.part-%ld/x", d.work, (long)getpid());
    snprintf(said, sizeof(said), "%s/x", d.path);
    assert_int_equal(ql_fail(QL_ENOSPACE, "%s", inside), QL_ENOSPACE);
    assert_string_equal(ql_last_error(), said);
    snprintf(inside, sizeof(inside), "%s0/x", d.work);
    assert_int_equal(ql_fail(QL_ENOSPACE, "%s", inside), QL_ENOSPACE);
    assert_string_equal(ql_last_error(), inside);
    ql_outdir_free(&d);
}

static void lines__reads_plain_and_gzip(void **state)
{
    static const char text[] = "one\r\n\nthree";
    const char *plain = check_tmp_path("lines.txt");
    const char *packed = check_tmp_path("lines.gz");
    const char *paths[] = {plain, packed};
    gzFile gz = gzopen(packed, "wb");

    (void)state;
    gzwrite(gz, text, sizeof(text) - 1);
    gzclose(gz);
    check_ok(ql_file_write(plain, text, sizeof(text) - 1));
    for (size_t i = 0; i < 2; i++) {
        ql_lines l;
        bool more;

        check_ok(ql_lines_init(&l, paths[i], 5));
        check_ok(ql_lines_next(&l, &more));
        assert_string_equal(l.line.data, "one");
        check_ok(ql_lines_next(&l, &more));
        assert_int_equal(l.line.len, 0);
        check_ok(ql_lines_next(&l, &more));
        assert_string_equal(l.line.data, "three");
        assert_int_equal(l.number, 3);
        check_ok(ql_lines_next(&l, &more));
        assert_false(more);
        ql_lines_free(&l);
    }
}

static void lines__names_the_line_that_is_too_long(void **state)
{
    const char *path = check_tmp_path("long.txt");
    ql_lines l;
    bool more;

    (void)state;
    check_ok(ql_file_write(path, "ok\nabcdef\n", 10));
    check_ok(ql_lines_init(&l, path, 5));
    check_ok(ql_lines_next(&l, &more));
    check_fails(ql_lines_next(&l, &more), QL_EFORMAT, "long.txt:2: ");
    ql_lines_free(&l);
}

static void lines__refuses_damaged_gzip(void **state)
{
    const char *path = check_tmp_path("cut.gz");
    const char *cut = check_tmp_path("cut2.gz");
    gzFile gz = gzopen(path, "wb");
    char *data;
    size_t len;
    ql_lines l;
    ql_status st = QL_OK;
    bool more = true;

    (void)state;
    for (int i = 0; i < 2000; i++) {
        gzprintf(gz, "line %d\n", i * 7919);
    }
    gzclose(gz);
    check_ok(ql_file_read(path, 1 << 20, &data, &len));
    check_ok(ql_file_write(cut, data, len / 2));
    ql_free(data);
    check_ok(ql_lines_init(&l, cut, 100));
    while (st == QL_OK && more) {
        st = ql_lines_next(&l, &more);
    }
    assert_int_equal(st, QL_EFORMAT);
    ql_lines_free(&l);
}

static void json__names_the_key(void **state)
{
    json_t *o = NULL;
    size_t n = 7;
    bool flag = false;

    (void)state;
    check_ok(ql_json_parse(&o, "{\"n\": -1, \"z\": null}", 20, "here"));
    check_fails(ql_json_size(o, "n", "here", &n), QL_EFORMAT, "\"n\"");
    check_ok(ql_json_size(o, "z", "here", &n));
    assert_int_equal(n, 7);
    check_fails(ql_json_bool(o, "n", "here", &flag), QL_EFORMAT, "here");
    json_decref(o);
    check_fails(ql_json_parse(&o, "{\"a\":1,\"a\":2}", 13, "here"), QL_EFORMAT,
                "here: not valid JSON");
}

static void rng__shuffle_is_a_permutation(void **state)
{
    size_t order[100];
    bool seen[100] = {false};

    (void)state;
    for (size_t i = 0; i < 100; i++) {
        order[i] = i;
    }
    ql_rng_shuffle(check_seed(), order, 100);
    for (size_t i = 0; i < 100; i++) {
        assert_false(seen[order[i]]);
        seen[order[i]] = true;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc__refuses_sizes_that_overflow),
        cmocka_unit_test(alloc__counts_by_tag),
        cmocka_unit_test(buf__keeps_its_ceiling),
        cmocka_unit_test(outfile__shows_only_when_committed),
        cmocka_unit_test(outdir__replaces_only_when_asked),
        cmocka_unit_test(outdir__is_named_as_it_will_be),
        cmocka_unit_test(lines__reads_plain_and_gzip),
        cmocka_unit_test(lines__names_the_line_that_is_too_long),
        cmocka_unit_test(lines__refuses_damaged_gzip),
        cmocka_unit_test(json__names_the_key),
        cmocka_unit_test(rng__shuffle_is_a_permutation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
