/* A run knows its base again: a change of any tensor makes it another. */
#include <string.h>

#include "src/base/rng.h"
#include "src/format/shards.h"
#include "src/train/identity_model.h"
#include "tests/check/check.h"
#include "tests/check/toy_folder.h"

static uint32_t sum_of(const char *dir, bool quantize)
{
    ql_model_options opt;
    ql_model *m;
    uint32_t crc;

    ql_model_options_init(&opt);
    opt.quantize = quantize;
    check_ok(ql_model_open(&m, dir, &opt));
    check_ok(ql_identity_model(&crc, m));
    ql_model_close(&m);
    return crc;
}

static void check_each_tensor(bool quantize)
{
    toy_folder how = {.dtype = QL_DTYPE_BF16, .untied = true};
    const char *dir = toy_in();
    ql_shards *names;
    uint32_t base;

    toy_folder_write(dir, &how);
    base = sum_of(dir, quantize);
    assert_int_equal(sum_of(dir, quantize), base);
    check_ok(ql_shards_open(&names, dir));
    assert_true(ql_shards_count(names) > 20);
    for (size_t i = 0; i < ql_shards_count(names); i++) {
        how.bad = ql_shards_at(names, i)->name;
        how.bad_value = 3;
        toy_folder_write(toy_out(), &how);
        if (sum_of(toy_out(), quantize) == base) {
            fail_msg("another %s is not noticed", how.bad);
        }
    }
    ql_shards_close(&names);
}

static void identity__of_a_model_is_of_each_tensor(void **state)
{
    (void)state;
    check_each_tensor(true);
    check_each_tensor(false);
}

/* As long a stretch as the header says, wherever it begins. */
static void identity__of_an_array_is_of_all_its_parts(void **state)
{
    enum {
        MOST = 3 * QL_SUM_WHOLE + 7
    };
    static unsigned char data[MOST];
    static const size_t sizes[] = {1, 4096, QL_SUM_WHOLE, QL_SUM_WHOLE + 1,
                                   MOST};

    (void)state;
    for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
        const size_t n = sizes[k];
        const size_t stretch = n <= QL_SUM_WHOLE ? 1 : n / QL_SUM_PLACES + 1;
        const uint32_t crc = ql_identity_array(0, data, n);

        for (uint64_t i = 0; i < 200; i++) {
            const size_t at = ql_rng_below(check_seed(), i, n - stretch + 1);

            memset(data + at, 1, stretch);
            assert_int_not_equal(ql_identity_array(0, data, n), crc);
            memset(data + at, 0, stretch);
        }
        assert_int_equal(ql_identity_array(0, data, n), crc);
    }
    assert_int_not_equal(ql_identity_array(0, data, 4),
                         ql_identity_array(0, data, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity__of_a_model_is_of_each_tensor),
        cmocka_unit_test(identity__of_an_array_is_of_all_its_parts),
    };

    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
