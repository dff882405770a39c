/* Leading singular triplets against all of them, found by rotating the rows of
 * the matrix in double until no two of them agree in direction (Hestenes,
 * 1958). */
#include "src/op/svd.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "src/op/gemm.h"
#include "tests/check/check.h"

/* Rotates rows i and j of x [., n]; false if they are orthogonal. */
static bool rotate(double *x, size_t i, size_t j, size_t n)
{
    double a = 0;
    double b = 0;
    double both = 0;
    double t;
    double c;

    for (size_t k = 0; k < n; k++) {
        a += x[i * n + k] * x[i * n + k];
        b += x[j * n + k] * x[j * n + k];
        both += x[i * n + k] * x[j * n + k];
    }
    if (fabs(both) <= 1e-14 * sqrt(a * b)) {
        return false;
    }
    t = (b - a) / (2 * both);
    t = (t < 0 ? -1 : 1) / (fabs(t) + sqrt(t * t + 1));
    c = 1 / sqrt(t * t + 1);
    for (size_t k = 0; k < n; k++) {
        const double p = x[i * n + k];
        const double q = x[j * n + k];

        x[i * n + k] = c * p - c * t * q;
        x[j * n + k] = c * t * p + c * q;
    }
    return true;
}

static int falling(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;

    return (x < y) - (x > y);
}

/* All singular values of w [m, n], the largest first. Owned. */
static double *values_of(const float *w, size_t m, size_t n)
{
    double *x = malloc(m * n * sizeof(double));
    double *s = calloc(m, sizeof(double));
    bool turned = true;

    for (size_t i = 0; i < m * n; i++) {
        x[i] = (double)w[i];
    }
    for (int sweep = 0; turned && sweep < 60; sweep++) {
        turned = false;
        for (size_t i = 0; i < m; i++) {
            for (size_t j = i + 1; j < m; j++) {
                turned |= rotate(x, i, j, n);
            }
        }
    }
    for (size_t i = 0; i < m; i++) {
        for (size_t k = 0; k < n; k++) {
            s[i] += x[i * n + k] * x[i * n + k];
        }
        s[i] = sqrt(s[i]);
    }
    qsort(s, m, sizeof(*s), falling);
    free(x);
    return s;
}

/* What was found. */
typedef struct found {
    ql_svd p;
    float *w, *u, *s, *v;
} found;

static void find(found *f)
{
    const ql_svd *p = &f->p;
    void *work = aligned_alloc(64, (ql_svd_work_bytes(p) + 63) / 64 * 64);

    f->u = malloc(p->r * p->M * sizeof(float));
    f->s = malloc(p->r * sizeof(float));
    f->v = malloc(p->r * p->N * sizeof(float));
    ql_svd_run(f->u, f->s, f->v, f->w, p, work);
    free(work);
}

static void leave(found *f)
{
    free(f->u);
    free(f->s);
    free(f->v);
}

/* Rows with a value are orthonormal, the others zero. */
static void check_rows(const float *x, const float *s, size_t r, size_t n)
{
    for (size_t i = 0; i < r; i++) {
        for (size_t j = 0; j <= i; j++) {
            const double want = i == j && s[i] > 0;
            double sum = 0;

            for (size_t k = 0; k < n; k++) {
                sum += (double)x[i * n + k] * (double)x[j * n + k];
            }
            if (fabs(sum - want) > 2e-5) {
                fail_msg("rows %zu, %zu: %g", i, j, sum);
            }
        }
    }
}

/* |W - U diag(s) V^T| */
static double rest_of(const found *f)
{
    const ql_svd *p = &f->p;
    double sum = 0;

    for (size_t m = 0; m < p->M; m++) {
        for (size_t n = 0; n < p->N; n++) {
            double x = (double)f->w[m * p->N + n];

            for (size_t i = 0; i < p->r; i++) {
                x -= (double)f->s[i] * (double)f->u[i * p->M + m] *
                     (double)f->v[i * p->N + n];
            }
            sum += x * x;
        }
    }
    return sqrt(sum);
}

/* The values, and that nothing nearer to W has this rank. */
static void check(found *f, double tolerance)
{
    const ql_svd *p = &f->p;
    double *want = values_of(f->w, p->M, p->N);
    double best = 0;

    find(f);
    for (size_t i = 0; i < p->r; i++) {
        const double s = i < p->M ? want[i] : 0;

        if (fabs((double)f->s[i] - s) > tolerance * want[0]) {
            fail_msg("value %zu is %g instead of %g", i, (double)f->s[i], s);
        }
    }
    for (size_t i = p->r; i < p->M; i++) {
        best += want[i] * want[i];
    }
    assert_true(rest_of(f) <= sqrt(best) * (1 + tolerance) + 1e-5 * want[0]);
    free(want);
    leave(f);
}

