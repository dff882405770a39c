/* Forward, backward and three AdamW steps of whole models, and the adapters
 * that come of them, against the reference classes of transformers and PEFT in
 * double precision.
 *
 * Folders: QL_GOLDEN_MODELS when set, else the shared golden data; in either,
 * every folder that holds golden.safetensors. */
#include <stdlib.h>

#include "tests/check/check.h"
#include "tests/golden/matches.h"
#include "tests/golden/reference.h"

static void models__match_the_reference(void **state)
{
    (void)state;
    reference_each(reference_models(), matches_reference);
}

static void classifiers__match_the_reference(void **state)
{
    const char *where = reference_models();

    (void)state;
    if (reference_classifiers(where, matches_reference) == 0) {
        assert_true(reference_elsewhere());
    }
}

static void quantized_models__match_the_reference(void **state)
{
    (void)state;
    reference_each(check_shared("golden/qlora"), matches_reference);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models__match_the_reference),
        cmocka_unit_test(classifiers__match_the_reference),
        cmocka_unit_test(quantized_models__match_the_reference),
    };

    check_need_shared();
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
