/* What the tests of the ops share: guarded outputs, and the comparison of a
 * gradient with central differences of a forward in double. */
#ifndef QL_TESTS_GRAD_H
#define QL_TESTS_GRAD_H

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "quant/kernels.h"
#include "tests/check/check.h"

enum {
    GUARD = 64,   /* bytes before and behind an output */
    SAMPLES = 48, /* elements of an input that are moved */
    GUARD_BYTE = 0xA5
};

/* n floats, all NaN, between guards. Owned: room_close. */
static inline float *room_open(size_t n)
{
    unsigned char *p = malloc(n * sizeof(float) + 2 * GUARD);

    assert_non_null(p);
    memset(p, GUARD_BYTE, GUARD);
    memset(p + GUARD, 0xFF, n * sizeof(float));
    memset(p + GUARD + n * sizeof(float), GUARD_BYTE, GUARD);
    return (float *)(void *)(p + GUARD);
}

/* Fails if a guard of room x [n] was written to. */
static inline void room_close(float *x, size_t n)
{
    unsigned char *p = (unsigned char *)(void *)x - GUARD;

    for (size_t i = 0; i < GUARD; i++) {
        assert_int_equal(p[i], GUARD_BYTE);
        assert_int_equal(p[GUARD + n * sizeof(float) + i], GUARD_BYTE);
    }
    free(p);
}

/* A room of n random floats. */
static inline float *room_fill(size_t n, uint64_t salt)
{
    float *x = room_open(n);

    check_fill(x, n, salt);
    return x;
}

/* What a call added to x [n], which was filled with salt before. */
static inline void take_off(float *x, size_t n, uint64_t salt)
{
    float *before = room_fill(n, salt);

    for (size_t i = 0; i < n; i++) {
        x[i] -= before[i];
    }
    room_close(before, n);
}

/* x[n] in double. Owned: free. */
static inline double *widen(const float *x, size_t n)
{
    double *y = malloc((n ? n : 1) * sizeof *y);

    assert_non_null(y);
    for (size_t i = 0; i < n; i++) {
        y[i] = (double)x[i];
    }
    return y;
}

/* What is allowed where that much is in f32: sets that round operands to bf16
 * are off by 2^-9 at each, here of the largest or of the norm. */
static inline double slack(double tolerance)
{
    return ql_kernels_get()->pair > 1 ? fmax(tolerance, 0.02) : tolerance;
}

/* Fails unless got is close to want: in norm, relative to it. */
static inline void check_near(const float *got, const double *want, size_t n,
                              double tolerance, const char *what)
{
    const double d = check_distance(got, want, n);

    if (!(d <= slack(tolerance))) {
        fail_msg("%s: off by %.3g of its norm, allowed %.3g", what, d,
                 slack(tolerance));
    }
}

/* A scalar function of what ctx points to. */
typedef double objective(const void *ctx);

/* Fails unless got[n] is the gradient of f with respect to x[n], to which ctx
 * leads: at SAMPLES elements, relative to the largest of them. */
static inline void check_slope(const float *got, double *x, size_t n,
                               objective *f, const void *ctx, double tolerance,
                               const char *what)
{
    const size_t step = n > SAMPLES ? n / SAMPLES : 1;
    const double by = 1e-5;
    double slope[2 * SAMPLES + 1];
    double largest = 1e-30;
    size_t m = 0;

    for (size_t i = n % step; i < n; i += step) {
        const double keep = x[i];

        x[i] = keep + by;
        slope[m] = f(ctx);
        x[i] = keep - by;
        slope[m] = (slope[m] - f(ctx)) / (2 * by);
        x[i] = keep;
        largest = fmax(largest, fabs(slope[m++]));
    }
    m = 0;
    for (size_t i = n % step; i < n; i += step, m++) {
        const double off = fabs((double)got[i] - slope[m]);

        if (!(off <= slack(tolerance) * largest)) {
            fail_msg("%s[%zu]: %.9g, but the slope is %.9g (largest %.3g)",
                     what, i, (double)got[i], slope[m], largest);
        }
    }
}

/* Fails unless a and b [n] are the same to the bit. */
static inline void check_same(const float *a, const float *b, size_t n,
                              const char *what)
{
    if (memcmp(a, b, n * sizeof *a) != 0) {
        fail_msg("%s depends on the number of threads", what);
    }
}

#endif
