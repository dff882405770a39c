/* Memory runs out at the n-th allocation, n = 0, 1, 2, ... until all goes
 * well: each time QL_ENOMEM, no block left behind, no file left behind. */
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/format/shards.h"
#include "tests/check/check.h"

enum {
    TENSORS = 40 /* more than one growth of every array */
};

typedef ql_status step_fn(void);

static char dir[4096];

static void starve(step_fn *step)
{
    const size_t before = ql_alloc_bytes(QL_TAG_COUNT);
    bool ok = false;

    for (long n = 0; !ok; n++) {
        ok = check_lacking(n, step());
        assert_int_equal(ql_alloc_bytes(QL_TAG_COUNT), before);
        assert_true(n < 10000);
    }
}

static ql_status announce(ql_safetensors_writer *w, int first)
{
    ql_status st = ql_safetensors_writer_metadata(w, "format", "pt");

    if (st == QL_OK) {
        st = ql_safetensors_writer_metadata(w, "more", "text");
    }
    for (int i = first; i < first + TENSORS && st == QL_OK; i++) {
        char name[32];

        snprintf(name, sizeof(name), "t%d", i);
        st = ql_safetensors_writer_add(w, name, QL_DTYPE_U8, NULL, 0);
    }
    return st;
}

static ql_status write_file(const char *name, int first)
{
    char path[8192];
    ql_safetensors_writer *w = NULL;
    ql_status st;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    st = ql_safetensors_writer_open(&w, path);
    if (st == QL_OK) {
        st = announce(w, first);
    }
    if (st == QL_OK) {
        st = ql_safetensors_writer_begin(w);
    }
    for (int i = first; i < first + TENSORS && st == QL_OK; i++) {
        char tensor[32];

        snprintf(tensor, sizeof(tensor), "t%d", i);
        st = ql_safetensors_writer_put(w, tensor, "");
    }
    if (st == QL_OK) {
        st = ql_safetensors_writer_commit(w);
    }
    ql_safetensors_writer_close(&w);
    assert_true(st == QL_OK || !ql_path_exists(path));
    return st;
}

static ql_status write_starved(void)
{
    return write_file("starved.safetensors", 0);
}

static ql_status read_file(void)
{
    char path[8192];
    ql_safetensors *s = NULL;
    ql_status st;

    snprintf(path, sizeof(path), "%s/%s", dir,
             "model-00001-of-00002.safetensors");
    st = ql_safetensors_open(&s, path);
    assert_true((s != NULL) == (st == QL_OK));
    ql_safetensors_close(&s);
    return st;
}

static ql_status read_shards(void)
{
    ql_shards *s = NULL;
    const ql_status st = ql_shards_open(&s, dir);

    assert_true((s != NULL) == (st == QL_OK));
    ql_shards_close(&s);
    return st;
}

static ql_status read_folder(void)
{
    char path[8192];
    ql_shards *s = NULL;
    ql_status st;

    snprintf(path, sizeof(path), "%s/one", dir);
    st = ql_shards_open(&s, path);
    ql_shards_close(&s);
    return st;
}

static ql_status write_index(void)
{
    ql_shard_plan *p = NULL;
    ql_status st = ql_shard_plan_open(&p, TENSORS);

    for (int i = 0; i < 2 * TENSORS && st == QL_OK; i++) {
        char name[32];

        snprintf(name, sizeof(name), "t%d", i);
        st = ql_shard_plan_add(p, name, 1);
    }
    if (st == QL_OK) {
        assert_int_equal(ql_shard_plan_shards(p), 2);
        st = ql_shard_plan_write_index(p, dir);
    }
    ql_shard_plan_close(&p);
    return st;
}

static void writer__survives_without_memory(void **state)
{
    (void)state;
    starve(write_starved);
}

static void plan__survives_without_memory(void **state)
{
    (void)state;
    starve(write_index);
}

static void safetensors__survives_without_memory(void **state)
{
    (void)state;
    check_ok(write_file("model-00001-of-00002.safetensors", 0));
    starve(read_file);
}

static void shards__survive_without_memory(void **state)
{
    (void)state;
    check_ok(write_file("model-00001-of-00002.safetensors", 0));
    check_ok(write_file("model-00002-of-00002.safetensors", TENSORS));
    check_ok(write_index());
    starve(read_shards);
    check_ok(ql_dir_make(check_tmp_path("one")));
    check_ok(write_file("one/weights.safetensors", 0));
    starve(read_folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writer__survives_without_memory),
        cmocka_unit_test(plan__survives_without_memory),
        cmocka_unit_test(safetensors__survives_without_memory),
        cmocka_unit_test(shards__survive_without_memory),
    };

    snprintf(dir, sizeof(dir), "%s", check_tmp());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
