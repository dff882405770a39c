/* A model's files as one set of tensors, and the plan that splits one. */
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/quote.h"
#include "src/format/shards.h"
#include "tests/check/check.h"

/* A fresh folder with this name. Borrowed, one buffer. */
static const char *folder(const char *name)
{
    static char path[4096];

    snprintf(path, sizeof(path), "%s/%s", check_tmp(), name);
    check_ok(ql_dir_make(path));
    return path;
}

static void put_text(const char *dir, const char *name, const char *text)
{
    char *path = ql_path_join(dir, name);

    assert_non_null(path);
    check_ok(ql_file_write(path, text, strlen(text)));
    ql_free(path);
}

/* A file with a one-byte tensor for each letter of names, holding it. */
static void put_tensors(const char *dir, const char *file, const char *names)
{
    ql_safetensors_writer *w = NULL;
    char *path = ql_path_join(dir, file);

    assert_non_null(path);
    check_ok(ql_safetensors_writer_open(&w, path));
    for (const char *c = names; *c; c++) {
        const char name[] = {*c, '\0'};

        check_ok(ql_safetensors_writer_add(w, name, QL_DTYPE_U8, NULL, 0));
    }
    check_ok(ql_safetensors_writer_begin(w));
    for (const char *c = names; *c; c++) {
        const char name[] = {*c, '\0'};

        check_ok(ql_safetensors_writer_put(w, name, c));
    }
    check_ok(ql_safetensors_writer_commit(w));
    ql_safetensors_writer_close(&w);
    ql_free(path);
}

static void put_index(const char *dir, const char *weight_map)
{
    char text[1024];

    snprintf(text, sizeof(text), "{\"metadata\": {}, \"weight_map\": %s}",
             weight_map);
    put_text(dir, "model.safetensors.index.json", text);
}

/* The folder holds exactly these tensors. */
static void expect_tensors(const char *dir, const char *names)
{
    ql_shards *s = NULL;

    check_ok(ql_shards_open(&s, dir));
    assert_int_equal(ql_shards_count(s), strlen(names));
    for (size_t i = 0; i < strlen(names); i++) {
        const ql_tensor *t = ql_shards_at(s, i);

        assert_int_equal(t->name[0], names[i]);
        assert_int_equal(t->data[0], names[i]);
        assert_ptr_equal(ql_shards_find(s, t->name), t);
        ql_shards_drop(s, t);
        assert_int_equal(t->data[0], names[i]);
    }
    assert_null(ql_shards_find(s, "none"));
    ql_shards_close(&s);
    assert_null(s);
}

static void refuse(const char *dir, ql_status status, const char *sentence)
{
    ql_shards *s = NULL;

    check_fails(ql_shards_open(&s, dir), status, sentence);
    assert_null(s);
}

static void shards__merge_the_files_of_the_index(void **state)
{
    const char *dir = folder("merged");

    (void)state;
    put_tensors(dir, "m-1.safetensors", "bd");
    put_tensors(dir, "m-2.safetensors", "ac");
    put_tensors(dir, "unnamed.safetensors", "z");
    /* c is in a named file, but not in the index: taken all the same */
    put_index(dir, "{\"d\": \"m-1.safetensors\", \"a\": \"m-2.safetensors\", "
                   "\"b\": \"m-1.safetensors\"}");
    expect_tensors(dir, "abcd");
}

static void shards__prefer_the_single_file(void **state)
{
    const char *dir = folder("single");

    (void)state;
    put_tensors(dir, "model.safetensors", "ab");
    put_tensors(dir, "other.safetensors", "c");
    put_index(dir, "{\"c\": \"other.safetensors\"}");
    expect_tensors(dir, "ab");
}

static void shards__take_the_only_file(void **state)
{
    const char *dir = folder("only");

    (void)state;
    put_tensors(dir, "adapter_model.safetensors", "x");
    refuse(dir, QL_ENOTFOUND, "no weights; looked for model.safetensors");
    put_tensors(dir, "weights.safetensors", "ab");
    expect_tensors(dir, "ab");
    put_tensors(dir, "weights2.safetensors", "c");
    refuse(dir, QL_EFORMAT,
           "holds weights.safetensors and weights2.safetensors, but no "
           "model.safetensors.index.json");
}

