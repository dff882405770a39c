/* Learning rates against values worked out by hand from the definitions of
 * transformers, and the length of a run. */
#include <math.h>

#include "src/train/options.h"
#include "tests/check/check.h"

static void check_factor(ql_scheduler s, size_t step, size_t w, size_t T,
                         double want)
{
    const double got = ql_scheduler_factor(s, step, w, T);

    if (fabs(got - want) > 1e-12) {
        fail_msg("%s at %zu of %zu, warmup %zu: %.15g instead of %.15g",
                 ql_scheduler_name(s), step, T, w, got, want);
    }
}

static void schedule__warms_up_from_zero(void **state)
{
    static const ql_scheduler warm[] = {QL_SCHEDULER_CONSTANT_WITH_WARMUP,
                                        QL_SCHEDULER_LINEAR,
                                        QL_SCHEDULER_COSINE};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        check_factor(warm[i], 0, 4, 10, 0);
        check_factor(warm[i], 1, 4, 10, 0.25);
        check_factor(warm[i], 3, 4, 10, 0.75);
        check_factor(warm[i], 4, 4, 10, 1);
        check_factor(warm[i], 0, 0, 10, 1);
    }
    check_factor(QL_SCHEDULER_CONSTANT, 0, 4, 10, 1);
}

static void schedule__falls_as_defined(void **state)
{
    (void)state;
    check_factor(QL_SCHEDULER_LINEAR, 7, 4, 10, 0.5);
    check_factor(QL_SCHEDULER_LINEAR, 10, 4, 10, 0);
    check_factor(QL_SCHEDULER_LINEAR, 11, 4, 10, 0);
    check_factor(QL_SCHEDULER_COSINE, 7, 4, 10, 0.5);
    check_factor(QL_SCHEDULER_COSINE, 5, 4, 10, 0.5 * (1 + sqrt(3) / 2));
    check_factor(QL_SCHEDULER_COSINE, 6, 4, 10, 0.75);
    check_factor(QL_SCHEDULER_COSINE, 10, 4, 10, 0);
    check_factor(QL_SCHEDULER_CONSTANT_WITH_WARMUP, 9, 4, 10, 1);
    check_factor(QL_SCHEDULER_LINEAR, 1, 1, 1, 0);
}

static void length__counts_steps_as_the_trainer_does(void **state)
{
    ql_train_options o;
    ql_train_length l;

    (void)state;
    ql_train_options_init(&o);
    l = ql_train_length_of(&o, 33);
    assert_int_equal(l.steps_per_epoch, 3);
    assert_int_equal(l.total, 9);
    assert_int_equal(l.warmup, 1);
    o.num_train_epochs = 0.5;
    o.warmup_steps = 7;
    l = ql_train_length_of(&o, 33);
    assert_int_equal(l.total, 2);
    assert_int_equal(l.warmup, 7);
    o.max_steps = 5;
    assert_int_equal(ql_train_length_of(&o, 33).total, 5);
}

static void options__refuse_nonsense(void **state)
{
    ql_train_options o;

    (void)state;
    ql_train_options_init(&o);
    check_ok(ql_train_options_check(&o));
    o.learning_rate = (double)NAN;
    check_fails(ql_train_options_check(&o), QL_EINVAL, "learning-rate");
    ql_train_options_init(&o);
    o.adam_beta2 = 1;
    check_fails(ql_train_options_check(&o), QL_EINVAL, "adam-beta2");
    ql_train_options_init(&o);
    o.gradient_accumulation_steps = 0;
    check_fails(ql_train_options_check(&o), QL_EINVAL, "at least 1");
    ql_train_options_init(&o);
    o.num_train_epochs = 0;
    check_fails(ql_train_options_check(&o), QL_EINVAL, "max-steps");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedule__warms_up_from_zero),
        cmocka_unit_test(schedule__falls_as_defined),
        cmocka_unit_test(length__counts_steps_as_the_trainer_does),
        cmocka_unit_test(options__refuse_nonsense),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
