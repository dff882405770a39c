/* Frequencies of every rotary scaling, against the formulas as papers and
 * transformers give them, in terms of wavelengths. */
#include "src/op/rope.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check/check.h"

static const double pi = 3.14159265358979323846;

enum {
    HALF = 64 /* the most frequencies of a test */
};

static void check_frequencies(const ql_rope_spec *spec, size_t len,
                              const double *want, double want_factor)
{
    double got[HALF];
    const double factor = ql_rope_frequencies(got, spec, len);

    assert_true(fabs(factor - want_factor) <= 1e-14 * want_factor);
    for (size_t i = 0; i < spec->dim / 2; i++) {
        if (!(fabs(got[i] - want[i]) <= 1e-13 * want[i])) {
            fail_msg("frequency %zu: %.17g, but %.17g is right", i, got[i],
                     want[i]);
        }
    }
}

static void plain(double *f, double theta, size_t dim)
{
    for (size_t i = 0; i < dim / 2; i++) {
        f[i] = 1 / exp(log(theta) * (double)(2 * i) / (double)dim);
    }
}

static void rope__default_and_linear(void **state)
{
    ql_rope_spec spec = {.theta = 10000, .dim = 8, .max_position = 64};
    const double want[] = {1, 0.1, 0.01, 0.001};
    const double slow[] = {0.25, 0.025, 0.0025, 0.00025};

    (void)state;
    check_frequencies(&spec, 64, want, 1);
    check_frequencies(&spec, 1, want, 1);
    spec.type = QL_ROPE_LINEAR;
    spec.factor = 4;
    check_frequencies(&spec, 64, slow, 1);
    assert_false(ql_rope_depends_on_length(&spec));
}

/* dim 4: base * grow^2, so the second frequency falls with grow. */
static void rope__dynamic_grows_with_length(void **state)
{
    const ql_rope_spec spec = {.type = QL_ROPE_DYNAMIC,
                               .theta = 10000,
                               .dim = 4,
                               .max_position = 100,
                               .factor = 2};
    const double within[] = {1, 0.01};
    const double beyond[] = {1, 0.01 / 5}; /* 2 * 300 / 100 - 1 */

    (void)state;
    check_frequencies(&spec, 10, within, 1);
    check_frequencies(&spec, 100, within, 1);
    check_frequencies(&spec, 300, beyond, 1);
    assert_true(ql_rope_depends_on_length(&spec));
}

static void rope__llama3(void **state)
{
    const ql_rope_spec spec = {.type = QL_ROPE_LLAMA3,
                               .theta = 500000,
                               .dim = 128,
                               .max_position = 131072,
                               .original = 8192,
                               .factor = 8,
                               .low_freq_factor = 1,
                               .high_freq_factor = 4};
    double want[HALF];
    size_t kept = 0;
    size_t slowed = 0;

    (void)state;
    plain(want, spec.theta, spec.dim);
    for (size_t i = 0; i < HALF; i++) {
        const double wavelength = 2 * pi / want[i];
        const double s = (8192 / wavelength - 1) / 3;

        if (wavelength < 8192 / 4) {
            kept++;
        } else if (wavelength > 8192) {
            want[i] /= 8;
            slowed++;
        } else {
            want[i] = (1 - s) * want[i] / 8 + s * want[i];
        }
    }
    assert_int_equal(kept, 29);
    assert_int_equal(slowed, 29);
    check_frequencies(&spec, 100, want, 1);
}

/* The ramp of YaRN between the given edges. */
static void yarn(double *f, size_t half, double factor, double low, double high)
{
    for (size_t i = 0; i < half; i++) {
        const double at = ((double)i - low) / (high - low);
        const double ramp = at < 0 ? 0 : at > 1 ? 1 : at;

        f[i] = f[i] * (ramp / factor + (1 - ramp));
    }
}

static double turns_at(double turns, double original, double dim, double theta)
{
    return dim * log(original / (turns * 2 * pi)) / (2 * log(theta));
}

static void rope__yarn(void **state)
{
    ql_rope_spec spec = {.type = QL_ROPE_YARN,
                         .theta = 1e6,
                         .dim = 128,
                         .max_position = 131072,
                         .original = 32768,
                         .truncate = true};
    double want[HALF];

    (void)state;
    plain(want, spec.theta, spec.dim);
    /* 64 ln(32768 / 64 pi) / ln 1e6 = 23.6; 64 ln(32768 / 2 pi) / ln 1e6 =
     * 39.7 */
    yarn(want, HALF, 4, 23, 40);
    check_frequencies(&spec, 1, want, 0.1 * log(4) + 1);
    /* as the card of Qwen 2.5 has it: the factor goes before the lengths */
    spec.max_position = 32768;
    spec.factor = 4;
    check_frequencies(&spec, 1, want, 0.1 * log(4) + 1);
    spec.beta_fast = 16;
    spec.beta_slow = 2;
    spec.truncate = false;
    plain(want, spec.theta, spec.dim);
    yarn(want, HALF, 4, turns_at(16, 32768, 128, 1e6),
         turns_at(2, 32768, 128, 1e6));
    check_frequencies(&spec, 1, want, 0.1 * log(4) + 1);
}

/* Without an original length max_position is it; edges are held to
 * [0, dim - 1]. */
