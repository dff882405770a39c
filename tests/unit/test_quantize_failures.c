/* ql_quantize_model when it is stopped, refuses or fails: it says why, and
 * leaves nothing behind. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qlora/model.h"
#include "src/base/file.h"
#include "tests/check/check.h"
#include "tests/check/toy_folder.h"

enum {
    PATH_BYTES = 4200
};

static void options(ql_quantize_options *o)
{
    ql_quantize_options_init(o);
    o->force = true;
}

static const ql_dtype dtypes[] = {QL_DTYPE_F32, QL_DTYPE_BF16, QL_DTYPE_F16};

/* What the progress callback saw, and when it shall stop. */
typedef struct watch {
    size_t calls, stop_at; /* 0: never */
    uint64_t done, total;
} watch;

static bool look(uint64_t done, uint64_t total, void *user)
{
    watch *w = user;

    w->calls++;
    assert_true(done > w->done && done <= total);
    w->done = done;
    w->total = total;
    return w->calls != w->stop_at;
}

static void progress__counts_up_and_can_stop(void **state)
{
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    ql_quantize_options o;
    ql_quantize_report r;
    watch all = {0};

    (void)state;
    options(&o);
    o.progress = look;
    o.user = &all;
    o.max_shard_bytes = 2000;
    toy_folder_write(toy_in(), &how);
    check_ok(ql_dir_remove(toy_out()));
    check_ok(ql_quantize_model(toy_in(), toy_out(), &o, NULL));
    assert_int_equal(all.done, all.total);
    assert_int_equal(all.total, toy_tensor_bytes(toy_in()));
    check_ok(ql_dir_remove(toy_out()));
    for (size_t i = 1; i <= all.calls; i++) {
        watch some = {.stop_at = i};

        o.user = &some;
        check_fails(ql_quantize_model(toy_in(), toy_out(), &o, &r),
                    QL_ECANCELLED, "stopped");
        assert_null(r.groups);
        assert_false(ql_path_exists(toy_out()));
        toy_check_no_rest();
    }
}

/* Damages the last byte of the first shard in a folder. */
static void damage_shard(const char *dir)
{
    char **names;
    size_t n;

    check_ok(ql_dir_list(dir, &names, &n));
    for (size_t i = 0; i < n; i++) {
        char path[PATH_BYTES];
        FILE *f;

        if (strncmp(names[i], "model-00001-of", 14) != 0) {
            continue;
        }
        snprintf(path, sizeof(path), "%.3000s/%.900s", dir, names[i]);
        f = fopen(path, "r+b");
        assert_non_null(f);
        fseek(f, -1, SEEK_END);
        fputc(0x5A, f);
        fclose(f);
    }
    ql_dir_list_free(names, n);
}

/* Once the last tensor is written, the first shard is complete. */
static bool damage(uint64_t done, uint64_t total, void *user)
{
    char **names;
    size_t n;

    (void)user;
    if (done < total) {
        return true;
    }
    check_ok(ql_dir_list(check_tmp(), &names, &n));
    for (size_t i = 0; i < n; i++) {
        char path[PATH_BYTES];

        if (strstr(names[i], "out.part")) {
            snprintf(path, sizeof(path), "%.3000s/%.900s", check_tmp(),
                     names[i]);
            damage_shard(path);
        }
    }
    ql_dir_list_free(names, n);
    return true;
}

static void verify__finds_a_difference(void **state)
{
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    ql_quantize_options o;

    (void)state;
    options(&o);
    o.verify = true;
    o.progress = damage;
    o.max_shard_bytes = 12000;
    toy_folder_write(toy_in(), &how);
    check_ok(ql_dir_remove(toy_out()));
    check_fails(ql_quantize_model(toy_in(), toy_out(), &o, NULL), QL_EMISMATCH,
                "what was read back is not what was written");
    assert_false(ql_path_exists(toy_out()));
    toy_check_no_rest();
}

