/* Learning rates against values worked out by hand from the definitions of
 * transformers, and the length of a run. */
#include <math.h>

#include "src/train/options.h"
#include "src/train/schedule.h"
#include "tests/check/check.h"

/* The learning rate over its peak. */
static double factor_of(ql_scheduler scheduler, const char *kwargs, size_t step,
                        size_t w, size_t T)
{
    ql_train_options o;
    ql_schedule s;

    ql_train_options_init(&o);
    o.lr_scheduler_type = scheduler;
    o.lr_scheduler_kwargs = kwargs;
    check_ok(ql_schedule_init(&s, &o, w, T));
    return ql_schedule_rate(&s, step) / o.learning_rate;
}

static void check_factor(ql_scheduler s, size_t step, size_t w, size_t T,
                         double want)
{
    const double got = factor_of(s, NULL, step, w, T);

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

/* Those without kwargs that have a column in the table below. */
static const ql_scheduler plain[] = {QL_SCHEDULER_CONSTANT,
                                     QL_SCHEDULER_CONSTANT_WITH_WARMUP,
                                     QL_SCHEDULER_LINEAR,
                                     QL_SCHEDULER_COSINE,
                                     QL_SCHEDULER_COSINE_WITH_MIN_LR,
                                     QL_SCHEDULER_POLYNOMIAL,
                                     QL_SCHEDULER_INVERSE_SQRT};

enum {
    PLAIN = sizeof(plain) / sizeof(plain[0])
};

/* What the functions of transformers' optimization.py give, as Python prints
 * it, by scheduler; with a learning rate of 2e-4 and a min_lr_rate of 0.1. */
static const struct {
    size_t step, warmup, total;
    double factor[PLAIN];
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

static void check_reference(ql_scheduler s, const char *kwargs, size_t step,
                            size_t warmup, size_t total, double want)
{
    const double got = factor_of(s, kwargs, step, warmup, total);

    if (!(fabs(got - want) <= 5e-16)) {
        fail_msg("%s at %zu of %zu, warmup %zu, %s: %.17g, not %.17g",
                 ql_scheduler_name(s), step, total, warmup,
                 kwargs ? kwargs : "plain", got, want);
    }
}

static void schedule__is_that_of_transformers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(reference) / sizeof(reference[0]); i++) {
        for (size_t s = 0; s < PLAIN; s++) {
            check_reference(plain[s], NULL, reference[i].step,
                            reference[i].warmup, reference[i].total,
                            reference[i].factor[s]);
        }
    }
}

enum {
    PLACES = 7
};

static const size_t places[PLACES] = {0, 3, 7, 20, 33, 49, 50};

/* The same with kwargs, at these places of 50 steps, of which 7 warm up. */
static const struct {
    ql_scheduler scheduler;
    const char *kwargs;
    double factor[PLACES];
} with_kwargs[] = {
    /* clang-format off */
    {QL_SCHEDULER_COSINE,
     "{\"num_cycles\": 1.5}",
     {0.0, 0.42857142857142855, 1.0, 0.021199700045797076, 0.9169989089449389,
      0.011962061222036469, 0.0}},
    {QL_SCHEDULER_COSINE_WITH_RESTARTS,
     NULL,
     {0.0, 0.42857142857142855, 1.0, 0.7909294577789765, 0.338559797614277,
      0.001333858168224178, 0.0}},
    {QL_SCHEDULER_COSINE_WITH_RESTARTS,
     "{\"num_cycles\": 3}",
     {0.0, 0.42857142857142855, 1.0, 0.021199700045797076, 0.0830010910550611,
      0.011962061222036524, 0.0}},
    {QL_SCHEDULER_POLYNOMIAL,
     "{\"power\": 2, \"lr_end\": 1e-05}",
     {0.0, 0.42857142857142855, 1.0, 0.5124121146565711, 0.1984856679286101,
      0.0505137912385073, 0.05}},
    {QL_SCHEDULER_COSINE_WITH_MIN_LR,
     "{\"min_lr\": 5e-05}",
     {0.0, 0.42857142857142855, 1.0, 0.8431970933342323, 0.5039198482107078,
      0.2510003936261681, 0.25}},
    {QL_SCHEDULER_COSINE_WITH_MIN_LR,
     "{\"min_lr_rate\": 0.25, \"num_cycles\": 1}",
     {0.0, 0.42857142857142855, 1.0, 0.5039198482107078, 0.32818881683902956,
      0.9960037630281663, 1.0}},
    {QL_SCHEDULER_COSINE_WARMUP_WITH_MIN_LR,
     NULL,
     {0.14285714285714285, 0.5714285714285714, 0.9987995276485983,
      0.7844231532195686, 0.3740028757794299, 0.1, 0.10120047235140177}},
    {QL_SCHEDULER_COSINE_WARMUP_WITH_MIN_LR,
     "{\"min_lr_rate\": 0.2, \"warmup_lr_rate\": 0.3}",
     {0.3, 0.6499999999999999, 0.9989329134654208, 0.8083761361951722,
      0.44355811180393767, 0.2, 0.20106708653457936}},
    {QL_SCHEDULER_WARMUP_STABLE_DECAY,
     "{\"num_decay_steps\": 20, \"num_stable_steps\": null, "
     "\"warmup_type\": null}",
     {0.0, 0.42857142857142855, 1.0, 1.0, 0.9455032620941839,
      0.00615582970243117, 0.0}},
    {QL_SCHEDULER_WARMUP_STABLE_DECAY,
     "{\"num_decay_steps\": 20, \"warmup_type\": \"cosine\", "
     "\"decay_type\": \"linear\", \"min_lr_ratio\": 0.1}",
     {0.1, 0.44986557971965846, 1.0, 1.0, 0.865, 0.14500000000000005, 0.1}},
    {QL_SCHEDULER_WARMUP_STABLE_DECAY,
     "{\"num_decay_steps\": 20, \"num_stable_steps\": 10, "
     "\"warmup_type\": \"1-sqrt\", \"decay_type\": \"1-sqrt\", "
     "\"min_lr_ratio\": 0.05}",
     {0.05, 0.2818675012824683, 1.0, 0.6320665821102954, 0.15029416855007993,
      0.05, 0.05}},
    {QL_SCHEDULER_WARMUP_STABLE_DECAY,
     "{\"num_decay_steps\": 60, \"num_cycles\": 1}",
     {0.0, 0.42857142857142855, 0.3960441545911204, 0.0, 0.3960441545911201,
      0.9972609476841366, 0.0}},
    /* clang-format on */
};

