/* Root mean square normalization against its formula in double. */
#include "src/op/norm.h"

#include "tests/grad/grad.h"

static const float eps = 1e-5F;

typedef struct shape {
    size_t T, C;
} shape;

static const shape shapes[] = {{1, 5},  {1, 64},   {3, 5},   {7, 100},
                               {65, 5}, {65, 64},  {130, 5}, {130, 100},
                               {3, 2},  {130, 64}, {65, 129}};

typedef struct truth {
    shape s;
    double *x, *w, *dy;
} truth;

static void forward(double *y, const truth *r)
{
    for (size_t t = 0; t < r->s.T; t++) {
        const double *x = r->x + t * r->s.C;
        double sum = 0;

        for (size_t c = 0; c < r->s.C; c++) {
            sum += x[c] * x[c];
        }
        sum = 1 / sqrt(sum / (double)r->s.C + (double)eps);
        for (size_t c = 0; c < r->s.C; c++) {
            y[t * r->s.C + c] = r->w[c] * x[c] * sum;
        }
    }
}

static double weighed(const void *ctx)
{
    const truth *r = ctx;
    const size_t n = r->s.T * r->s.C;
    double *y = malloc(n * sizeof *y);
    double sum = 0;

    assert_non_null(y);
    forward(y, r);
    for (size_t i = 0; i < n; i++) {
        sum += y[i] * r->dy[i];
    }
    free(y);
    return sum;
}

/* Inputs and outputs of one run. */
typedef struct run {
    float *x, *w, *dy, *y, *rstd, *dx, *dw;
} run;

static run run_open(shape s)
{
    const size_t n = s.T * s.C;
    run r = {.x = room_fill(n, 1),
             .w = room_fill(s.C, 2),
             .dy = room_fill(n, 3),
             .y = room_open(n),
             .rstd = room_open(s.T),
             .dx = room_fill(n, 4),
             .dw = room_fill(s.C, 5)};

    ql_rmsnorm_fwd(r.y, r.rstd, r.x, r.w, s.T, s.C, eps);
    ql_rmsnorm_bwd(r.dx, r.dw, r.dy, r.x, r.w, r.rstd, s.T, s.C);
    return r;
}

static void run_close(run *r, shape s)
{
    const size_t n = s.T * s.C;

    room_close(r->x, n);
    room_close(r->w, s.C);
    room_close(r->dy, n);
    room_close(r->y, n);
    room_close(r->rstd, s.T);
    room_close(r->dx, n);
    room_close(r->dw, s.C);
}

static void check_shape(shape s)
{
    const size_t n = s.T * s.C;
    run r = run_open(s);
    const truth ref = {s, widen(r.x, n), widen(r.w, s.C), widen(r.dy, n)};
    double *y = malloc(n * sizeof *y);

    assert_non_null(y);
    forward(y, &ref);
    check_near(r.y, y, n, 2e-7, "y");
    take_off(r.dx, n, 4);
    take_off(r.dw, s.C, 5);
    check_slope(r.dx, ref.x, n, weighed, &ref, 5e-6, "dx");
    check_slope(r.dw, ref.w, s.C, weighed, &ref, 2e-6, "dw");
    free(y);
    free(ref.x);
    free(ref.w);
    free(ref.dy);
    run_close(&r, s);
}

static void norm__agrees_with_double(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_shape(shapes[i]);
    }
}

static void norm__does_not_depend_on_threads(void **state)
{
    const shape s = {130, 100};
    run first;

    (void)state;
    omp_set_num_threads(1);
    first = run_open(s);
    for (int threads = 2; threads <= 3; threads++) {
        run r;

        omp_set_num_threads(threads);
        r = run_open(s);
        check_same(r.y, first.y, s.T * s.C, "y");
        check_same(r.rstd, first.rstd, s.T, "rstd");
        check_same(r.dx, first.dx, s.T * s.C, "dx");
        check_same(r.dw, first.dw, s.C, "dw");
        run_close(&r, s);
    }
    run_close(&first, s);
}

static void norm__works_in_place_and_with_a_frozen_weight(void **state)
{
    const shape s = {7, 100};
    const size_t n = s.T * s.C;
    run r = run_open(s);
    float *x = room_fill(n, 1);
    float *dx = room_fill(n, 4);

    (void)state;
    ql_rmsnorm_bwd(dx, NULL, r.dy, x, r.w, r.rstd, s.T, s.C);
    assert_memory_equal(dx, r.dx, n * sizeof *dx);
    ql_rmsnorm_fwd(x, r.rstd, x, r.w, s.T, s.C, eps);
    assert_memory_equal(x, r.y, n * sizeof *x);
    room_close(x, n);
    room_close(dx, n);
    run_close(&r, s);
}

