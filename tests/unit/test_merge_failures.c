/* ql_export_merge: adapters that do not fit, and what ends it early. Each time
 * nothing is left. */
#include <stdio.h>

#include "qlora/export.h"
#include "qlora/model.h"
#include "src/base/file.h"
#include "tests/check/check.h"
#include "tests/check/toy_adapter.h"
#include "tests/check/toy_folder.h"

enum {
    PATH_BYTES = 4300
};

static char adapter_dir[PATH_BYTES];

static void options(ql_export_options *o)
{
    ql_export_options_init(o);
    o->force = true;
}

static const toy_tensor tensors[] = {
    TOY_PAIR,
    {.name = TOY_Q1 ".lora_A.weight", .shape = {2, TOY_C}},
    {.name = TOY_Q1 ".lora_B.weight", .shape = {TOY_QKV, 2}},
    {.name = TOY_EMBED ".weight", .shape = {TOY_V, TOY_C}},
};

static void write_pair(void)
{
    toy_adapter_write(adapter_dir,
                      "{'peft_type': 'LORA', 'r': 2, 'lora_alpha': 1}", tensors,
                      2);
}

static ql_status merge(const ql_export_options *o)
{
    return ql_export_merge(toy_in(), adapter_dir, toy_out(), o, NULL);
}

static void adapters__of_another_model_are_refused(void **state)
{
    static const float zeros[TOY_V * TOY_C];
    static const struct {
        toy_tensor t[3];
        size_t n;
        const char *config, *say;
    } cases[] = {
        {{{.name = TOY_Q0 ".lora_A.weight", .shape = {2, TOY_C + 1}},
          {.name = TOY_Q0 ".lora_B.weight", .shape = {TOY_QKV, 2}}},
         2,
         "{'r': 2}",
         "fits a weight of shape [12, 21], but the model's"},
        {{{.name = "base_model.model.x.lora_A.weight", .shape = {2, TOY_C}},
          {.name = "base_model.model.x.lora_B.weight", .shape = {TOY_QKV, 2}}},
         2,
         "{'r': 2}",
         "x is adapted, but the model has no weight"},
        {{TOY_PAIR, {.name = TOY_HEAD ".weight", .shape = {TOY_V, 3}}},
         3,
         "{'r': 2, 'modules_to_save': ['lm_head']}",
         "[30, 3]"},
        {{TOY_PAIR,
          {.name = "base_model.model.score.weight", .shape = {TOY_V, 3}}},
         3,
         "{'r': 2, 'modules_to_save': ['score']}",
         "score.weight is trained whole, but the model has no such"},
        {{TOY_PAIR,
          {.name = TOY_EMBED ".base_layer.weight",
           .shape = {TOY_V, TOY_C},
           .values = zeros}},
         3,
         "{'r': 2}",
         "its embeddings were changed before the training"},
    };
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    ql_export_options o;

    (void)state;
    toy_folder_write(toy_in(), &how);
    check_ok(ql_dir_remove(toy_out()));
    options(&o);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        toy_adapter_write(adapter_dir, cases[i].config, cases[i].t, cases[i].n);
        check_fails(merge(&o), QL_EMISMATCH, cases[i].say);
        assert_false(ql_path_exists(toy_out()));
    }
    toy_check_no_rest();
}

/* What loading refuses, for settings that are not of this adapter or model, is
 * made nothing else of, either. */