/* A file with tensors of these names, ended by NULL. */
static void put_named(const char *dir, const char *const *names)
{
    ql_safetensors_writer *w = NULL;
    char *path = ql_path_join(dir, "model.safetensors");

    check_ok(ql_safetensors_writer_open(&w, path));
    for (size_t i = 0; names[i]; i++) {
        check_ok(ql_safetensors_writer_add(w, names[i], QL_DTYPE_U8, NULL, 0));
    }
    check_ok(ql_safetensors_writer_begin(w));
    for (size_t i = 0; names[i]; i++) {
        check_ok(ql_safetensors_writer_put(w, names[i], "x"));
    }
    check_ok(ql_safetensors_writer_commit(w));
    ql_safetensors_writer_close(&w);
    ql_free(path);
}

/* What wrappers put into names is read over; a name that only resembles it, or
 * "module." before some of them, is part of the model, and so is what tells
 * two tensors apart. */
static void shards__have_names_without_wrappers(void **state)
{
    static const struct {
        const char *names[4];
        const char *want[4]; /* in order */
    } cases[] = {
        {{"_orig_mod.b", "_orig_mod.a"}, {"a", "b"}},
        {{"module.b", "module.a.module.c"}, {"a.module.c", "b"}},
        {{"module._orig_mod.module.b", "module.module.a"}, {"a", "b"}},
        {{"l.1._orig_mod.b._orig_mod.w", "l.0._orig_mod.a"},
         {"l.0.a", "l.1.b.w"}},
        {{"module.b", "a"}, {"a", "module.b"}},
        {{"_orig_mod.a", "a"}, {"_orig_mod.a", "a"}},
        {{"module._orig_mod.a", "module.a"}, {"_orig_mod.a", "a"}},
        {{"_orig_mod.l.w", "l._orig_mod.w"},
         {"_orig_mod.l.w", "l._orig_mod.w"}},
        {{"my_orig_mod.b", "_orig_mod"}, {"_orig_mod", "my_orig_mod.b"}},
    };
    const char *dir = folder("wrapped");

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ql_shards *s = NULL;

        put_named(dir, cases[i].names);
        check_ok(ql_shards_open(&s, dir));
        assert_int_equal(ql_shards_count(s), 2);
        for (size_t k = 0; k < 2; k++) {
            const ql_tensor *t = ql_shards_at(s, k);

            assert_string_equal(t->name, cases[i].want[k]);
            assert_ptr_equal(ql_shards_find(s, t->name), t);
            assert_int_equal(t->data[0], 'x');
        }
        ql_shards_close(&s);
    }
}

static void shards__may_hold_nothing(void **state)
{
    const char *dir = folder("nothing");

    (void)state;
    put_tensors(dir, "model.safetensors", "");
    expect_tensors(dir, "");
}

static void shards__say_what_is_missing(void **state)
{
    const char *dir = folder("missing");

    (void)state;
    refuse(dir, QL_ENOTFOUND, "missing: no weights");
    refuse(check_tmp_path("nowhere"), QL_ENOTFOUND, "nowhere");
    put_tensors(dir, "m-1.safetensors", "a");
    put_index(dir, "{\"a\": \"m-1.safetensors\", \"b\": \"m-2.safetensors\"}");
    refuse(dir, QL_ENOTFOUND, "m-2.safetensors: missing");
    put_index(dir, "{\"a\": \"m-1.safetensors\", \"b\": \"m-1.safetensors\"}");
    refuse(dir, QL_EFORMAT,
           "model.safetensors.index.json: weight_map: tensor 'b' is not in "
           "m-1.safetensors");
}