static void norm__passes_nan_on(void **state)
{
    const float w[2] = {1, 1};
    const float x[4] = {1, NAN, 2, 2};
    float y[4];
    float rstd[2];

    (void)state;
    ql_rmsnorm_fwd(y, rstd, x, w, 2, 2, eps);
    assert_true(isnan(y[0]) && isnan(y[1]) && isnan(rstd[0]));
    assert_false(isnan(y[2]) || isnan(y[3]) || isnan(rstd[1]));
}

/* Layer normalization: inputs far from a mean of 0. */
typedef struct layer_truth {
    shape s;
    double *x, *w, *b, *dy;
} layer_truth;

static double layer_value(const layer_truth *r, double *y)
{
    double total = 0;

    for (size_t t = 0; t < r->s.T; t++) {
        const double *x = r->x + t * r->s.C;
        double mean = 0;
        double square = 0;

        for (size_t c = 0; c < r->s.C; c++) {
            mean += x[c] / (double)r->s.C;
        }
        for (size_t c = 0; c < r->s.C; c++) {
            square += (x[c] - mean) * (x[c] - mean) / (double)r->s.C;
        }
        for (size_t c = 0; c < r->s.C; c++) {
            const double out =
                (x[c] - mean) / sqrt(square + (double)eps) * r->w[c] + r->b[c];

            total += out * r->dy[t * r->s.C + c];
            if (y) {
                y[t * r->s.C + c] = out;
            }
        }
    }
    return total;
}

static double layer_weighed(const void *ctx)
{
    return layer_value(ctx, NULL);
}

static void check_layer(shape s, float shift)
{
    const size_t n = s.T * s.C;
    float *x = room_fill(n, 1);
    float *w = room_fill(s.C, 2);
    float *b = room_fill(s.C, 3);
    float *dy = room_fill(n, 4);
    float *y = room_open(n);
    float *dx = room_fill(n, 5);
    float *dw = room_fill(s.C, 6);
    float *db = room_fill(s.C, 7);
    const ql_norm norm = {
        .w = w, .b = b, .dw = dw, .db = db, .C = s.C, .eps = eps};
    float *stats = room_open(ql_norm_stats(&norm, s.T));
    double *want = malloc(n * sizeof *want);
    layer_truth r;

    assert_non_null(want);
    for (size_t i = 0; i < n; i++) {
        x[i] += shift;
    }
    r = (layer_truth){s, widen(x, n), widen(w, s.C), widen(b, s.C),
                      widen(dy, n)};
    ql_norm_fwd(y, stats, x, &norm, s.T);
    ql_norm_bwd(dx, dy, x, stats, &norm, s.T);
    layer_value(&r, want);
    check_near(y, want, n, 3e-7 + 3e-7 * (double)shift, "y");
    take_off(dx, n, 5);
    take_off(dw, s.C, 6);
    take_off(db, s.C, 7);
    check_slope(dx, r.x, n, layer_weighed, &r, 2e-5, "dx");
    check_slope(dw, r.w, s.C, layer_weighed, &r, 1e-5, "dw");
    check_slope(db, r.b, s.C, layer_weighed, &r, 2e-6, "db");
    ql_norm_fwd(x, stats, x, &norm, s.T);
    check_same(x, y, n, "y over x");
    free(want);
    free(r.x);
    free(r.w);
    free(r.b);
    free(r.dy);
    room_close(x, n);
    room_close(w, s.C);
    room_close(b, s.C);
    room_close(dy, n);
    room_close(y, n);
    room_close(dx, n);
    room_close(dw, s.C);
    room_close(db, s.C);
    room_close(stats, ql_norm_stats(&norm, s.T));
}

static void norm__of_layers_agrees_with_double(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (shapes[i].C > 2) { /* two elements become 1 and -1 */
            check_layer(shapes[i], 0);
        }
    }
    check_layer((shape){7, 100}, 10);
}

/* Rows that do not vary: what is left is the bias. */
static void norm__of_layers_takes_a_flat_row(void **state)
{
    const float w[3] = {1, 2, 3};
    const float b[3] = {4, 5, 6};
    const float x[6] = {0.1F, 0.1F, 0.1F, -1e4F, -1e4F, -1e4F};
    const ql_norm norm = {.w = w, .b = b, .C = 3, .eps = 1e-12F};
    float y[6];
    float stats[4];

    (void)state;
    ql_norm_fwd(y, stats, x, &norm, 2);
    for (size_t i = 0; i < 6; i++) {
        assert_true(y[i] == b[i % 3]);
    }
    assert_int_equal(ql_norm_stats(&norm, 2), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norm__agrees_with_double),
        cmocka_unit_test(norm__does_not_depend_on_threads),
        cmocka_unit_test(norm__works_in_place_and_with_a_frozen_weight),
        cmocka_unit_test(norm__passes_nan_on),
        cmocka_unit_test(norm__of_layers_agrees_with_double),
        cmocka_unit_test(norm__of_layers_takes_a_flat_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
