/* The rotation itself; its frequencies are in test_rope. */
#include "src/op/rope.h"

#include "tests/grad/grad.h"

enum {
    POSITIONS = 50
};

typedef struct shape {
    size_t T, heads, D, dim;
} shape;

static const shape shapes[] = {{1, 1, 2, 2},  {3, 2, 5, 4},     {7, 3, 16, 16},
                               {65, 1, 5, 2}, {130, 4, 80, 20}, {65, 6, 64, 64},
                               {3, 1, 8, 0}};

typedef struct truth {
    shape s;
    const uint32_t *pos;
    const double *inv_freq;
    double factor;
    double *x, *dy;
} truth;

static void forward(double *y, const truth *r)
{
    const size_t half = r->s.dim / 2;

    for (size_t row = 0; row < r->s.T * r->s.heads; row++) {
        const double *x = r->x + row * r->s.D;
        double *out = y + row * r->s.D;

        memcpy(out, x, r->s.D * sizeof *x);
        for (size_t i = 0; i < half; i++) {
            const double a = r->pos[row / r->s.heads] * r->inv_freq[i];

            out[i] = (x[i] * cos(a) - x[i + half] * sin(a)) * r->factor;
            out[i + half] = (x[i + half] * cos(a) + x[i] * sin(a)) * r->factor;
        }
    }
}

static double weighed(const void *ctx)
{
    const truth *r = ctx;
    const size_t n = r->s.T * r->s.heads * r->s.D;
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

/* Everything that one shape needs. */
typedef struct setting {
    uint32_t *pos;
    double *inv_freq;
    double factor;
    float *cos_table, *sin_table;
} setting;

static setting setting_open(shape s)
{
    const ql_rope_spec spec = {.type = QL_ROPE_LINEAR,
                               .theta = 10000,
                               .factor = 2,
                               .dim = s.dim,
                               .max_position = POSITIONS};
    const size_t half = s.dim / 2;
    setting set = {.pos = malloc(s.T * sizeof *set.pos),
                   .inv_freq = malloc((half + 1) * sizeof *set.inv_freq),
                   .cos_table = room_open(POSITIONS * half),
                   .sin_table = room_open(POSITIONS * half)};

    assert_true(set.pos && set.inv_freq);
    for (size_t t = 0; t < s.T; t++) {
        set.pos[t] = (uint32_t)(t * 7 % POSITIONS);
    }
    set.factor = 1.25 * ql_rope_frequencies(set.inv_freq, &spec, POSITIONS);
    ql_rope_table(set.cos_table, set.sin_table, set.inv_freq, set.factor, s.dim,
                  (ql_rope_range){0, POSITIONS});
    return set;
}

static void setting_close(setting *set, shape s)
{
    free(set->pos);
    free(set->inv_freq);
    room_close(set->cos_table, POSITIONS * (s.dim / 2));
    room_close(set->sin_table, POSITIONS * (s.dim / 2));
}

static void apply(float *x, const setting *set, shape s, bool backward)
{
    ql_rope_apply(x, set->pos, set->cos_table, set->sin_table, s.T, s.heads,
                  s.D, s.dim, backward);
}

static void check_shape(shape s)
{
    const size_t n = s.T * s.heads * s.D;
    setting set = setting_open(s);
    float *x = room_fill(n, 1);
    float *dy = room_fill(n, 2);
    const truth r = {s,          set.pos,     set.inv_freq,
                     set.factor, widen(x, n), widen(dy, n)};
    double *y = malloc(n * sizeof *y);

    assert_non_null(y);
    forward(y, &r);
    apply(x, &set, s, false);
    check_close(x, y, n, 4e-7, "y");
    apply(dy, &set, s, true);
    check_slope(dy, r.x, n, weighed, &r, 1e-6, "dx");
    free(y);
    free(r.x);
    free(r.dy);
    room_close(x, n);
    room_close(dy, n);
    setting_close(&set, s);
}

static void rotate__agrees_with_double(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_shape(shapes[i]);
    }
}

static void rotate__does_not_depend_on_threads(void **state)
{
    const shape s = {130, 4, 80, 20};
    const size_t n = s.T * s.heads * s.D;
    float *first = room_fill(n, 1);
    setting set;

    (void)state;
    omp_set_num_threads(1);
    set = setting_open(s);
    apply(first, &set, s, false);
    setting_close(&set, s);
    for (int threads = 2; threads <= 3; threads++) {
        float *x = room_fill(n, 1);

        omp_set_num_threads(threads);
        set = setting_open(s);
        apply(x, &set, s, false);
        check_same(x, first, n, "x");
        room_close(x, n);
        setting_close(&set, s);
    }
    room_close(first, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rotate__agrees_with_double),
        cmocka_unit_test(rotate__does_not_depend_on_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
