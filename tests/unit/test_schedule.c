/* Learning rates against values worked out by hand from the definitions of
 * transformers, and the length of a run. */
#include <math.h>

#include "src/train/options.h"
#include "tests/check/check.h"

static void check_factor(ql_scheduler s, size_t step, size_t w, size_t T,
                         double want)
{
    ql_train_options o;
    double got;

    ql_train_options_init(&o);
    o.lr_scheduler_type = s;
    got = ql_scheduler_factor(&o, step, w, T);

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

/* What the functions of transformers' optimization.py give, as Python prints
 * it, by scheduler; with a learning rate of 2e-4 and a min_lr_rate of 0.1. */
static const struct {
    size_t step, warmup, total;
    double factor[QL_SCHEDULER_COUNT];
} reference[] = {
    /* clang-format off */
    {0, 0, 10, {1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0}},
    {9, 0, 10, {1.0, 1.0, 0.1, 0.024471741852423234, 0.12202456766718092,
     0.10044999999999997, 0.9995503035223668}},
    {0, 3, 10, {1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0}},
    {2, 3, 10, {1.0, 0.6666666666666666, 0.6666666666666666,
     0.6666666666666666, 0.6666666666666666,
     0.6666666666666666, 0.6666666666666666}},
    {3, 3, 10, {1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0}},
    {5, 3, 10, {1.0, 1.0, 0.7142857142857143,
     0.8117449009293668, 0.8305704108364301,
     0.7144285714285715, 0.7745966692414834}},
    {9, 3, 10, {1.0, 1.0, 0.14285714285714285,
     0.04951556604879048, 0.14456400944391146,
     0.14328571428571432, 0.5773502691896258}},
    {10, 3, 10, {1.0, 1.0, 0.0, 0.0, 0.1,
     0.0004999999999999999, 0.5477225575051661}},
    {40, 7, 93, {1.0, 1.0, 0.6162790697674418,
     0.6786154449005664, 0.7107539004105097,
     0.6164709302325582, 0.4183300132670378}},
    {92, 7, 93, {1.0, 1.0, 0.011627906976744186,
     0.00033357581488030474, 0.10030021823339227,
     0.012122093023255833, 0.2758386421836852}},
    {1, 1, 2, {1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0}},
    /* clang-format on */
};

static void schedule__is_that_of_transformers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(reference) / sizeof(reference[0]); i++) {
        for (int s = 0; s < QL_SCHEDULER_COUNT; s++) {
            const double want = reference[i].factor[s];
            ql_train_options o;
            double got;

            ql_train_options_init(&o);
            o.lr_scheduler_type = (ql_scheduler)s;
            got = ql_scheduler_factor(&o, reference[i].step,
                                      reference[i].warmup, reference[i].total);
            if (!(fabs(got - want) <= 4e-16)) {
                fail_msg("%s at %zu of %zu, warmup %zu: %.17g, not %.17g",
                         ql_scheduler_name((ql_scheduler)s), reference[i].step,
                         reference[i].total, reference[i].warmup, got, want);
            }
        }
    }
}

static void warmup__has_all_forms_of_transformers(void **state)
{
    static const struct {
        double steps, ratio;
        size_t want; /* of 33 */
    } forms[] = {{0, 0, 0},     {0, 0.03, 1}, {0, 0.1, 4}, {7, 0.1, 7},
                 {0.1, 0.5, 4}, {1, 0.5, 1},  {0.5, 0, 17}};
    ql_train_options o;

    (void)state;
    ql_train_options_init(&o);
    o.max_steps = 33;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        o.warmup_steps = forms[i].steps;
        o.warmup_ratio = forms[i].ratio;
        check_ok(ql_train_options_check(&o));
        assert_int_equal(ql_train_length_of(&o, 5).warmup, forms[i].want);
    }
    o.warmup_steps = 1.5;
    check_fails(ql_train_options_check(&o), QL_EINVAL, "whole number");
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
    ql_train_options_init(&o);
    o.lr_scheduler_type = QL_SCHEDULER_POLYNOMIAL;
    check_ok(ql_train_options_check(&o));
    o.learning_rate = 1e-7;
    check_fails(ql_train_options_check(&o), QL_EINVAL, "polynomial");
    ql_train_options_init(&o);
    o.save_steps = 0;
    check_fails(ql_train_options_check(&o), QL_EINVAL, "--save-strategy no");
    ql_train_options_init(&o);
    o.eval_strategy = (ql_strategy)9;
    check_fails(ql_train_options_check(&o), QL_EINVAL, "eval-strategy");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedule__warms_up_from_zero),
        cmocka_unit_test(schedule__falls_as_defined),
        cmocka_unit_test(schedule__is_that_of_transformers),
        cmocka_unit_test(warmup__has_all_forms_of_transformers),
        cmocka_unit_test(length__counts_steps_as_the_trainer_does),
        cmocka_unit_test(options__refuse_nonsense),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