static void rope__yarn_by_factor(void **state)
{
    const ql_rope_spec spec = {.type = QL_ROPE_YARN,
                               .theta = 10000,
                               .dim = 8,
                               .max_position = 32,
                               .factor = 16,
                               .truncate = true};
    double want[HALF];

    (void)state;
    plain(want, spec.theta, spec.dim);
    /* Lower edge 4 ln(32 / 64 pi) / ln 1e4 < 0; upper 0.7. */
    yarn(want, 4, 16, 0, 1);
    check_frequencies(&spec, 1, want, 0.1 * log(16) + 1);
}

static void rope__yarn_attention_factor(void **state)
{
    ql_rope_spec spec = {.type = QL_ROPE_YARN,
                         .theta = 10000,
                         .dim = 8,
                         .max_position = 4096,
                         .factor = 40,
                         .mscale = 0.707,
                         .mscale_all_dim = 1.5,
                         .truncate = true};
    double f[HALF];
    double got;

    (void)state;
    got = ql_rope_frequencies(f, &spec, 1);
    assert_true(fabs(got - (0.0707 * log(40) + 1) / (0.15 * log(40) + 1)) <
                1e-14);
    spec.mscale = 0;
    got = ql_rope_frequencies(f, &spec, 1);
    assert_true(fabs(got - (0.1 * log(40) + 1)) < 1e-14);
    spec.attention_factor = 1.75;
    assert_true(ql_rope_frequencies(f, &spec, 1) == 1.75);
    spec.attention_factor = 0;
    spec.factor = 0.5; /* not stretched */
    assert_true(ql_rope_frequencies(f, &spec, 1) == 1);
}

static void rope__longrope_switches(void **state)
{
    const double longer[] = {1, 2, 4, 8};
    const double shorter[] = {1, 1, 1.5, 2};
    ql_rope_spec spec = {.type = QL_ROPE_LONGROPE,
                         .theta = 10000,
                         .dim = 8,
                         .max_position = 4096 * 32,
                         .original = 4096,
                         .long_factor = longer,
                         .short_factor = shorter};
    const double in[] = {1, 0.1, 0.01 / 1.5, 0.0005};
    const double out[] = {1, 0.05, 0.0025, 0.000125};
    double factor = sqrt(1 + 5 / 12.0); /* ln 2^5 / ln 2^12 */

    (void)state;
    check_frequencies(&spec, 4096, in, factor);
    check_frequencies(&spec, 4097, out, factor);
    assert_true(ql_rope_depends_on_length(&spec));
    spec.attention_factor = 1.25;
    check_frequencies(&spec, 1, in, 1.25);
    spec.attention_factor = 0;
    spec.max_position = 4096;
    check_frequencies(&spec, 1, in, 1);
    spec.factor = 8;
    factor = sqrt(1 + 3 / 12.0);
    check_frequencies(&spec, 4097, out, factor);
    spec.original = 0;
    check_frequencies(&spec, 4097, out, factor);
}

/* The phase changes where the frequencies do, and nowhere else. */
static void rope__phase_tells_of_other_frequencies(void **state)
{
    static const double longer[] = {1, 2, 4};
    static const double shorter[] = {1, 1, 1.5};
    const ql_rope_spec specs[] = {
        {.type = QL_ROPE_DYNAMIC, .factor = 2, .max_position = 9},
        {.type = QL_ROPE_LONGROPE,
         .max_position = 64,
         .original = 7,
         .long_factor = longer,
         .short_factor = shorter},
        {.type = QL_ROPE_YARN, .factor = 4, .max_position = 9, .original = 5}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        ql_rope_spec spec = specs[i];

        spec.theta = 10000;
        spec.dim = 6;
        for (size_t len = 2; len < 20; len++) {
            double one[3];
            double two[3];
            const double f = ql_rope_frequencies(one, &spec, len - 1);
            const bool same = f == ql_rope_frequencies(two, &spec, len) &&
                              memcmp(one, two, sizeof one) == 0;

            assert_int_equal(same, ql_rope_phase(&spec, len - 1) ==
                                       ql_rope_phase(&spec, len));
        }
    }
}

static void rope__table_is_exact_far_out(void **state)
{
    enum {
        FIRST = 777,
        LEN = 20000
    };
    const double inv_freq[] = {1, 0.3};
    float *c = malloc(LEN * 2 * sizeof *c);
    float *s = malloc(LEN * 2 * sizeof *s);

    (void)state;
    assert_true(c && s);
    ql_rope_table(c, s, inv_freq, 1.5, 4, (ql_rope_range){FIRST, LEN});
    for (size_t p = 0; p < LEN; p += 333) {
        for (size_t i = 0; i < 2; i++) {
            const double a = (double)(FIRST + p) * inv_freq[i];

            assert_true(c[p * 2 + i] == (float)(1.5 * cos(a)));
            assert_true(s[p * 2 + i] == (float)(1.5 * sin(a)));
        }
    }
    free(c);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rope__default_and_linear),
        cmocka_unit_test(rope__dynamic_grows_with_length),
        cmocka_unit_test(rope__llama3),
        cmocka_unit_test(rope__yarn),
        cmocka_unit_test(rope__yarn_by_factor),
        cmocka_unit_test(rope__yarn_attention_factor),
        cmocka_unit_test(rope__longrope_switches),
        cmocka_unit_test(rope__phase_tells_of_other_frequencies),
        cmocka_unit_test(rope__table_is_exact_far_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
