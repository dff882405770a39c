/* AdamW against its formula in double, over some steps. */
#include "src/op/adam.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check/check.h"

enum {
    N = 20011, /* more than one piece */
    STEPS = 5
};

static ql_adam_step step_number(size_t t)
{
    return (ql_adam_step){.lr = 1e-2,
                          .beta1 = 0.9,
                          .beta2 = 0.999,
                          .eps = 1e-8,
                          .weight_decay = 0.1,
                          .clip = 0.5,
                          .t = t};
}

/* Parameters and moments; gradients are filled with the step's number. */
typedef struct state {
    float p[N], m[N], v[N], g[N];
} state;

static state *run(int threads)
{
    state *s = calloc(1, sizeof *s);

    assert_non_null(s);
    omp_set_num_threads(threads);
    check_fill(s->p, N, 0);
    for (size_t t = 1; t <= STEPS; t++) {
        const ql_adam_step step = step_number(t);

        check_fill(s->g, N, t);
        assert_int_equal(ql_adam_update(s->p, s->m, s->v, s->g, N, &step), 0);
    }
    return s;
}

static void adam__agrees_with_double(void **unused)
{
    static double m[N], v[N], p[N];
    static float x[N];
    state *s = run(2);

    (void)unused;
    check_fill(x, N, 0);
    for (size_t i = 0; i < N; i++) {
        p[i] = (double)x[i];
    }
    for (size_t t = 1; t <= STEPS; t++) {
        const ql_adam_step k = step_number(t);
        const double c1 = 1 - pow(k.beta1, (double)t);
        const double c2 = 1 - pow(k.beta2, (double)t);

        check_fill(x, N, t);
        for (size_t i = 0; i < N; i++) {
            const double g = (double)x[i] * k.clip;

            m[i] = k.beta1 * m[i] + (1 - k.beta1) * g;
            v[i] = k.beta2 * v[i] + (1 - k.beta2) * g * g;
            p[i] -= k.lr * k.weight_decay * p[i];
            p[i] -= k.lr * (m[i] / c1) / (sqrt(v[i] / c2) + k.eps);
        }
    }
    check_close(s->m, m, N, 1e-7, "m");
    check_close(s->v, v, N, 1e-9, "v");
    check_close(s->p, p, N, 5e-7, "p");
    free(s);
}

static void adam__does_not_depend_on_threads(void **unused)
{
    state *first = run(1);
    state *other = run(3);

    (void)unused;
    assert_memory_equal(first, other, sizeof *first);
    free(first);
    free(other);
}

static void adam__leaves_what_would_not_be_finite(void **unused)
{
    const ql_adam_step step = step_number(1);
    state *s = calloc(1, sizeof *s);

    (void)unused;
    assert_non_null(s);
    omp_set_num_threads(3);
    check_fill(s->p, N, 0);
    memcpy(s->m, s->p, sizeof s->m);
    check_fill(s->g, N, 1);
    for (size_t i = 0; i < N; i += 1000) {
        s->g[i] = i % 2000 ? INFINITY : NAN;
    }
    assert_int_equal(ql_adam_update(s->p, s->m, s->v, s->g, N, &step), 21);
    check_fill(s->g, N, 0);
    for (size_t i = 0; i < N; i++) {
        assert_true(isfinite(s->p[i]));
        assert_int_equal(s->p[i] == s->g[i], i % 1000 == 0);
    }
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adam__agrees_with_double),
        cmocka_unit_test(adam__does_not_depend_on_threads),
        cmocka_unit_test(adam__leaves_what_would_not_be_finite),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
