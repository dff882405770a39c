/* The loops of every set that runs here against their formulas in double. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quant/cpu.h"
#include "src/base/rng.h"
#include "src/op/exp.h"
#include "src/op/loops.h"
#include "tests/check/check.h"

enum {
    N = 20011 /* an odd number of random elements */
};

/* The most that one rounding to f32 is off, relative to the number. */
static const double rounding = 0x1p-24;

/* Inputs, and what a loop makes of copies of them. */
static float in[5][N];
static float out[5][N];

/* Random numbers in [-size, size) in in[j], and the same in out[j]. */
static void fill(size_t j, float size)
{
    check_fill(in[j], N, j);
    for (size_t i = 0; i < N; i++) {
        in[j][i] *= size;
    }
    memcpy(out[j], in[j], sizeof in[j]);
}

static double worst;

/* Notes by how many units got is off. */
static void note(float got, double want, double unit)
{
    const double off = fabs((double)got - want) / unit;

    worst = off <= worst ? worst : off; /* NaN is the worst */
}

static void note_ulps(float got, double want)
{
    const double off = check_ulps(got, want);

    worst = off <= worst ? worst : off;
}

/* Fails if more than allowed was noted since the last time. */
static void judge(const ql_loops *l, const char *what, double allowed)
{
    printf("%-8s %-12s %.3f\n", l->name, what, worst);
    if (!(worst <= allowed)) {
        fail_msg("%s of %s: off by %.3f, allowed %.3f", what, l->name, worst,
                 allowed);
    }
    worst = 0;
}

/* From -105.5 to 14.5: results of 0, denormal and normal. */
static void check_exp(const ql_loops *l)
{
    double sum = 0;

    fill(0, 60);
    const double got = l->exp(out[0], N, 45.5F);

    for (size_t i = 0; i < N; i++) {
        const float x = in[0][i] - 45.5F;

        assert_true(out[0][i] == ql_exp(x));
        note_ulps(out[0][i], exp((double)x));
        sum += (double)out[0][i];
    }
    judge(l, "exp", 1);
    assert_true(fabs(got - sum) <= N * 0x1p-53 * sum);
}

static void check_simple(const ql_loops *l)
{
    float max = -INFINITY;

    for (size_t j = 0; j < 2; j++) {
        fill(j, 3);
    }
    l->scale(out[0], N, 0.3F);
    l->add(out[1], in[0], N);
    for (size_t i = 0; i < N; i++) {
        assert_true(out[0][i] == in[0][i] * 0.3F);
        assert_true(out[1][i] == in[1][i] + in[0][i]);
        max = fmaxf(max, in[0][i]);
    }
    in[0][5] = NAN;
    in[0][N - 1] = NAN;
    assert_true(l->max(in[0], N) == max);
    in[0][N - 2] = 4;
    assert_true(l->max(in[0], N) == 4);
    assert_true(l->max(in[0], 0) == -INFINITY);
    assert_true(l->max(in[0] + 5, 1) == -INFINITY);
}

static void check_sums(const ql_loops *l)
{
    double dot = 0;
    double sumsq = 0;
    double norm = 0;
    double size = 0;

    for (size_t j = 0; j < 3; j++) {
        fill(j, 1);
    }
    for (size_t i = 0; i < N; i++) {
        const double a = (double)in[0][i];
        const double b = (double)in[1][i];

        dot += a * b;
        sumsq += a * a;
        norm += (double)(in[0][i] * in[1][i]) * (double)in[2][i];
        size += fabs(a * b);
    }
    size *= N * 0x1p-53;
    assert_true(fabs(l->dot(in[0], in[1], N) - dot) <= size);
    assert_true(fabs(l->norm_dot(in[0], in[1], in[2], N) - norm) <= size);
    assert_true(fabs(l->sumsq(in[0], N) - sumsq) <= N * 0x1p-53 * sumsq);
    assert_true(l->dot(in[0], in[1], 0) == 0 && l->sumsq(in[0], 0) == 0);
    assert_true(isinf(l->sumsq((float[]){1, INFINITY}, 2)));
    assert_true(isfinite(l->sumsq((float[]){FLT_MAX, FLT_MAX}, 2)));
}

static void check_softmax(const ql_loops *l)
{
    double sum = 0;

    fill(0, 60);
    const float got = l->softmax_fwd(out[0], N, 30);

    for (size_t i = 0; i < N; i++) {
        assert_true(out[0][i] == ql_exp_weight(in[0][i] - 30));
        sum += (double)out[0][i];
    }
    assert_true(fabs((double)got - sum) <= N * 0x1p-24 * sum);
    fill(0, 20);
    fill(1, 3);
    fill(2, 20);
    fill(3, 3);
    l->softmax_bwd(out[0], out[1], N, in[2], in[3]);
    for (size_t i = 0; i < N; i++) {
        const double p = (double)out[0][i];

        assert_true(out[0][i] == ql_exp_weight(in[0][i] - in[2][i]));
        note_ulps(out[1][i], p * ((double)in[1][i] - (double)in[3][i]));
    }
    judge(l, "softmax_bwd", 2);
}

