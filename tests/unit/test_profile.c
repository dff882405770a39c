/* Where the time of a step is counted. */
#include "src/base/clock.h"
#include "src/op/profile.h"
#include "tests/check/check.h"

/* Returns the time after the clock has moved on. */
static double wait(void)
{
    const double start = ql_now_s();
    double now;

    do {
        now = ql_now_s();
    } while (now <= start);
    return now;
}

static void profile__time_belongs_to_the_kind_that_was_marked(void **state)
{
    ql_profile p = {.seconds = {1, 2, 3}, .now = QL_WORK_LOSS};
    const double before = ql_now_s();
    double sum = 0;

    (void)state;
    ql_profile_start(&p);
    for (int kind = 1; kind < QL_WORK_KINDS; kind++) {
        ql_profile_mark(&p, (ql_work)kind);
        wait();
    }
    ql_profile_mark(&p, QL_WORK_OTHER);
    for (int kind = 0; kind < QL_WORK_KINDS; kind++) {
        assert_true(kind == QL_WORK_OTHER || p.seconds[kind] > 0);
        sum += p.seconds[kind];
    }
    assert_true(sum <= wait() - before);
}

static void profile__none_is_fine(void **state)
{
    (void)state;
    ql_profile_mark(NULL, QL_WORK_LORA);
}

static void profile__every_kind_has_a_name(void **state)
{
    (void)state;
    for (int kind = 0; kind < QL_WORK_KINDS; kind++) {
        assert_non_null(ql_work_names[kind]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profile__time_belongs_to_the_kind_that_was_marked),
        cmocka_unit_test(profile__none_is_fine),
        cmocka_unit_test(profile__every_kind_has_a_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
