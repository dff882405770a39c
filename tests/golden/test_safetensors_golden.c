/* Files that the reference crate wrote are written again from what was read,
 * and must come out the same byte by byte. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/format/safetensors.h"
#include "tests/check/check.h"

static size_t equal;
static size_t unequal;

/* The header as a tree, by another parser, which keeps the order. */
static json_t *read_tree(const char *bytes)
{
    json_t *tree = NULL;
    uint64_t n;

    memcpy(&n, bytes, sizeof(n));
    check_ok(ql_json_parse(&tree, bytes + 8, (size_t)n, "header"));
    return tree;
}

static void announce(ql_safetensors_writer *w, const ql_safetensors *st,
                     const char *bytes)
{
    json_t *tree = read_tree(bytes);
    const char *key;
    json_t *value;

    json_object_foreach(json_object_get(tree, "__metadata__"), key, value)
    {
        assert_string_equal(ql_safetensors_metadata(st, key),
                            json_string_value(value));
        check_ok(
            ql_safetensors_writer_metadata(w, key, json_string_value(value)));
    }
    json_object_del(tree, "__metadata__");
    assert_int_equal(json_object_size(tree), ql_safetensors_count(st));
    json_decref(tree);
    for (size_t i = 0; i < ql_safetensors_count(st); i++) {
        const ql_tensor *t = ql_safetensors_at(st, i);

        check_ok(
            ql_safetensors_writer_add(w, t->name, t->dtype, t->shape, t->rank));
    }
}

static void write_again(const char *path, const char *copy, const char *bytes)
{
    ql_safetensors *st = NULL;
    ql_safetensors_writer *w = NULL;

    check_ok(ql_safetensors_open(&st, path));
    check_ok(ql_safetensors_writer_open(&w, copy));
    announce(w, st, bytes);
    check_ok(ql_safetensors_writer_begin(w));
    for (size_t i = 0; i < ql_safetensors_count(st); i++) {
        const ql_tensor *t = ql_safetensors_at(st, i);

        check_ok(ql_safetensors_writer_put(w, t->name, t->data));
        ql_safetensors_drop(st, t);
    }
    check_ok(ql_safetensors_writer_commit(w));
    ql_safetensors_writer_close(&w);
    ql_safetensors_close(&st);
}

static void compare(const char *path)
{
    const char *copy = check_tmp_path("copy.safetensors");
    char *want = NULL;
    char *got = NULL;
    size_t want_len;
    size_t got_len;

    check_ok(ql_file_read(path, SIZE_MAX, &want, &want_len));
    write_again(path, copy, want);
    check_ok(ql_file_read(copy, SIZE_MAX, &got, &got_len));
    if (got_len == want_len && memcmp(got, want, got_len) == 0) {
        equal++;
    } else {
        unequal++;
        printf("differs: %s\n", path);
    }
    ql_free(want);
    ql_free(got);
}

/* All safetensors files below a folder. dir is not one of the test's path
 * buffers, which are used in turn. */
static void compare_all(const char *dir)
{
    char **names = NULL;
    size_t n = 0;

    check_ok(ql_dir_list(dir, &names, &n));
    for (size_t i = 0; i < n; i++) {
        const size_t len = strlen(names[i]);
        char *path = ql_path_join(dir, names[i]);

        assert_non_null(path);
        if (ql_path_is_dir(path)) {
            compare_all(path);
        } else if (len > 12 &&
                   strcmp(names[i] + len - 12, ".safetensors") == 0) {
            compare(path);
        }
        ql_free(path);
    }
    ql_dir_list_free(names, n);
}

static void writer__repeats_the_crate_s_files(void **state)
{
    char *golden = ql_strdup(QL_TAG_MISC, check_shared("golden"));
    char *models = ql_strdup(QL_TAG_MISC, check_shared("models"));

    (void)state;
    compare_all(golden);
    compare_all(models);
    ql_free(golden);
    ql_free(models);
    printf("%zu files are equal byte by byte, %zu are not\n", equal, unequal);
    assert_true(equal > 0);
    assert_int_equal(unequal, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writer__repeats_the_crate_s_files),
    };

    check_need_shared();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