/* Scores from far below a cap up to 8 of it. */
static void check_softcap(const ql_loops *l)
{
    const double cap = 2.5;

    fill(0, 20);
    for (size_t i = 0; i < N; i += 2) {
        in[0][i] = out[0][i] *= 1e-3F;
    }
    fill(1, 3);
    fill(2, 2);
    fill(3, 3);
    memcpy(out[4], in[0], sizeof in[0]);
    l->softcap(out[4], N, 2.5F);
    l->softcap_bwd(out[0], out[1], N, in[2], in[3], 2.5F);
    for (size_t i = 0; i < N; i++) {
        note_ulps(out[4][i], cap * tanh((double)in[0][i] / cap));
    }
    judge(l, "softcap", 4);
    for (size_t i = 0; i < N; i++) {
        assert_true(out[0][i] == ql_exp(out[4][i] - in[2][i]));
    }
    for (size_t i = 0; i < N; i++) {
        const double p = (double)out[0][i];
        const double e = cosh((double)in[0][i] / cap);

        /* The slope falls as x / cap does in an exponent. */
        note(out[1][i], p * ((double)in[1][i] - (double)in[3][i]) / (e * e),
             rounding * p * fabs((double)in[1][i] - (double)in[3][i]) /
                 (e * e) * (1 + fabs((double)in[0][i])));
    }
    judge(l, "softcap_bwd", 8);
}

static void check_norm(const ql_loops *l)
{
    static double dw[N];
    const double r = (double)1.3F;
    const double back = (double)0.2F;

    for (size_t j = 0; j < 5; j++) {
        fill(j, 4);
    }
    l->norm_fwd(out[0], in[1], in[2], N, 1.3F);
    l->norm_bwd(out[3], in[4], in[1], in[2], N, 1.3F, 0.2F);
    memset(dw, 0, sizeof dw);
    l->norm_dw(dw, in[4], in[1], N, 1.3F);
    l->norm_dw(dw, in[4], in[1], N, 1.3F);
    for (size_t i = 0; i < N; i++) {
        note_ulps(out[0][i], (double)in[2][i] * (double)in[1][i] * r);
    }
    judge(l, "norm_fwd", 2);
    for (size_t i = 0; i < N; i++) {
        const double a = r * (double)in[4][i] * (double)in[2][i];
        const double b = r * (double)in[1][i] * back;
        const double dx = (double)in[3][i];

        note(out[3][i], dx + a - b, rounding * (fabs(dx) + fabs(a) + fabs(b)));
        assert_true(dw[i] == 2 * (double)(in[4][i] * (in[1][i] * 1.3F)));
    }
    judge(l, "norm_bwd", 4);
}

static void check_rotate(const ql_loops *l)
{
    const size_t half = N / 2;

    for (size_t j = 0; j < 3; j++) {
        fill(j, 1);
    }
    l->rotate(out[0], in[1], in[2], half, -1);
    for (size_t i = 0; i < half; i++) {
        const double a = (double)in[0][i];
        const double b = (double)in[0][i + half];
        const double c = (double)in[1][i];
        const double s = -(double)in[2][i];

        note(out[0][i], a * c - b * s, rounding * (fabs(a * c) + fabs(b * s)));
        note(out[0][i + half], b * c + a * s,
             rounding * (fabs(b * c) + fabs(a * s)));
    }
    assert_true(out[0][N - 1] == in[0][N - 1]);
    judge(l, "rotate", 2);
}

/* silu is steep below zero; above 17 it is g itself. */
static void check_silu(const ql_loops *l)
{
    fill(0, 85);
    fill(1, 2);
    fill(2, 2);
    for (size_t i = 0; i < N; i += 2) {
        in[0][i] /= 10;
    }
    l->act_fwd[QL_ACT_SILU](out[3], in[0], in[1], N);
    l->act_bwd[QL_ACT_SILU](out[0], out[1], in[2], in[0], in[1], N);
    for (size_t i = 0; i < N; i++) {
        const double g = (double)in[0][i];

        note_ulps(out[3][i], g / (1 + exp(-g)) * (double)in[1][i]);
    }
    judge(l, "silu_fwd", 3);
    for (size_t i = 0; i < N; i++) {
        const double g = (double)in[0][i];
        const double s = 1 / (1 + exp(-g));

        if (g >= -80) { /* below, du is less than 2e-33 of dy */
            note_ulps(out[1][i], (double)in[2][i] * g * s);
        } else {
            assert_true(fabsf(out[1][i]) <= 4e-33F);
        }
    }
    judge(l, "silu_bwd u", 3);
    for (size_t i = 0; i < N; i++) {
        const double g = (double)in[0][i];
        const double s = 1 / (1 + exp(-g));
        const double d = (double)in[1][i] * (double)in[2][i];
        const double bend = g * s / (1 + exp(g));

        note(out[0][i], d * (s + bend),
             rounding * fabs(d) * (s + fabs(bend)) + 2e-33);
    }
    judge(l, "silu_bwd g", 8);
}

