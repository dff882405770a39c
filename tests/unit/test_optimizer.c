/* The optimizer against AdamW's formula in double; its state as a stream; what
 * is left after a failure. */
#include "src/train/optimizer.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "tests/check/check.h"

/* One tensor of several pieces, small ones, and one of none. */
static const size_t sizes[] = {40000, 1, 0, 255, QL_ADAM_PIECE, 4097, 20011};

enum {
    TENSORS = sizeof(sizes) / sizeof(sizes[0]),
    COUNT = 40000 + 1 + 255 + QL_ADAM_PIECE + 4097 + 20011,
    STEPS = 5
};

/* A training run without a model: gradients are random numbers. */
typedef struct training {
    ql_optimizer *o;
    float p[COUNT], g[COUNT];
} training;

static ql_adam_step numbers(void)
{
    return (ql_adam_step){.lr = 1e-2,
                          .beta1 = 0.9,
                          .beta2 = 0.999,
                          .eps = 1e-8,
                          .weight_decay = 0.1,
                          .clip = 0.5};
}

static void gradients(float *g, size_t t)
{
    check_fill(g, COUNT, t);
}

static training *start(void)
{
    training *r = calloc(1, sizeof(*r));

    assert_non_null(r);
    check_fill(r->p, COUNT, 0);
    check_ok(ql_optimizer_open(&r->o, sizes, TENSORS));
    return r;
}

static void step(training *r)
{
    ql_adam_step s = numbers();

    gradients(r->g, ql_optimizer_updates(r->o) + 1);
    check_ok(ql_optimizer_update(r->o, r->p, r->g, &s));
    assert_int_equal(s.t, ql_optimizer_updates(r->o));
}

static void end(training *r)
{
    ql_optimizer_close(&r->o);
    free(r);
}

static training *run(int threads)
{
    training *r = start();

    omp_set_num_threads(threads);
    for (size_t t = 1; t <= STEPS; t++) {
        step(r);
    }
    omp_set_num_threads(2);
    return r;
}

/* The whole state. Owned: free. */
static unsigned char *state_of(ql_optimizer *o)
{
    const size_t n = (size_t)ql_optimizer_state_bytes(o);
    unsigned char *state = malloc(n);

    assert_non_null(state);
    check_ok(ql_optimizer_export(o, 0, state, n));
    return state;
}

static void optimizer__agrees_with_double(void **unused)
{
    static double m[COUNT], v[COUNT], p[COUNT];
    static float x[COUNT];
    training *r = run(2);

    (void)unused;
    check_fill(x, COUNT, 0);
    for (size_t i = 0; i < COUNT; i++) {
        p[i] = (double)x[i];
    }
    for (size_t t = 1; t <= STEPS; t++) {
        const ql_adam_step k = numbers();
        const double c1 = 1 - pow(k.beta1, (double)t);
        const double c2 = 1 - pow(k.beta2, (double)t);

        gradients(x, t);
        for (size_t i = 0; i < COUNT; i++) {
            const double g = (double)x[i] * k.clip;

            m[i] = k.beta1 * m[i] + (1 - k.beta1) * g;
            v[i] = k.beta2 * v[i] + (1 - k.beta2) * g * g;
            p[i] -= k.lr * k.weight_decay * p[i];
            p[i] -= k.lr * (m[i] / c1) / (sqrt(v[i] / c2) + k.eps);
        }
    }
    check_close(r->p, p, COUNT, 5e-7, "p");
    end(r);
}

static void optimizer__does_not_depend_on_threads(void **unused)
{
    training *one = run(1);
    training *more = run(3);
    unsigned char *a = state_of(one->o);
    unsigned char *b = state_of(more->o);

    (void)unused;
    assert_memory_equal(one->p, more->p, sizeof(one->p));
    assert_memory_equal(a, b, (size_t)ql_optimizer_state_bytes(one->o));
    free(a);
    free(b);
    end(one);
    end(more);
}

/* Copies the state in parts of another size than any that it has. */
static void copy_state(ql_optimizer *to, ql_optimizer *from)
{
    const uint64_t bytes = ql_optimizer_state_bytes(from);
    unsigned char part[10007];

    assert_int_equal(ql_optimizer_state_bytes(to), bytes);
    for (uint64_t at = 0; at < bytes; at += sizeof(part)) {
        const size_t n =
            bytes - at < sizeof(part) ? (size_t)(bytes - at) : sizeof(part);

        check_ok(ql_optimizer_export(from, at, part, n));
        check_ok(ql_optimizer_import(to, at, part, n));
    }
    ql_optimizer_set_updates(to, ql_optimizer_updates(from));
}

static void state__carried_over_goes_on_as_before(void **unused)
{
    training *one = run(2);
    training *other = start();

    (void)unused;
    step(other); /* which leaves something to be replaced */
    copy_state(other->o, one->o);
    memcpy(other->p, one->p, sizeof(one->p));
    for (size_t t = 0; t < 3; t++) {
        step(one);
        step(other);
        assert_memory_equal(one->p, other->p, sizeof(one->p));
    }
    end(one);
    end(other);
}

static void update__that_fails_leaves_the_parameters(void **unused)
{
    static const float bad[] = {NAN, INFINITY, -3e38F};
    ql_adam_step s = numbers();

    (void)unused;
    s.clip = 1;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        training *r = run(2);
        float *before = malloc(sizeof(r->p));

        assert_non_null(before);
        memcpy(before, r->p, sizeof(r->p));
        gradients(r->g, 1);
        r->g[0] = r->g[40001] = r->g[COUNT - 1] = bad[i];
        check_fails(ql_optimizer_update(r->o, r->p, r->g, &s), QL_ENUMERIC,
                    "3 trained weights would not be finite");
        assert_memory_equal(r->p, before, sizeof(r->p));
        free(before);
        end(r);
    }
}

static void optimizer__survives_failing_allocations(void **unused)
{
    ql_status st = QL_ENOMEM;

    (void)unused;
    for (long n = 0; st != QL_OK; n++) {
        ql_optimizer *o;

        ql_alloc_fail_after(n);
        st = ql_optimizer_open(&o, sizes, TENSORS);
        ql_alloc_fail_after(-1);
        assert_true(st == QL_OK || (st == QL_ENOMEM && !o));
        ql_optimizer_close(&o);
        assert_int_equal(ql_alloc_bytes(QL_TAG_OPTIM), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(optimizer__agrees_with_double),
        cmocka_unit_test(optimizer__does_not_depend_on_threads),
        cmocka_unit_test(state__carried_over_goes_on_as_before),
        cmocka_unit_test(update__that_fails_leaves_the_parameters),
        cmocka_unit_test(optimizer__survives_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