static void shards__refuse_a_tensor_in_two_files(void **state)
{
    const char *dir = folder("twice");

    (void)state;
    put_tensors(dir, "m-1.safetensors", "ab");
    put_tensors(dir, "m-2.safetensors", "bc");
    put_index(dir, "{\"a\": \"m-1.safetensors\", \"c\": \"m-2.safetensors\"}");
    refuse(dir, QL_EFORMAT, "tensor 'b' is both in m-");
}

static void shards__refuse_a_damaged_index(void **state)
{
    static const char *const maps[] = {
        "{\"a\": \"../m.safetensors\"}",
        "{\"a\": \"/etc/passwd\"}",
        "{\"a\": \"x/m.safetensors\"}",
        "{\"a\": \"..\"}",
        "{\"a\": \".\"}",
        "{\"a\": \"\"}",
        "{\"a\": \"m.safetensors\\u0000\"}",
        "{\"a\": 1}",
        "{\"a\": [\"m.safetensors\"]}",
    };
    const char *dir = folder("damaged");

    (void)state;
    put_tensors(dir, "m.safetensors", "a");
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        put_index(dir, maps[i]);
        refuse(dir, QL_EFORMAT,
               "tensor 'a' must name a file in the same folder");
    }
    put_index(dir, "{}");
    refuse(dir, QL_EFORMAT, "weight_map must be an object");
    put_index(dir, "[]");
    refuse(dir, QL_EFORMAT, "weight_map must be an object");
    put_text(dir, "model.safetensors.index.json", "{}");
    refuse(dir, QL_EFORMAT, "weight_map must be an object");
    put_text(dir, "model.safetensors.index.json", "[");
    refuse(dir, QL_EFORMAT, "not valid JSON");
}

static void shards__name_the_damaged_file(void **state)
{
    const char *dir = folder("broken");

    (void)state;
    put_text(dir, "m.safetensors", "short");
    put_index(dir, "{\"a\": \"m.safetensors\"}");
    refuse(dir, QL_EFORMAT, "m.safetensors: not a safetensors file");
}

static void shards__say_how_to_convert(void **state)
{
    const char *dir = folder("pickled");

    (void)state;
    put_text(dir, "pytorch_model.bin", "x");
    refuse(dir, QL_EUNSUPPORTED, "pytorch_model.bin");
    refuse(dir, QL_EUNSUPPORTED, "convert the model to safetensors");
}

typedef struct want {
    const char *name;
    uint64_t bytes;
    size_t shard;
} want;

static void expect_plan(uint64_t max, const want *items, size_t n,
                        size_t shards)
{
    ql_shard_plan *p = NULL;

    check_ok(ql_shard_plan_open(&p, max));
    for (size_t i = 0; i < n; i++) {
        check_ok(ql_shard_plan_add(p, items[i].name, items[i].bytes));
    }
    assert_int_equal(ql_shard_plan_shards(p), shards);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(ql_shard_plan_shard_of(p, i), items[i].shard);
    }
    ql_shard_plan_close(&p);
    assert_null(p);
}

static void plan__is_greedy(void **state)
{
    static const want exact[] = {
        {"a", 6, 0}, {"b", 4, 0}, {"c", 1, 1}, {"d", 9, 1}, {"e", 0, 1}};
    static const want next[] = {{"a", 6, 0}, {"b", 5, 1}, {"c", 4, 1}};
    static const want large[] = {{"a", 11, 0}, {"b", 12, 1}};
    /* the large one is complete before the shard that was begun earlier */
    static const want between[] = {
        {"a", 6, 1}, {"b", 11, 0}, {"c", 4, 1}, {"d", 1, 2}};

    (void)state;
    expect_plan(10, NULL, 0, 0);
    expect_plan(10, exact, 5, 2);
    expect_plan(10, next, 3, 2);
    expect_plan(10, large, 2, 2);
    expect_plan(10, between, 4, 3);
}

