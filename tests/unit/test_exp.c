/* exp and tanh in f32 against those in double over the whole range, and the
 * sums and maxima of a row. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/op/exp.h"
#include "src/op/loops.h"
#include "src/op/tanh.h"
#include "tests/check/check.h"

/* Every 61st float between the bits of from and to. */
static double worst(float (*f)(float x), float from, float to)
{
    const uint32_t end = ql_exp_bits(to);
    double most = 0;

    for (uint32_t bits = ql_exp_bits(from); bits <= end; bits += 61) {
        const float x = ql_exp_float(bits);

        most = fmax(most, check_ulps(f(x), exp((double)x)));
    }
    return most;
}

static void exp__is_within_2_ulp(void **state)
{
    const double up = worst(ql_exp, 0x1p-30F, 88.7F);
    const double down = worst(ql_exp, -0x1p-30F, -110.0F);

    (void)state;
    printf("exp: %.3f and %.3f ulp\n", up, down);
    assert_true(up <= 2 && down <= 2);
}

static void exp__is_right_at_the_ends(void **state)
{
    (void)state;
    assert_true(ql_exp(0) == 1 && ql_exp(-0.0F) == 1);
    assert_true(isfinite(ql_exp(88.72F)));
    assert_true(ql_exp(88.73F) == INFINITY);
    assert_true(ql_exp(1e30F) == INFINITY);
    assert_true(ql_exp(INFINITY) == INFINITY);
    assert_true(ql_exp(-87.5F) > 0 && ql_exp(-87.5F) < 0x1p-126F);
    assert_true(ql_exp(-103.0F) > 0);
    assert_true(ql_exp(-104.5F) == 0);
    assert_true(ql_exp(-1e30F) == 0);
    assert_true(ql_exp(-INFINITY) == 0);
    assert_true(isnan(ql_exp(NAN)));
    assert_true(isnan(ql_exp(-NAN)));
}

static void exp__of_weights_is_within_2_ulp(void **state)
{
    const double up = worst(ql_exp_weight, 0x1p-30F, 88.0F);
    const double down = worst(ql_exp_weight, -0x1p-30F, -87.0F);

    (void)state;
    printf("exp of weights: %.3f and %.3f ulp\n", up, down);
    assert_true(up <= 2 && down <= 2);
    assert_true(ql_exp_weight(0) == 1 && ql_exp_weight(-0.0F) == 1);
    assert_true(ql_exp_weight(88.1F) == INFINITY);
    assert_true(ql_exp_weight(1e30F) == INFINITY);
    assert_true(ql_exp_weight(INFINITY) == INFINITY);
    assert_true(ql_exp_weight(-87.1F) == 0);
    assert_true(ql_exp_weight(-1e30F) == 0);
    assert_true(ql_exp_weight(-INFINITY) == 0);
    assert_true(isnan(ql_exp_weight(NAN)));
    assert_true(isnan(ql_exp_weight(-NAN)));
}

/* Over all of tanh, from where it is x to where it is 1, and its slope as long
 * as that is above 2e-17. */
static void tanh__is_within_5_ulp(void **state)
{
    double value = 0;
    double slope = 0;

    (void)state;
    for (uint32_t bits = ql_exp_bits(0x1p-100F); bits <= ql_exp_bits(20);
         bits += 101) {
        const float x = ql_exp_float(bits);
        const ql_tanh_parts t = ql_tanh_split(x);
        const double c = cosh((double)x);

        value = fmax(value, check_ulps(t.value, tanh((double)x)));
        slope = fmax(slope, check_ulps(t.slope, 1 / (c * c)));
        assert_true(ql_tanh(-x) == -t.value && t.value <= 1);
    }
    printf("tanh: %.3f ulp, its slope: %.3f\n", value, slope);
    assert_true(value <= 3 && slope <= 5);
    assert_true(ql_tanh(0) == 0 && signbit(ql_tanh(-0.0F)));
    assert_true(ql_tanh(INFINITY) == 1 && ql_tanh(-1e30F) == -1);
    assert_true(ql_tanh_split(-INFINITY).slope <= 2e-17F);
    assert_true(isnan(ql_tanh(NAN)) && isnan(ql_tanh_split(NAN).slope));
}

static void row__exp_is_the_same_in_vectors_and_alone(void **state)
{
    float x[1100];
    float y[1100];
    double sum = 0;

    (void)state;
    check_fill(x, 1100, 1);
    for (size_t i = 0; i < 1100; i++) {
        x[i] *= 120;
        y[i] = ql_exp(x[i] - 40.0F);
        sum += (double)y[i];
    }
    for (size_t n = 0; n <= 1100; n += n < 40 ? 1 : 53) {
        float z[1100];

        memcpy(z, x, sizeof z);
        ql_loops_get()->exp(z, n, 40);
        assert_memory_equal(z, y, n * sizeof *z);
        assert_memory_equal(z + n, x + n, (1100 - n) * sizeof *z);
    }
    assert_true(fabs(ql_loops_get()->exp(x, 1100, 40) - sum) <= 1e-13 * sum);
}

static void row__max_and_dot(void **state)
{
    float x[100];
    float y[100];

    (void)state;
    check_fill(x, 100, 1);
    check_fill(y, 100, 2);
    for (size_t n = 0; n <= 100; n++) {
        float max = -INFINITY;
        double dot = 0;

        for (size_t i = 0; i < n; i++) {
            max = fmaxf(max, x[i]);
            dot += (double)x[i] * (double)y[i];
        }
        assert_true(ql_loops_get()->max(x, n) == max);
        assert_true(fabs(ql_loops_get()->dot(x, y, n) - dot) <= 1e-13);
    }
    x[3] = NAN;
    x[50] = NAN;
    x[20] = 7;
    assert_true(ql_loops_get()->max(x, 100) == 7);
    assert_true(isnan(ql_loops_get()->dot(x, y, 100)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp__is_within_2_ulp),
        cmocka_unit_test(exp__is_right_at_the_ends),
        cmocka_unit_test(exp__of_weights_is_within_2_ulp),
        cmocka_unit_test(tanh__is_within_5_ulp),
        cmocka_unit_test(row__exp_is_the_same_in_vectors_and_alone),
        cmocka_unit_test(row__max_and_dot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