static void folders__that_cannot_be_are_refused(void **state)
{
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    ql_quantize_options o;
    char again[PATH_BYTES];

    (void)state;
    options(&o);
    toy_folder_write(toy_in(), &how);
    check_ok(ql_quantize_model(toy_in(), toy_out(), &o, NULL));
    snprintf(again, sizeof(again), "%.4000s2", toy_out());
    check_fails(ql_quantize_model(toy_out(), again, &o, NULL), QL_EUNSUPPORTED,
                "quantized already");
    check_fails(ql_quantize_model(check_tmp_path("nowhere"), again, &o, NULL),
                QL_ENOTFOUND, "nowhere: no such folder");
    assert_false(ql_path_exists(again));
    o.force = false;
    check_fails(ql_quantize_model(toy_in(), toy_out(), &o, NULL), QL_EINVAL,
                "exists already");
    o.force = true;
    check_fails(ql_quantize_model(toy_in(), toy_in(), &o, NULL), QL_EINVAL,
                "the same folder");
    snprintf(again, sizeof(again), "%.4000s/../in/", toy_in());
    check_fails(ql_quantize_model(toy_in(), again, &o, NULL), QL_EINVAL,
                "the same folder");
    check_fails(ql_quantize_model(toy_in(), check_tmp(), &o, NULL), QL_EINVAL,
                "lies in it");
    assert_true(toy_has(toy_in(), "model.safetensors"));
    toy_check_no_rest();
}

/* What a link leads to is replaced as it would be by its own name. */
static void link__is_followed(void **state)
{
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    char beyond[PATH_BYTES];
    ql_quantize_options o;
    struct stat sb;

    (void)state;
    options(&o);
    toy_folder_write(toy_in(), &how);
    check_ok(ql_dir_remove(toy_out()));
    snprintf(beyond, sizeof(beyond), "%.4000s.beyond", toy_out());
    assert_int_equal(symlink(beyond, toy_out()), 0);
    check_fails(ql_quantize_model(toy_in(), toy_out(), &o, NULL), QL_EINVAL,
                "a symbolic link that leads nowhere");
    check_ok(ql_dir_make(beyond));
    toy_write(beyond, "a", "keep me");
    check_fails(ql_quantize_model(toy_in(), toy_out(), &o, NULL), QL_EINVAL,
                "holds something else");
    assert_true(toy_has(beyond, "a"));
    check_ok(ql_dir_remove(beyond));
    check_ok(ql_dir_make(beyond));
    for (int i = 0; i < 2; i++) {
        check_ok(ql_quantize_model(toy_in(), toy_out(), &o, NULL));
        assert_true(toy_has(beyond, "model.safetensors"));
        assert_int_equal(lstat(toy_out(), &sb), 0);
        assert_true(S_ISLNK(sb.st_mode));
    }
    check_ok(ql_dir_remove(beyond));
    check_ok(ql_dir_remove(toy_out()));
    toy_check_no_rest();
}

static void options__are_checked(void **state)
{
    static const size_t blocks[] = {0, 1, 16, 48, 63, 65, 8192, SIZE_MAX};
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    ql_quantize_options o;

    (void)state;
    toy_folder_write(toy_in(), &how);
    check_ok(ql_dir_remove(toy_out()));
    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        ql_model_options m;
        ql_model *model = NULL;

        options(&o);
        o.quant.block_size = blocks[i];
        check_fails(ql_quantize_model(toy_in(), toy_out(), &o, NULL), QL_EINVAL,
                    "block size");
        ql_model_options_init(&m);
        m.quant.block_size = blocks[i];
        check_fails(ql_model_open(&model, toy_in(), &m), QL_EINVAL,
                    "block size");
        assert_null(model);
    }
    options(&o);
    o.quant.type = (ql_quant_type)7;
    check_fails(ql_quantize_model(toy_in(), toy_out(), &o, NULL), QL_EINVAL,
                "type");
    assert_false(ql_path_exists(toy_out()));
}

static void weights__that_are_not_finite_are_named(void **state)
{
    static const float values[] = {NAN, INFINITY, -INFINITY};
    static const char name[] = "model.layers.1.mlp.up_proj.weight";
    ql_quantize_options o;

    (void)state;
    check_ok(ql_dir_remove(toy_out()));
    for (size_t d = 0; d < 3; d++) {
        for (size_t i = 0; i < 6; i++) {
            const toy_folder how = {
                .dtype = dtypes[d], .bad = name, .bad_value = values[i % 3]};

            options(&o);
            o.quant.double_quant = i < 3;
            toy_folder_write(toy_in(), &how);
            check_fails(ql_quantize_model(toy_in(), toy_out(), &o, NULL),
                        QL_EFORMAT,
                        "model.layers.1.mlp.up_proj.weight: element 7 is not "
                        "finite");
            assert_false(ql_path_exists(toy_out()));
            toy_check_no_rest();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress__counts_up_and_can_stop),
        cmocka_unit_test(verify__finds_a_difference),
        cmocka_unit_test(folders__that_cannot_be_are_refused),
        cmocka_unit_test(link__is_followed),
        cmocka_unit_test(options__are_checked),
        cmocka_unit_test(weights__that_are_not_finite_are_named),
    };

    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