/* A matrix of rank k whose values fall by a factor, not fast: 1 for all. */
static float *matrix(size_t m, size_t n, size_t k, double fall)
{
    float *x = malloc(k * (m + n) * sizeof(float));
    float *w = calloc(m * n, sizeof(float));

    check_fill(x, k * (m + n), m + n);
    for (size_t i = 0; i < k; i++) {
        const float by = (float)pow(fall, (double)i);

        for (size_t e = 0; e < m * n; e++) {
            w[e] += by * x[i * (m + n) + e / n] * x[i * (m + n) + m + e % n];
        }
    }
    free(x);
    return w;
}

static void svd__finds_what_is_largest(void **state)
{
    static const struct {
        size_t m, n, rank, r;
        double fall;
    } rows[] = {
        {40, 70, 40, 5, 0.9}, {70, 40, 40, 5, 0.9}, {90, 80, 80, 3, 1},
        {64, 64, 64, 1, 1},   {60, 90, 60, 16, 1},  {30, 20, 20, 20, 0.7},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        found f = {.p = {rows[i].m, rows[i].n, rows[i].r, 0, 3}};

        f.w = matrix(rows[i].m, rows[i].n, rows[i].rank, rows[i].fall);
        check(&f, 2e-3);
        free(f.w);
    }
}

/* Where the values fall fast, few iterations find them, and well. */
static void svd__takes_as_many_iterations_as_it_is_told(void **state)
{
    found f = {.p = {80, 100, 6, 4, 1}, .w = matrix(80, 100, 80, 0.6)};

    (void)state;
    check(&f, 1e-6);
    free(f.w);
}

/* Triplets beyond the rank are zero. */
static void svd__of_less_rank_ends_in_zeros(void **state)
{
    found f = {.p = {33, 50, 6, 0, 1}, .w = matrix(33, 50, 3, 0.5)};

    (void)state;
    find(&f);
    check_rows(f.u, f.s, 3, 33);
    check_rows(f.v, f.s, 3, 50);
    assert_true(rest_of(&f) < 1e-5 * (double)f.s[0]);
    for (size_t i = 3; i < 6; i++) {
        assert_true(f.s[i] < 1e-5F * f.s[0]);
    }
    leave(&f);
    memset(f.w, 0, 33 * 50 * sizeof(float));
    find(&f);
    for (size_t i = 0; i < 6 * 50; i++) {
        assert_true(f.s[i / 50] == 0 && f.v[i] == 0);
    }
    leave(&f);
    free(f.w);
}

static void svd__can_be_asked_for_more_than_there_are(void **state)
{
    found f = {.p = {4, 9, 7, 0, 1}, .w = matrix(4, 9, 4, 0.5)};

    (void)state;
    check(&f, 1e-5);
    free(f.w);
}

static void svd__gives_orthonormal_rows(void **state)
{
    found f = {.p = {70, 90, 9, 0, 1}, .w = matrix(70, 90, 70, 0.95)};

    (void)state;
    find(&f);
    check_rows(f.u, f.s, 9, 70);
    check_rows(f.v, f.s, 9, 90);
    leave(&f);
    free(f.w);
}

static void svd__does_not_depend_on_threads(void **state)
{
    found f[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        omp_set_num_threads(1 + 2 * i);
        f[i] =
            (found){.p = {300, 200, 8, 0, 1}, .w = matrix(300, 200, 30, 0.9)};
        find(&f[i]);
    }
    omp_set_num_threads(2);
    assert_memory_equal(f[0].u, f[1].u, 8 * 300 * sizeof(float));
    assert_memory_equal(f[0].s, f[1].s, 8 * sizeof(float));
    assert_memory_equal(f[0].v, f[1].v, 8 * 200 * sizeof(float));
    for (int i = 0; i < 2; i++) {
        leave(&f[i]);
        free(f[i].w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(svd__finds_what_is_largest),
        cmocka_unit_test(svd__takes_as_many_iterations_as_it_is_told),
        cmocka_unit_test(svd__of_less_rank_ends_in_zeros),
        cmocka_unit_test(svd__can_be_asked_for_more_than_there_are),
        cmocka_unit_test(svd__gives_orthonormal_rows),
        cmocka_unit_test(svd__does_not_depend_on_threads),
    };

    ql_gemm_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