static void plan__refuses_sizes_that_overflow(void **state)
{
    ql_shard_plan *p = NULL;

    (void)state;
    check_ok(ql_shard_plan_open(&p, UINT64_MAX));
    check_ok(ql_shard_plan_add(p, "a", UINT64_MAX - 1));
    check_ok(ql_shard_plan_add(p, "b", 1));
    check_fails(ql_shard_plan_add(p, "c", 1), QL_EINVAL, "tensor 'c'");
    check_fails(ql_shard_plan_add(p, "\xff", 0), QL_EINVAL, "not UTF-8");
    ql_shard_plan_close(&p);
}

/* As Python's json.dumps(index, indent=2, sort_keys=True) prints it. */
static void plan__writes_the_index(void **state)
{
    static const char want_text[] =
        "{\n"
        "  \"metadata\": {\n"
        "    \"total_size\": 5000000026\n"
        "  },\n"
        "  \"weight_map\": {\n"
        "    \"Z\": \"model-00002-of-00003.safetensors\",\n"
        "    \"a\": \"model-00002-of-00003.safetensors\",\n"
        "    \"a.\\\"\\\\\\n\\u007f\": \"model-00003-of-00003.safetensors\",\n"
        "    \"\\u00e9\\ud83d\\ude00\": \"model-00001-of-00003.safetensors\"\n"
        "  }\n"
        "}\n";
    const char *dir = folder("index");
    char *path = ql_path_join(dir, "model.safetensors.index.json");
    ql_shard_plan *p = NULL;
    char *got = NULL;
    size_t len;

    (void)state;
    assert_non_null(path);
    check_ok(ql_shard_plan_open(&p, 10));
    check_ok(ql_shard_plan_add(p, "a", 6));
    check_ok(ql_shard_plan_write_index(p, dir));
    assert_false(ql_path_exists(path));
    assert_string_equal(ql_shard_plan_file(p, 0), "model.safetensors");
    check_ok(ql_shard_plan_add(p, "\xc3\xa9\xf0\x9f\x98\x80", 5000000011));
    check_ok(ql_shard_plan_add(p, "Z", 4));
    check_ok(ql_shard_plan_add(p, "a.\"\\\n\x7f", 5));
    check_ok(ql_shard_plan_write_index(p, dir));
    check_ok(ql_file_read(path, 10000, &got, &len));
    assert_string_equal(got, want_text);
    ql_free(got);
    check_ok(ql_shard_plan_add(p, "Z", 4));
    check_fails(ql_shard_plan_write_index(p, dir), QL_EINVAL,
                "tensor 'Z' is added twice");
    ql_shard_plan_close(&p);
    ql_free(path);
}

static void quote__spells_as_its_models(void **state)
{
    static const char text[] = "\x01\b\f\r\t/\x7f\xe2\x82\xac";
    ql_buf b;

    (void)state;
    ql_buf_init(&b, QL_TAG_TEXT, 100);
    check_ok(ql_quote_utf8(&b, text));
    assert_string_equal(b.data, "\"\\u0001\\b\\f\\r\\t/\x7f\xe2\x82\xac\"");
    ql_buf_clear(&b);
    check_ok(ql_quote_ascii(&b, text, strlen(text)));
    assert_string_equal(b.data, "\"\\u0001\\b\\f\\r\\t/\\u007f\\u20ac\"");
    ql_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards__merge_the_files_of_the_index),
        cmocka_unit_test(shards__prefer_the_single_file),
        cmocka_unit_test(shards__take_the_only_file),
        cmocka_unit_test(shards__have_names_without_wrappers),
        cmocka_unit_test(shards__may_hold_nothing),
        cmocka_unit_test(shards__say_what_is_missing),
        cmocka_unit_test(shards__refuse_a_tensor_in_two_files),
        cmocka_unit_test(shards__refuse_a_damaged_index),
        cmocka_unit_test(shards__name_the_damaged_file),
        cmocka_unit_test(shards__say_how_to_convert),
        cmocka_unit_test(plan__is_greedy),
        cmocka_unit_test(plan__refuses_sizes_that_overflow),
        cmocka_unit_test(plan__writes_the_index),
        cmocka_unit_test(quote__spells_as_its_models),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
