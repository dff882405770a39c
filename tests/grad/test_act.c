/* SwiGLU against its formula in double. */
#include "src/op/act.h"

#include "tests/grad/grad.h"

enum {
    MANY = 30001 /* more than one piece */
};

typedef struct truth {
    size_t n;
    double *g, *u, *dy;
} truth;

static double swiglu(double g, double u)
{
    return g / (1 + exp(-g)) * u;
}

static double weighed(const void *ctx)
{
    const truth *r = ctx;
    double sum = 0;

    for (size_t i = 0; i < r->n; i++) {
        sum += r->dy[i] * swiglu(r->g[i], r->u[i]);
    }
    return sum;
}

static void check_length(size_t n)
{
    float *g = room_fill(n, 1);
    float *u = room_fill(n, 2);
    float *dy = room_fill(n, 3);
    float *y = room_open(n);
    float *dg = room_open(n);
    float *du = room_open(n);
    truth r;

    for (size_t i = 0; i < n; i++) {
        g[i] *= 12;
    }
    r = (truth){n, widen(g, n), widen(u, n), widen(dy, n)};
    ql_swiglu_fwd(y, g, u, n);
    for (size_t i = 0; i < n; i++) {
        const double want = swiglu((double)g[i], (double)u[i]);

        assert_true(fabs((double)y[i] - want) <= 4e-7 * fabs(want));
    }
    ql_swiglu_bwd(dg, du, dy, g, u, n);
    check_slope(dg, r.g, n, weighed, &r, 2e-6, "dg");
    check_slope(du, r.u, n, weighed, &r, 2e-6, "du");
    free(r.g);
    free(r.u);
    free(r.dy);
    room_close(g, n);
    room_close(u, n);
    room_close(dy, n);
    room_close(y, n);
    room_close(dg, n);
    room_close(du, n);
}

static void act__agrees_with_double(void **state)
{
    const size_t lengths[] = {1, 3, 7, 65, 130, 5 * 65, 100 * 7};

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        check_length(lengths[i]);
    }
}

/* In place, with 1, 2 and 3 threads: the bits of the plain call. */
static void act__does_not_depend_on_threads_or_place(void **state)
{
    float *g = room_fill(MANY, 1);
    float *u = room_fill(MANY, 2);
    float *dy = room_fill(MANY, 3);
    float *y = room_open(MANY);
    float *dg = room_open(MANY);
    float *du = room_open(MANY);

    (void)state;
    omp_set_num_threads(1);
    ql_swiglu_fwd(y, g, u, MANY);
    ql_swiglu_bwd(dg, du, dy, g, u, MANY);
    for (int threads = 1; threads <= 3; threads++) {
        float *a = room_fill(MANY, 1);
        float *b = room_fill(MANY, 2);
        float *c = room_fill(MANY, 3);

        omp_set_num_threads(threads);
        ql_swiglu_fwd(a, a, u, MANY);
        ql_swiglu_fwd(b, g, b, MANY);
        check_same(a, y, MANY, "y over g");
        check_same(b, y, MANY, "y over u");
        ql_swiglu_bwd(a, c, c, memcpy(a, g, MANY * sizeof *g), u, MANY);
        check_same(a, dg, MANY, "dg over g");
        check_same(c, du, MANY, "du over dy");
        check_fill(c, MANY, 3);
        ql_swiglu_bwd(c, b, c, g, memcpy(b, u, MANY * sizeof *u), MANY);
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

static void act__is_sound_at_the_ends(void **state)
{
    const float g[5] = {-1000, -90, 90, 1000, NAN};
    const float one[5] = {1, 1, 1, 1, 1};
    const double silu[4] = {0, 0, 90, 1000};
    const double slope[4] = {0, 0, 1, 1};
    float y[5];
    float dg[5];
    float du[5];

    (void)state;
    ql_swiglu_fwd(y, g, one, 5);
    ql_swiglu_bwd(dg, du, one, g, one, 5);
    check_close(y, silu, 4, 1e-30, "y");
    check_close(dg, slope, 4, 1e-30, "dg");
    check_close(du, silu, 4, 1e-30, "du");
    assert_true(isnan(y[4]) && isnan(dg[4]) && isnan(du[4]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(act__agrees_with_double),
        cmocka_unit_test(act__does_not_depend_on_threads_or_place),
        cmocka_unit_test(act__is_sound_at_the_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