static double gelu(double g)
{
    return g * erfc(-g / sqrt(2)) / 2;
}

static double gelu_slope(double g)
{
    return erfc(-g / sqrt(2)) / 2 + g * exp(-g * g / 2) / sqrt(2 * acos(-1));
}

static double gelu_tanh(double g)
{
    return g / (1 + exp(-2 * sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g)));
}

static double gelu_tanh_slope(double g)
{
    const double twice = 2 * sqrt(2 / acos(-1));
    const double s = 1 / (1 + exp(-twice * (g + 0.044715 * g * g * g)));

    return s + g * s * (1 - s) * twice * (1 + 3 * 0.044715 * g * g);
}

/* Values in roundings of g, slopes in roundings of 1. */
static void check_gelu_of(const ql_loops *l, ql_act act, const char *name,
                          double (*value)(double), double (*slope)(double))
{
    fill(0, 9);
    fill(1, 2);
    fill(2, 2);
    l->act_fwd[act](out[3], in[0], NULL, N);
    l->act_bwd[act](out[0], out[1], in[2], in[0], in[1], N);
    for (size_t i = 0; i < N; i++) {
        const double g = (double)in[0][i];
        const double d = (double)in[2][i];

        note(out[3][i], value(g), rounding * fabs(g) + 1e-30);
        note(out[1][i], d * value(g), rounding * fabs(d * g) + 1e-30);
    }
    judge(l, name, 5);
    for (size_t i = 0; i < N; i++) {
        const double d = (double)in[1][i] * (double)in[2][i];

        note(out[0][i], d * slope((double)in[0][i]), rounding * fabs(d));
    }
    judge(l, name, 12);
}

static void check_gelu(const ql_loops *l)
{
    check_gelu_of(l, QL_ACT_GELU, "gelu", gelu, gelu_slope);
    check_gelu_of(l, QL_ACT_GELU_TANH, "gelu_tanh", gelu_tanh, gelu_tanh_slope);
}

static void check_layernorm(const ql_loops *l)
{
    static double dw[N];
    static double db[N];
    const double r = (double)1.3F;

    for (size_t j = 0; j < 5; j++) {
        fill(j, 4);
    }
    l->layernorm_fwd(out[0], in[1], in[2], in[3], N, 0.5F, 1.3F);
    l->layernorm_bwd(out[3], in[4], in[1], in[2], N, 0.5F, 1.3F, 0.2F, 0.7F);
    memset(dw, 0, sizeof dw);
    memset(db, 0, sizeof db);
    l->layernorm_dw(dw, db, in[4], in[1], N, 0.5F, 1.3F);
    for (size_t i = 0; i < N; i++) {
        const double b = (double)in[3][i];
        const double w = (double)in[2][i];
        const double from = (double)in[1][i] - 0.5;
        const double y = w * from * r;
        const double d = (double)in[4][i];
        const double back = from * (double)0.7F;

        note(out[0][i], y + b, rounding * (fabs(y) + fabs(b)));
        note(out[3][i], b + r * (d * w - (double)0.2F - back),
             rounding * (fabs(b) + r * (fabs(d * w) + 0.2 + fabs(back))));
        assert_true(dw[i] == (double)(in[4][i] * ((in[1][i] - 0.5F) * 1.3F)));
        assert_true(db[i] == d);
    }
    judge(l, "layernorm", 4);
}

static void check_softcap_loss(const ql_loops *l)
{
    fill(0, 3);
    l->softcap_loss(out[0], N, 2.5F, 0.25F, 3);
    for (size_t i = 0; i < N; i++) {
        const double z = (double)in[0][i];
        const double p = 0.25 * exp(z - 2.5);

        note(out[0][i], p * (1 - z * z / 9), rounding * p);
    }
    judge(l, "softcap_loss", 6);
}

