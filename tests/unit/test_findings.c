/* Mistakes in data, counted and named; how they are found from files as users
 * have them is in tests/cli/data_findings.sh. */
#include <string.h>

#include "qlora/findings.h"
#include "src/base/alloc.h"
#include "src/data/dataset_handle.h"
#include "tests/check/check.h"
#include "tests/check/toy.h"

enum {
    SAMPLES = 5,
    TOKENS = 3
};

/* Samples 1 and 3 are equal; 4 begins as they do. */
static const int32_t ids[SAMPLES][TOKENS] = {
    {1, 5, 6}, {1, 7, 8}, {1, 5, 7}, {1, 7, 8}, {1, 7, 9}};
static const uint8_t train[TOKENS] = {0, 1, 1};

static ql_dataset *dataset(size_t from, size_t n)
{
    ql_sample samples[SAMPLES];
    ql_dataset *ds;

    for (size_t i = 0; i < n; i++) {
        samples[i] = (ql_sample){ids[from + i], train, TOKENS, 0};
    }
    check_ok(ql_dataset_of_samples(&ds, samples, n));
    return ds;
}

static size_t count_of(const ql_finding *f, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(f[i].name, name) == 0) {
            return f[i].count;
        }
    }
    return 0;
}

static void findings__count_equal_samples(void **state)
{
    ql_tokenizer *tok;
    ql_dataset *data = dataset(0, SAMPLES);
    ql_dataset *eval = dataset(2, 3);
    ql_findings_case c = {.data = data};
    ql_finding *f;
    size_t n;

    (void)state;
    check_ok(ql_tokenizer_open(&tok, toy_model()));
    c.tok = tok;
    check_ok(ql_findings_of(&c, &f, &n));
    assert_int_equal(count_of(f, n, "duplicate"), 1);
    assert_int_equal(count_of(f, n, "evaluation_overlap"), 0);
    ql_free(f);
    c.eval = eval;
    check_ok(ql_findings_of(&c, &f, &n));
    assert_int_equal(count_of(f, n, "evaluation_overlap"), 3);
    ql_free(f);
    ql_dataset_close(&data);
    ql_dataset_close(&eval);
    ql_tokenizer_close(&tok);
}

static void findings__fail_without_memory(void **state)
{
    ql_tokenizer *tok;
    ql_dataset *data = dataset(0, SAMPLES);
    ql_findings_case c = {.data = data, .eval = data};
    bool ok = false;

    (void)state;
    check_ok(ql_tokenizer_open(&tok, toy_model()));
    c.tok = tok;
    for (long i = 0; !ok; i++) {
        ql_finding *f;
        size_t n;

        ok = check_lacking(i, ql_findings_of(&c, &f, &n));
        assert_true(ok || (!f && n == 0));
        ql_free(f);
    }
    ql_dataset_close(&data);
    ql_tokenizer_close(&tok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(findings__count_equal_samples),
        cmocka_unit_test(findings__fail_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