static void schedule__takes_the_kwargs_of_transformers(void **state)
{
    const size_t n = sizeof(with_kwargs) / sizeof(with_kwargs[0]);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < PLACES; j++) {
            check_reference(with_kwargs[i].scheduler, with_kwargs[i].kwargs,
                            places[j], 7, 50, with_kwargs[i].factor[j]);
        }
    }
}

enum {
    LOSSES = 20
};

static const double losses[LOSSES] = {
    2.0, 1.5, 1.5, 1.49999, 1.6, 1.4, 1.41,    1.42, 1.43, 1.2,
    1.3, 1.3, 1.3, 1.3,     1.3, 1.3, 1.19995, 1.3,  1.3,  1.3};

/* The learning rate after each of these losses, as torch's ReduceLROnPlateau
 * of an AdamW with 2e-4 has it: torch 1.13. */
static const struct {
    const char *kwargs;
    double rate[LOSSES];
} plateaus[] = {
    /* clang-format off */
    {NULL,
     {0.0002, 0.0002, 0.0002, 0.0002, 0.0002, 0.0002, 0.0002, 0.0002, 0.0002,
      0.0002, 0.0002, 0.0002, 0.0002, 0.0002, 0.0002, 0.0002, 0.0002, 0.0002,
      0.0002, 0.0002}},
    {"{\"patience\": 1}",
     {0.0002, 0.0002, 0.0002, 2e-05, 2e-05, 2e-05, 2e-05,
      2.0000000000000003e-06, 2.0000000000000003e-06, 2.0000000000000003e-06,
      2.0000000000000003e-06, 2.0000000000000004e-07, 2.0000000000000004e-07,
      2.0000000000000007e-08, 2.0000000000000007e-08, 2.000000000000001e-09,
      2.000000000000001e-09, 2.000000000000001e-09, 2.000000000000001e-09,
      2.000000000000001e-09}},
    {"{\"patience\": 0, \"factor\": 0.5, \"cooldown\": 2, "
     "\"min_lr\": 3e-05}",
     {0.0002, 0.0002, 0.0001, 0.0001, 0.0001, 0.0001, 5e-05, 5e-05, 5e-05,
      5e-05, 3e-05, 3e-05, 3e-05, 3e-05, 3e-05, 3e-05, 3e-05, 3e-05, 3e-05,
      3e-05}},
    {"{\"patience\": 2, \"threshold\": 0.05, "
     "\"threshold_mode\": \"abs\", \"factor\": 0.3}",
     {0.0002, 0.0002, 0.0002, 0.0002, 6e-05, 6e-05, 6e-05, 6e-05, 1.8e-05,
      1.8e-05, 1.8e-05, 1.8e-05, 5.4e-06, 5.4e-06, 5.4e-06, 1.62e-06,
      1.62e-06, 1.62e-06, 4.86e-07, 4.86e-07}},
    {"{\"patience\": 0, \"factor\": 0.1, \"eps\": 1e-05}",
     {0.0002, 0.0002, 2e-05, 2.0000000000000003e-06, 2.0000000000000003e-06,
      2.0000000000000003e-06, 2.0000000000000003e-06, 2.0000000000000003e-06,
      2.0000000000000003e-06, 2.0000000000000003e-06, 2.0000000000000003e-06,
      2.0000000000000003e-06, 2.0000000000000003e-06, 2.0000000000000003e-06,
      2.0000000000000003e-06, 2.0000000000000003e-06, 2.0000000000000003e-06,
      2.0000000000000003e-06, 2.0000000000000003e-06,
      2.0000000000000003e-06}},
    /* clang-format on */
};