static void check_adam(const ql_loops *l)
{
    const ql_adam_factors f = {.b1 = 0.9F,
                               .b2 = 0.999F,
                               .c1 = 0.1F,
                               .c2 = 0.001F,
                               .clip = 0.7F,
                               .keep = 0.99F,
                               .rate = 0.02F,
                               .root = 1.5F,
                               .eps = 1e-4F};
    static float grad[N];
    size_t stayed = 0;

    for (size_t j = 0; j < 4; j++) {
        fill(j, 1);
    }
    for (size_t i = 0; i < N; i++) {
        in[2][i] = out[2][i] = fabsf(in[2][i]);
        if (i % 100 == 3) {
            in[3][i] = i % 200 == 3 ? NAN : -INFINITY;
            stayed++;
        }
    }
    memcpy(grad, in[3], sizeof grad);
    assert_int_equal(l->adam(out[0], out[1], out[2], grad, N, &f), stayed);
    assert_memory_equal(grad, in[0], sizeof grad);
    for (size_t i = 0; i < N; i++) {
        const double g = (double)f.clip * (double)in[3][i];
        const double a = (double)f.b1 * (double)in[1][i];
        const double v = (double)f.b2 * (double)in[2][i] + (double)f.c2 * g * g;
        const double m = a + (double)f.c1 * g;
        const double p = (double)f.keep * (double)in[0][i];
        const double root = sqrt(v) * (double)f.root + (double)f.eps;
        const double by = (double)f.rate / root;
        const double size = fabs(a) + fabs((double)f.c1 * g);

        if (!isfinite(g)) {
            assert_true(out[0][i] == in[0][i]);
            continue;
        }
        note(out[1][i], m, rounding * size);
        note(out[2][i], v, rounding * v);
        note(out[0][i], p - by * m, rounding * (fabs(p) + 2 * by * size));
    }
    judge(l, "adam", 4);
}

/* Element i takes half i % 2 of number i / 2. */
static void check_dropout(const ql_loops *l)
{
    const uint64_t key = ql_rng_split(check_seed(), 7);
    const uint32_t below = 0x40000000;
    const size_t first = 123456;

    fill(0, 1);
    l->dropout(out[0], in[0], N, first, key, below, 1.25F);
    for (size_t i = 0; i < N; i++) {
        const uint64_t both = ql_rng_at(key, (first + i) / 2);
        const uint32_t mine = (uint32_t)(i % 2 ? both >> 32 : both);

        assert_true(out[0][i] == (mine < below ? 0 : in[0][i] * 1.25F));
    }
}

/* Runs a check on every set. */
static void each_set(void (*check)(const ql_loops *l))
{
    size_t n;
    const ql_loops *const *sets = ql_loops_list(&n);

    for (size_t i = 0; i < n; i++) {
        if (sets[i]->cpu_need & ~ql_cpu_bits()) {
            printf("SKIP: %s cannot run on this machine\n", sets[i]->name);
        } else {
            check(sets[i]);
        }
    }
}

static void loops__exp_is_within_1_ulp(void **state)
{
    (void)state;
    each_set(check_exp);
}

static void loops__that_round_once_are_exact(void **state)
{
    (void)state;
    each_set(check_simple);
}

static void loops__sum_in_double(void **state)
{
    (void)state;
    each_set(check_sums);
}

static void loops__of_softmax(void **state)
{
    (void)state;
    each_set(check_softmax);
}

static void loops__of_softcap(void **state)
{
    (void)state;
    each_set(check_softcap);
}

static void loops__of_norm(void **state)
{
    (void)state;
    each_set(check_norm);
}

static void loops__of_rotation(void **state)
{
    (void)state;
    each_set(check_rotate);
}

static void loops__of_silu(void **state)
{
    (void)state;
    each_set(check_silu);
}

static void loops__of_gelu(void **state)
{
    (void)state;
    each_set(check_gelu);
}

static void loops__of_layernorm(void **state)
{
    (void)state;
    each_set(check_layernorm);
}

static void loops__of_capped_losses(void **state)
{
    (void)state;
    each_set(check_softcap_loss);
}

static void loops__of_adam(void **state)
{
    (void)state;
    each_set(check_adam);
}

static void loops__drop_by_key_and_index(void **state)
{
    (void)state;
    each_set(check_dropout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops__exp_is_within_1_ulp),
        cmocka_unit_test(loops__that_round_once_are_exact),
        cmocka_unit_test(loops__sum_in_double),
        cmocka_unit_test(loops__of_softmax),
        cmocka_unit_test(loops__of_softcap),
        cmocka_unit_test(loops__of_norm),
        cmocka_unit_test(loops__of_rotation),
        cmocka_unit_test(loops__of_silu),
        cmocka_unit_test(loops__of_gelu),
        cmocka_unit_test(loops__of_layernorm),
        cmocka_unit_test(loops__of_capped_losses),
        cmocka_unit_test(loops__of_adam),
        cmocka_unit_test(loops__drop_by_key_and_index),
    };

    return cmocka_run_group_tests_name("loops_accuracy", tests, NULL, NULL);
}
