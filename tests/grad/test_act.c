/* Activations against their formulas in double. */
#include "src/op/act.h"

#include "tests/grad/grad.h"

enum {
    MANY = 30001 /* more than one piece */
};

static double silu(double g)
{
    return g / (1 + exp(-g));
}

static double gelu(double g)
{
    return g * erfc(-g / sqrt(2)) / 2;
}

static double gelu_tanh(double g)
{
    const double w = sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g);

    return g / (1 + exp(-2 * w)); /* (1 + tanh(w)) / 2, and exact below 0 */
}

static double (*const formulas[QL_ACTS])(double) = {
    [QL_ACT_SILU] = silu,
    [QL_ACT_GELU] = gelu,
    [QL_ACT_GELU_TANH] = gelu_tanh,
};

/* Inputs of a layer, [T, ld], of which F columns count; u NULL: no gate. */
typedef struct truth {
    ql_act act;
    ql_act_rows rows;
    double *g, *u, *dy;
} truth;

static double value(const truth *r, size_t t, size_t i)
{
    const size_t at = t * r->rows.ld + i;

    return formulas[r->act](r->g[at]) * (r->u ? r->u[at] : 1);
}

static double weighed(const void *ctx)
{
    const truth *r = ctx;
    double sum = 0;

    for (size_t t = 0; t < r->rows.T; t++) {
        for (size_t i = 0; i < r->rows.F; i++) {
            sum += r->dy[t * r->rows.F + i] * value(r, t, i);
        }
    }
    return sum;
}

/* Columns of a gradient [T, ld] that no call is to write stay NaN. */
static void blank_rest(float *x, ql_act_rows r)
{
    for (size_t i = 0; i < r.T * r.ld; i++) {
        if (i % r.ld >= r.F) {
            assert_true(isnan(x[i]));
            x[i] = 0;
        }
    }
}

static void check_rows(ql_act act, bool gated, ql_act_rows rows)
{
    const size_t n = rows.T * rows.F;
    const size_t all = rows.T * rows.ld;
    float *g = room_fill(all, 1);
    float *u = room_fill(all, 2);
    float *dy = room_fill(n, 3);
    float *y = room_open(n);
    float *dg = room_open(all);
    float *du = room_open(all);
    truth r;

    for (size_t i = 0; i < all; i++) {
        g[i] *= 12;
    }
    r = (truth){act, rows, widen(g, all), gated ? widen(u, all) : NULL,
                widen(dy, n)};
    ql_act_fwd(act, y, g, gated ? u : NULL, rows);
    for (size_t i = 0; i < n; i++) {
        const size_t at = i / rows.F * rows.ld + i % rows.F;
        const double want = value(&r, i / rows.F, i % rows.F);
        const double size = gated ? fabs(r.g[at] * r.u[at]) : fabs(r.g[at]);

        assert_true(fabs((double)y[i] - want) <= 3e-7 * size);
    }
    ql_act_bwd(act, dg, gated ? du : NULL, dy, g, gated ? u : NULL, rows);
    blank_rest(dg, rows);
    check_slope(dg, r.g, all, weighed, &r, 2e-6, "dg");
    if (gated) {
        blank_rest(du, rows);
        check_slope(du, r.u, all, weighed, &r, 2e-6, "du");
    }
    free(r.g);
    free(r.u);
    free(r.dy);
    room_close(g, all);
    room_close(u, all);
    room_close(dy, n);
    room_close(y, n);
    room_close(dg, all);
    room_close(du, all);
}

static void act__agrees_with_double(void **state)
{
    static const ql_act_rows rows[] = {
        {1, 1, 1},   {1, 3, 3},   {7, 1, 1},       {65, 1, 1},
        {130, 1, 1}, {5, 65, 65}, {100, 7, 7},     {3, 5, 10},
        {7, 33, 66}, {65, 3, 7},  {2, 9000, 9000}, {2, 9000, 18000},
    };

    (void)state;
    for (int act = 0; act < QL_ACTS; act++) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            check_rows((ql_act)act, true, rows[i]);
            check_rows((ql_act)act, false, rows[i]);
        }
    }
}

