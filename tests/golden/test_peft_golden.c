/* Adapters that PEFT wrote: read, written again, equal to the byte. */
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/convert/peft.h"
#include "tests/check/check.h"

enum {
    PATH_BYTES = 4200,
    MAX_FILE = 1 << 26
};

static void check_same_file(const char *dir, const char *golden)
{
    char path[PATH_BYTES];
    char *got;
    char *want;
    size_t n;
    size_t m;

    snprintf(path, sizeof(path), "%.4000s/adapter_model.safetensors", dir);
    check_ok(ql_file_read(path, MAX_FILE, &got, &n));
    snprintf(path, sizeof(path), "%.4000s/adapter_model.safetensors", golden);
    check_ok(ql_file_read(path, MAX_FILE, &want, &m));
    assert_int_equal(n, m);
    assert_memory_equal(got, want, n);
    ql_free(got);
    ql_free(want);
}

static size_t linear_layers(const ql_config *c)
{
    size_t n = 0;

    for (size_t i = 0; i < ql_site_count(c); i++) {
        n += ql_site_at(c, i).place == QL_PLACE_BLOCK;
    }
    return n;
}

static void adapters_of_peft__survive_reading_and_writing(void **state)
{
    static const char *const names[] = {
        "gemma1",       "gemma2",   "gemma3_text",
        "gpt2",         "gpt_neox", "llama2",
        "olmo2",        "phi3",     "llama3_gqa_tied_rope31",
        "qwen2",        "qwen3",    "mistral_swa4",
        "smollm3_nope",
    };
    const char *out = check_tmp();

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char base[64];
        char dir[64];
        ql_config c;
        ql_adapter a;

        print_message("%s\n", names[i]);
        snprintf(base, sizeof(base), "golden/models/%s", names[i]);
        snprintf(dir, sizeof(dir), "golden/gguf/%s", names[i]);
        check_ok(ql_config_init(&c, check_shared(base)));
        check_ok(ql_peft_load(&a, &c, check_shared(dir)));
        assert_int_equal(a.opt.r, 4);
        assert_int_equal(a.n, linear_layers(&c));
        check_ok(ql_peft_save(&a, "x", out));
        check_same_file(out, check_shared(dir));
        ql_adapter_free(&a);
        ql_config_free(&c);
    }
}

static void adapters_of_other_kinds__are_refused(void **state)
{
    ql_config c;
    ql_adapter a;

    (void)state;
    check_ok(ql_config_init(&c, check_shared("golden/models/llama2")));
    check_fails(ql_peft_load(&a, &c, check_shared("golden/gguf/gpt2")),
                QL_EMISMATCH, "another one");
    check_fails(ql_peft_load(&a, &c, check_shared("golden/gguf/gpt_neox")),
                QL_EMISMATCH, "another one");
    check_fails(ql_peft_load(&a, &c, check_shared("golden/gguf/qwen2")),
                QL_EMISMATCH, "another model");
    check_ok(ql_peft_load(&a, &c, check_shared("golden/gguf/llama2_embhead")));
    assert_int_equal(a.n, 2 * c.layers + 2);
    ql_adapter_free(&a);
    ql_config_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapters_of_peft__survive_reading_and_writing),
        cmocka_unit_test(adapters_of_other_kinds__are_refused),
    };

    check_need_shared();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