static void settings__that_do_not_fit_are_refused_by_all(void **state)
{
    static const struct {
        const char *config;
        size_t n; /* tensors */
        const char *say;
    } cases[] = {
        {"{'r': 2, 'target_modules': ['q_proj', 'v_proj']}", 4,
         "layers.0.self_attn.v_proj.lora_A must be there"},
        {"{'r': 2, 'modules_to_save': ['embed_tokens', 'lm_head']}", 5,
         "lm_head.weight must be there, for \"modules_to_save\""},
    };
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    const char *file = check_tmp_path("x.gguf");
    ql_export_options o;
    ql_model *m = NULL;

    (void)state;
    toy_folder_write(toy_in(), &how);
    check_ok(ql_model_open(&m, toy_in(), NULL));
    check_ok(ql_dir_remove(toy_out()));
    options(&o);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *say = cases[i].say;

        toy_adapter_write(adapter_dir, cases[i].config, tensors, cases[i].n);
        check_fails(ql_model_load_adapter(m, adapter_dir), QL_EMISMATCH, say);
        check_fails(merge(&o), QL_EMISMATCH, say);
        check_fails(ql_export_gguf(toy_in(), adapter_dir, file, &o, NULL),
                    QL_EMISMATCH, say);
        check_fails(
            ql_export_gguf_adapter(toy_in(), adapter_dir, file, &o, NULL),
            QL_EMISMATCH, say);
        assert_false(ql_path_exists(toy_out()) || ql_path_exists(file));
    }
    ql_model_close(&m);
    toy_check_no_rest();
}

static bool stop(uint64_t done, uint64_t total, void *user)
{
    size_t *left = user;

    assert_true(done <= total);
    return (*left)-- > 0;
}

static void progress__can_stop(void **state)
{
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    ql_export_options o;

    (void)state;
    toy_folder_write(toy_in(), &how);
    check_ok(ql_dir_remove(toy_out()));
    write_pair();
    options(&o);
    o.progress = stop;
    o.max_shard_bytes = 4000;
    for (size_t i = 0; i < 20; i++) {
        size_t left = i;

        o.user = &left;
        check_fails(merge(&o), QL_ECANCELLED, "stopped");
        assert_false(ql_path_exists(toy_out()));
        toy_check_no_rest();
    }
}

static void folders__are_not_replaced_unasked(void **state)
{
    const toy_folder how = {.dtype = QL_DTYPE_F32};
    ql_export_options o;

    (void)state;
    toy_folder_write(toy_in(), &how);
    write_pair();
    options(&o);
    check_ok(merge(&o));
    o.force = false;
    check_fails(merge(&o), QL_EINVAL, "exists already");
    o.force = true;
    check_fails(ql_export_merge(toy_in(), adapter_dir, toy_in(), &o, NULL),
                QL_EINVAL, "the same folder");
    check_fails(ql_export_merge(toy_in(), check_tmp_path("nowhere"), toy_out(),
                                &o, NULL),
                QL_ENOTFOUND, "nowhere: no such folder");
    check_fails(ql_export_merge(check_tmp_path("nowhere"), adapter_dir,
                                toy_out(), &o, NULL),
                QL_ENOTFOUND, "nowhere: no such folder");
}

static void memory__that_is_lacking_ends_it_cleanly(void **state)
{
    const toy_folder how = {.dtype = QL_DTYPE_BF16};
    bool ok = false;
    ql_export_options o;
    size_t failures = 0;

    (void)state;
    toy_folder_write(toy_in(), &how);
    write_pair();
    options(&o);
    o.compare = false;
    o.base = QL_EXPORT_BASE_DEQUANTIZED;
    for (long n = 0; !ok; n += 1 + n / 16) {
        check_ok(ql_dir_remove(toy_out()));
        ok = check_lacking(n, merge(&o));
        failures += !ok;
        assert_int_equal(ql_path_exists(toy_out()), ok);
        toy_check_no_rest();
    }
    assert_true(failures > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapters__of_another_model_are_refused),
        cmocka_unit_test(settings__that_do_not_fit_are_refused_by_all),
        cmocka_unit_test(progress__can_stop),
        cmocka_unit_test(folders__are_not_replaced_unasked),
        cmocka_unit_test(memory__that_is_lacking_ends_it_cleanly),
    };

    snprintf(adapter_dir, sizeof(adapter_dir), "%s", check_tmp_path("adapter"));
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