static void check_places(ql_act act)
{
    const ql_act_rows rows = {MANY, 1, 1};
    float *g = room_fill(MANY, 1);
    float *u = room_fill(MANY, 2);
    float *dy = room_fill(MANY, 3);
    float *y = room_open(MANY);
    float *dg = room_open(MANY);
    float *du = room_open(MANY);

    omp_set_num_threads(1);
    ql_act_fwd(act, y, g, u, rows);
    ql_act_bwd(act, dg, du, dy, g, u, rows);
    for (int threads = 1; threads <= 3; threads++) {
        float *a = room_fill(MANY, 1);
        float *b = room_fill(MANY, 2);
        float *c = room_fill(MANY, 3);

        omp_set_num_threads(threads);
        ql_act_fwd(act, a, a, u, rows);
        ql_act_fwd(act, b, g, b, rows);
        check_same(a, y, MANY, "y over g");
        check_same(b, y, MANY, "y over u");
        ql_act_bwd(act, a, c, c, memcpy(a, g, MANY * sizeof *g), u, rows);
        check_same(a, dg, MANY, "dg over g");
        check_same(c, du, MANY, "du over dy");
        check_fill(c, MANY, 3);
        ql_act_bwd(act, c, b, c, g, memcpy(b, u, MANY * sizeof *u), rows);
        check_same(c, dg, MANY, "dg over dy");
        check_same(b, du, MANY, "du over u");
        room_close(a, MANY);
        room_close(b, MANY);
        room_close(c, MANY);
    }
    room_close(g, MANY);
    room_close(u, MANY);
    room_close(dy, MANY);
    room_close(y, MANY);
    room_close(dg, MANY);
    room_close(du, MANY);
}

/* In place, with 1, 2 and 3 threads: the bits of the plain call. */
static void act__does_not_depend_on_threads_or_place(void **state)
{
    (void)state;
    for (int act = 0; act < QL_ACTS; act++) {
        check_places((ql_act)act);
    }
}

/* Rows that lie apart give the bits of rows that do not. */
static void act__does_not_depend_on_the_distance_of_rows(void **state)
{
    const size_t T = 9;
    const size_t F = 1001;
    float *both = room_fill(2 * T * F, 1);
    float *g = room_open(T * F);
    float *u = room_open(T * F);
    float *a = room_open(T * F);
    float *b = room_open(T * F);

    (void)state;
    for (size_t t = 0; t < T; t++) {
        memcpy(g + t * F, both + 2 * t * F, F * sizeof *g);
        memcpy(u + t * F, both + (2 * t + 1) * F, F * sizeof *u);
    }
    ql_act_fwd(QL_ACT_SILU, a, g, u, (ql_act_rows){T, F, F});
    ql_act_fwd(QL_ACT_SILU, b, both, both + F, (ql_act_rows){T, F, 2 * F});
    check_same(a, b, T * F, "y");
    room_close(both, 2 * T * F);
    room_close(g, T * F);
    room_close(u, T * F);
    room_close(a, T * F);
    room_close(b, T * F);
}

static void act__is_sound_at_the_ends(void **state)
{
    const float g[6] = {-1000, -90, 90, 1000, 1e30F, NAN};
    const float one[6] = {1, 1, 1, 1, 1, 1};
    const double want[5] = {0, 0, 90, 1000, (double)1e30F};
    const double slope[5] = {0, 0, 1, 1, 1};
    const ql_act_rows rows = {6, 1, 1};

    (void)state;
    for (int act = 0; act < QL_ACTS; act++) {
        float y[6];
        float dg[6];
        float du[6];

        ql_act_fwd((ql_act)act, y, g, one, rows);
        ql_act_bwd((ql_act)act, dg, du, one, g, one, rows);
        check_close(y, want, 5, 1e-30, "y");
        check_close(dg, slope, 5, 1e-30, "dg");
        check_close(du, want, 5, 1e-30, "du");
        assert_true(isnan(y[5]) && isnan(dg[5]) && isnan(du[5]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(act__agrees_with_double),
        cmocka_unit_test(act__does_not_depend_on_threads_or_place),
        cmocka_unit_test(act__does_not_depend_on_the_distance_of_rows),
        cmocka_unit_test(act__is_sound_at_the_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