static void plateau__is_that_of_torch(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(plateaus) / sizeof(plateaus[0]); i++) {
        ql_train_options o;
        ql_schedule s;

        ql_train_options_init(&o);
        o.lr_scheduler_type = QL_SCHEDULER_REDUCE_LR_ON_PLATEAU;
        o.lr_scheduler_kwargs = plateaus[i].kwargs;
        check_ok(ql_schedule_init(&s, &o, 5, 100));
        assert_true(ql_schedule_rate(&s, 0) == o.learning_rate);
        for (size_t j = 0; j < LOSSES; j++) {
            ql_schedule_see(&s, losses[j]);
            if (ql_schedule_rate(&s, j) != plateaus[i].rate[j]) {
                fail_msg("case %zu, after %zu losses: %.17g, not %.17g", i,
                         j + 1, ql_schedule_rate(&s, j), plateaus[i].rate[j]);
            }
        }
    }
}

static void check_refused(ql_scheduler s, const char *kwargs, const char *text)
{
    ql_train_options o;

    ql_train_options_init(&o);
    o.lr_scheduler_type = s;
    o.lr_scheduler_kwargs = kwargs;
    check_fails(ql_train_options_check(&o), QL_EINVAL, text);
}

static void kwargs__that_cannot_be_are_refused(void **state)
{
    (void)state;
    check_refused(QL_SCHEDULER_COSINE, "num_cycles=2", "lr-scheduler-kwargs");
    check_refused(QL_SCHEDULER_COSINE, "[2]", "give a JSON object");
    check_refused(QL_SCHEDULER_COSINE, "{\"num_cycles\": \"2\"}", "num_cycles");
    check_refused(QL_SCHEDULER_COSINE, "{\"num_cycles\": -1}",
                  "num_cycles -1: give a number from 0");
    check_refused(QL_SCHEDULER_COSINE, "{\"power\": 2}",
                  "cosine has no \"power\"; it has num_cycles");
    check_refused(QL_SCHEDULER_LINEAR, "{\"power\": 2}", "it takes none");
    check_refused(QL_SCHEDULER_COSINE_WITH_MIN_LR,
                  "{\"min_lr\": 1e-5, \"min_lr_rate\": 0.1}", "not both");
    check_refused(QL_SCHEDULER_WARMUP_STABLE_DECAY, NULL,
                  "needs num_decay_steps");
    check_refused(QL_SCHEDULER_WARMUP_STABLE_DECAY,
                  "{\"num_decay_steps\": 1, \"decay_type\": \"sine\"}",
                  "decay_type \"sine\": give \"linear\" or \"cosine\"");
    check_refused(QL_SCHEDULER_POLYNOMIAL, "{\"lr_end\": 2e-4}", "falls to");
    check_refused(QL_SCHEDULER_REDUCE_LR_ON_PLATEAU, NULL, "--eval-steps");
}

static void plateau__must_fall(void **state)
{
    ql_train_options o;
    ql_schedule s;

    (void)state;
    ql_train_options_init(&o);
    o.lr_scheduler_type = QL_SCHEDULER_REDUCE_LR_ON_PLATEAU;
    o.lr_scheduler_kwargs = "{\"factor\": 0.999}";
    check_ok(ql_schedule_init(&s, &o, 5, 100));
    o.lr_scheduler_kwargs = "{\"factor\": 1}";
    check_fails(ql_schedule_init(&s, &o, 5, 100), QL_EINVAL,
                "factor 1: give less than 1");
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
        cmocka_unit_test(schedule__takes_the_kwargs_of_transformers),
        cmocka_unit_test(plateau__is_that_of_torch),
        cmocka_unit_test(plateau__must_fall),
        cmocka_unit_test(kwargs__that_cannot_be_are_refused),
        cmocka_unit_test(warmup__has_all_forms_of_transformers),
        cmocka_unit_test(length__counts_steps_as_the_trainer_does),
        cmocka_unit_test(options__refuse_nonsense),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
