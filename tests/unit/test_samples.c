/* Turns of things that are measured beside each other, and what is made of
 * their samples; quantiles beside those of Python's statistics.quantiles, by
 * its method "inclusive". */
#include <math.h>
#include <stdbool.h>

#include "tests/check/check.h"
#include "tools/bench/bench_samples.h"

enum {
    MOST = 13
};

static void check_double(double got, double want)
{
    assert_true(fabs(got - want) <= 1e-15 * fabs(want));
}

/* The place in a round that each has. */
static void find_places(size_t place[MOST], size_t round, size_t n)
{
    bool had[MOST] = {false};

    for (size_t i = 0; i < n; i++) {
        const size_t turn = bench_turn(round, i, n);

        assert_in_range(turn, 0, n - 1);
        assert_false(had[turn]);
        had[turn] = true;
        place[turn] = i;
    }
}

static void turns__begin_with_the_first(void **state)
{
    (void)state;
    for (size_t n = 1; n <= MOST; n++) {
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(bench_turn(0, i, n), i);
        }
    }
}

static void turns__of_two_rounds_are_each_others_reverse(void **state)
{
    size_t there[MOST];
    size_t back[MOST];

    (void)state;
    for (size_t n = 1; n <= MOST; n++) {
        for (size_t round = 0; round < 4 * n; round += 2) {
            find_places(there, round, n);
            find_places(back, round + 1, n);
            for (size_t k = 0; k < n; k++) {
                assert_int_equal(there[k] + back[k], n - 1);
            }
        }
    }
}

static void turns__give_each_every_place(void **state)
{
    (void)state;
    for (size_t n = 1; n <= MOST; n++) {
        size_t times[MOST][MOST] = {{0}};

        for (size_t round = 0; round < 2 * n; round++) {
            size_t place[MOST];

            find_places(place, round, n);
            for (size_t k = 0; k < n; k++) {
                times[k][place[k]]++;
            }
        }
        for (size_t k = 0; k < n * n; k++) {
            assert_int_equal(times[k / n][k % n], 2);
        }
    }
}

static void check_quartiles(const double *x, size_t n, const double want[3])
{
    for (size_t i = 0; i < 3; i++) {
        check_double(bench_quantile(x, n, 0.25 * (double)(i + 1)), want[i]);
    }
}

static void quantiles__are_those_of_python(void **state)
{
    const double six[] = {1.5, 2, 4, 4, 7.25, 9};
    const double five[] = {2, 3, 10, 11, 30.5};
    const double two[] = {3, 5};
    const double one[] = {7};

    (void)state;
    check_quartiles(six, 6, (const double[]){2.5, 4, 6.4375});
    check_quartiles(five, 5, (const double[]){3, 10, 11});
    check_quartiles(two, 2, (const double[]){3.5, 4, 4.5});
    check_quartiles(one, 1, (const double[]){7, 7, 7});
    check_double(bench_quantile(six, 6, 0), 1.5);
    check_double(bench_quantile(six, 6, 1), 9);
}

static void rate__is_that_of_the_median(void **state)
{
    double seconds[] = {4, 2, 1, 8};
    const bench_rate r = bench_rate_of(seconds, 4, 6);

    (void)state;
    check_double(r.median, 2);
    check_double(r.best, 6);
    check_double(r.spread, 7.0 / 3);
}

/* A machine that is slower in some rounds changes no ratio of a round. */
static void ratio__is_taken_in_each_round(void **state)
{
    const double ours[] = {2, 20, 200, 2.5, 20};
    const double theirs[] = {1, 30, 200, 3.75, 80};
    double scratch[5];
    bench_ratio r = bench_ratio_of(scratch, ours, theirs, 5, 1);

    (void)state;
    check_double(r.low, 1);
    check_double(r.median, 1.5);
    check_double(r.high, 1.5);
    check_double(r.best, 0.5);
    r = bench_ratio_of(scratch, ours, theirs, 5, 2);
    check_double(r.low, 2);
    check_double(r.median, 3);
    check_double(r.high, 3);
    check_double(r.best, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns__begin_with_the_first),
        cmocka_unit_test(turns__of_two_rounds_are_each_others_reverse),
        cmocka_unit_test(turns__give_each_every_place),
        cmocka_unit_test(quantiles__are_those_of_python),
        cmocka_unit_test(rate__is_that_of_the_median),
        cmocka_unit_test(ratio__is_taken_in_each_round),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
