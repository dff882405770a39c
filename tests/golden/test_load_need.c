/* What loading a model takes is worked out before, from its headers: for each
 * architecture, quantized while loading or not. */
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/model/load_need.h"
#include "src/model/model_handle.h"
#include "tests/check/check.h"
#include "tests/golden/lost_bias.h"
#include "tests/golden/rewrite.h"

enum {
    PATH_BYTES = 4200
};

static void check_folder(const char *dir, const ql_model_options *opt)
{
    const ql_load load = ql_model_load(opt);
    size_t peak = ql_alloc_peak(QL_TAG_WEIGHTS);
    ql_load_need need;
    ql_config c;
    ql_model *m;
    size_t kept;

    check_ok(ql_config_init(&c, dir));
    check_ok(ql_load_needs(&need, &c, dir, &load));
    ql_config_free(&c);
    check_ok(ql_model_open(&m, dir, opt));
    kept = ql_alloc_bytes(QL_TAG_WEIGHTS);
    if (kept != need.kept) {
        fail_msg("%s: %zu bytes are kept instead of %llu", dir, kept,
                 (unsigned long long)need.kept);
    }
    if (ql_alloc_peak(QL_TAG_WEIGHTS) > peak) {
        peak = ql_alloc_peak(QL_TAG_WEIGHTS);
        assert_true(peak <= need.kept + need.more);
        assert_true(peak > kept || !opt->quantize || !opt->quant.double_quant);
    }
    ql_model_close(&m);
    assert_int_equal(ql_alloc_bytes(QL_TAG_WEIGHTS), 0);
}

static void check_ways(const char *folder)
{
    ql_model_options opt;

    ql_model_options_init(&opt);
    check_folder(folder, &opt);
    opt.quant.double_quant = false;
    opt.quant.block_size = 128;
    check_folder(folder, &opt);
    opt.quantize = false;
    check_folder(folder, &opt);
}

static void loading__takes_what_its_headers_say(void **state)
{
    const char *dir = check_shared("golden/models");
    char **names;
    size_t seen = 0;
    size_t n;

    (void)state;
    check_ok(ql_dir_list(dir, &names, &n));
    for (size_t i = 0; i < n; i++) {
        char path[PATH_BYTES];

        snprintf(path, sizeof(path), "%s/%s/model.safetensors", dir, names[i]);
        if (!ql_path_exists(path) || strncmp(names[i], "bert", 4) == 0) {
            continue;
        }
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        check_ways(lost_bias_is(path) ? lost_bias_copy(path) : path);
        seen++;
    }
    ql_dir_list_free(names, n);
    assert_true(seen >= 10);
}

/* Projections that are put together while loading. */
static void parts__count_while_they_become_one(void **state)
{
    const rewrite how = {.whole = "mlp.gate_up_proj",
                         .parts = "mlp.gate_proj mlp.up_proj",
                         .rows = {128, 128}};

    (void)state;
    rewrite_folder(check_shared("golden/models/phi3"), check_tmp_path("told"),
                   &how);
    check_ways(check_tmp_path("told"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loading__takes_what_its_headers_say),
        cmocka_unit_test(parts__count_while_they_become_one),
    };

    check_need_shared();
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
