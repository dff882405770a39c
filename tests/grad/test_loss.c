/* Cross-entropy with its head against the formula in double. */
#include "src/op/loss.h"

#include "src/base/alloc.h"
#include "src/op/gemm.h"
#include "tests/grad/grad.h"

typedef struct shape {
    size_t T, V, C;
} shape;

typedef struct truth {
    shape s;
    const int32_t *target;
    double *h, *w;
    double scale;
    double cap;   /* 0: none */
    size_t *hits; /* NULL: not wanted */
} truth;

static double loss_of(const truth *r, size_t t)
{
    const size_t aim = (size_t)r->target[t];
    double sum = 0;
    double largest = -HUGE_VAL;
    double at_aim = 0;

    for (size_t v = 0; v < r->s.V; v++) {
        double z = 0;

        for (size_t c = 0; c < r->s.C; c++) {
            z += r->h[t * r->s.C + c] * r->w[v * r->s.C + c];
        }
        z = r->cap > 0 ? r->cap * tanh(z / r->cap) : z;
        sum += exp(z);
        largest = fmax(largest, z);
        at_aim = v == aim ? z : at_aim;
    }
    if (r->hits) {
        *r->hits += at_aim == largest;
    }
    return log(sum) - at_aim;
}

static double total(const void *ctx)
{
    const truth *r = ctx;
    double sum = 0;

    for (size_t t = 0; t < r->s.T; t++) {
        sum += r->target[t] >= 0 ? loss_of(r, t) : 0;
    }
    return sum * r->scale;
}

/* Inputs and outputs of one run. */
typedef struct run {
    float *h, *w, *dh;
    int32_t *target;
    ql_linear head;
    ql_loss loss;
} run;

/* Every third position is not trained; a third of the rest aims at 0. */
static run run_inputs(shape s)
{
    run r = {.h = room_fill(s.T * s.C, 1),
             .w = room_fill(s.V * s.C, 2),
             .dh = room_open(s.T * s.C),
             .target = malloc(s.T * sizeof(int32_t))};

    assert_non_null(r.target);
    for (size_t t = 0; t < s.T; t++) {
        r.target[t] = t % 3 == 1 ? -100 : (int32_t)(t % 3 * t % s.V);
    }
    r.head.w = ql_qtensor_dense(r.w, s.V, s.C);
    return r;
}

static void run_capped(run *r, shape s, float scale, float cap, bool gradient)
{
    void *work = ql_alloc(QL_TAG_WORK, ql_loss_work_bytes(&r->head, s.T), 1);

    assert_non_null(work);
    ql_loss_head(&r->loss, gradient ? r->dh : NULL, r->h, r->target, &r->head,
                 cap, s.T, scale, (ql_drop){0}, work);
    ql_free(work);
}

static void run_loss(run *r, shape s, float scale, bool gradient)
{
    run_capped(r, s, scale, 0, gradient);
}

static void run_close(run *r, shape s)
{
    room_close(r->h, s.T * s.C);
    room_close(r->w, s.V * s.C);
    room_close(r->dh, s.T * s.C);
    free(r->target);
}

static void check_capped(shape s, float scale, float cap)
{
    run r = run_inputs(s);
    size_t hits = 0;
    truth ref = {s,
                 r.target,
                 widen(r.h, s.T * s.C),
                 widen(r.w, s.V * s.C),
                 (double)scale,
                 (double)cap,
                 &hits};
    const double want = total(&ref) / (double)scale;

    ref.hits = NULL;
    r.loss = (ql_loss){.sum = 10, .count = 20, .hits = 30};
    run_capped(&r, s, scale, cap, true);
    assert_true(fabs(r.loss.sum - 10 - want) <= slack(1e-6) * want);
    assert_int_equal(r.loss.count - 20, s.T - (s.T + 1) / 3);
    assert_int_equal(r.loss.hits - 30, hits);
    for (size_t i = 0; i < s.T * s.C; i++) {
        assert_true(r.target[i / s.C] >= 0 || r.dh[i] == 0);
    }
    if (s.T * s.V * s.C < 100000) {
        check_slope(r.dh, ref.h, s.T * s.C, total, &ref, 2e-6, "dh");
    }
    free(ref.h);
    free(ref.w);
    run_close(&r, s);
}

static void check_shape(shape s, float scale)
{
    check_capped(s, scale, 0);
}

static void loss__agrees_with_double(void **state)
{
    (void)state;
    check_shape((shape){1, 7, 5}, 1);
    check_shape((shape){3, 50, 64}, 0.5F);
    check_shape((shape){7, 100, 100}, 0.25F);
    check_shape((shape){65, 130, 5}, 0.125F);
    check_shape((shape){130, 64, 8}, 0.01F);
}

/* Caps that bend much and little. */
static void loss__goes_through_a_soft_cap(void **state)
{
    (void)state;
    check_capped((shape){3, 50, 64}, 0.5F, 2);
    check_capped((shape){7, 600, 100}, 0.25F, 30);
    check_capped((shape){65, 1100, 5}, 0.125F, 0.5F);
}

/* More positions than a chunk holds; more logits than a slice of them. */
static void loss__runs_in_chunks_and_slices(void **state)
{
    (void)state;
    check_shape((shape){1000, 11, 5}, 0.01F);
    check_shape((shape){150, 30001, 5}, 0.01F);
    check_shape((shape){6, 4097, 3}, 0.1F);
    check_shape((shape){3, 9001, 3}, 0.1F);
    check_capped((shape){3, 9001, 3}, 0.1F, 1);
}

/* The gradient in double, and that of w in dw, unless it is NULL. Owned:
 * free. */
static double *gradient_of(const run *r, shape s, double scale, double *dw)
{
    double *dh = calloc(s.T * s.C, sizeof(*dh));
    double *p = malloc(s.V * sizeof(*p));

    assert_true(dh && p);
    for (size_t t = 0; t < s.T; t++) {
        const size_t aim = (size_t)r->target[t];
        double largest = -HUGE_VAL;
        double rest = 0; /* of the sum, but for the target */

        for (size_t v = 0; v < s.V; v++) {
            p[v] = 0;
            for (size_t c = 0; c < s.C; c++) {
                p[v] += (double)r->h[t * s.C + c] * (double)r->w[v * s.C + c];
            }
            largest = fmax(largest, p[v]);
        }
        for (size_t v = 0; v < s.V; v++) {
            p[v] = exp(p[v] - largest);
            rest += v == aim ? 0 : p[v];
        }
        for (size_t v = 0; v < s.V; v++) {
            const double by = (v == aim ? -rest : p[v]) / (rest + p[aim]);

            for (size_t c = 0; c < s.C; c++) {
                dh[t * s.C + c] += scale * by * (double)r->w[v * s.C + c];
                if (dw) {
                    dw[v * s.C + c] += scale * by * (double)r->h[t * s.C + c];
                }
            }
        }
    }
    free(p);
    return dh;
}

/* Logits that rise or fall with their number by so much; all targets are the
 * given one. */
static void check_ramp(double rise, size_t target, double tolerance)
{
    const shape s = {4, 9001, 7};
    run r = run_inputs(s);
    double *want;

    for (size_t v = 0; v < s.V; v++) {
        r.w[v * s.C] = (float)(rise * (double)v / (double)s.V);
    }
    for (size_t t = 0; t < s.T; t++) {
        r.h[t * s.C] = 1;
        r.target[t] = (int32_t)target;
    }
    want = gradient_of(&r, s, 0.25, NULL);
    run_loss(&r, s, 0.25F, true);
    check_near(r.dh, want, s.T * s.C, tolerance, "dh");
    free(want);
    run_close(&r, s);
}

static void loss__of_logits_that_rise_and_fall(void **state)
{
    (void)state;
    check_ramp(60, 100, 1e-5);
    check_ramp(-60, 100, 1e-5);
    check_ramp(60, 8999, 1e-5);
}

/* One target so likely that softmax - 1 is below the rounding of 1. */
static void loss__of_the_certain_has_a_gradient(void **state)
{
    const shape s = {3, 5000, 8};
    run r = run_inputs(s);
    double *want;

    (void)state;
    for (size_t t = 0; t < s.T; t++) {
        r.target[t] = 4321;
        r.h[t * s.C] = 1;
    }
    r.w[4321 * s.C] = 35;
    want = gradient_of(&r, s, 1, NULL);
    run_loss(&r, s, 1, true);
    assert_true(fabs(want[0]) < 1e-8);
    check_near(r.dh, want, s.T * s.C, 1e-5, "dh");
    assert_true(r.loss.sum > 0 && r.loss.sum < 1e-7);
    free(want);
    run_close(&r, s);
}

/* dB = s dW A^T and dA = s B^T dW. */
static void check_pair(const float *da, const float *db, const double *dw,
                       const float *a, const float *b, shape s, size_t r,
                       double by)
{
    double *want_a = calloc(r * s.C, sizeof(*want_a));
    double *want_b = calloc(s.V * r, sizeof(*want_b));

    assert_true(want_a && want_b);
    for (size_t v = 0; v < s.V; v++) {
        for (size_t k = 0; k < r; k++) {
            for (size_t c = 0; c < s.C; c++) {
                const double g = by * dw[v * s.C + c];

                want_b[v * r + k] += g * (double)a[k * s.C + c];
                want_a[k * s.C + c] += g * (double)b[v * r + k];
            }
        }
    }
    check_near(da, want_a, r * s.C, 1e-5, "da");
    check_near(db, want_b, s.V * r, 1e-5, "db");
    free(want_a);
    free(want_b);
}

/* A head with a pair is one of the sum of both. */
static void loss__trains_a_pair_of_the_head(void **state)
{
    enum {
        R = 3
    };
    const shape s = {6, 4500, 5};
    const float by = 0.5F;
    run r = run_inputs(s);
    float *a = room_fill(R * s.C, 3);
    float *b = room_fill(s.V * R, 4);
    float *da = room_open(R * s.C);
    float *db = room_open(s.V * R);
    double *dw = calloc(s.V * s.C, sizeof(*dw));
    double *want;

    (void)state;
    assert_non_null(dw);
    memset(da, 0, R * s.C * sizeof *da);
    memset(db, 0, s.V * R * sizeof *db);
    for (size_t t = 0; t < s.T; t++) {
        r.target[t] = (int32_t)(800 * t);
    }
    r.head.lora = (ql_lora){R, by, a, b, da, db};
    run_loss(&r, s, 0.25F, true);
    for (size_t v = 0; v < s.V; v++) { /* what gradient_of shall see */
        for (size_t c = 0; c < s.C; c++) {
            for (size_t k = 0; k < R; k++) {
                r.w[v * s.C + c] += by * b[v * R + k] * a[k * s.C + c];
            }
        }
    }
    want = gradient_of(&r, s, 0.25, dw);
    check_near(r.dh, want, s.T * s.C, 1e-5, "dh");
    free(want);
    check_pair(da, db, dw, a, b, s, R, (double)by);
    free(dw);
    room_close(a, R * s.C);
    room_close(b, s.V * R);
    room_close(da, R * s.C);
    room_close(db, s.V * R);
    run_close(&r, s);
}

/* What a vocabulary of 262144 takes is no more than one of 16384 does. */
static void loss__work_does_not_grow_with_the_vocabulary(void **state)
{
    const ql_linear heads[] = {{.w = {.rows = 16384, .cols = 640}},
                               {.w = {.rows = 262144, .cols = 640}}};
    const size_t small = ql_loss_work_bytes(&heads[0], 1024);

    (void)state;
    assert_true(ql_loss_work_bytes(&heads[1], 1024) <= small);
    assert_true(small < (size_t)32 << 20);
}

/* The same rows give the same gradients wherever the chunks are cut. */
static void loss__gradient_is_right_in_every_chunk(void **state)
{
    const shape s = {1000, 11, 5};
    run r = run_inputs(s);

    (void)state;
    run_loss(&r, s, 1, true);
    for (size_t t = 0; t < s.T; t++) {
        run one = run_inputs((shape){1, s.V, s.C});

        memcpy(one.h, r.h + t * s.C, s.C * sizeof *r.h);
        one.target[0] = r.target[t];
        run_loss(&one, (shape){1, s.V, s.C}, 1, true);
        for (size_t c = 0; c < s.C; c++) {
            assert_true(fabsf(one.dh[c] - r.dh[t * s.C + c]) <= 1e-6F);
        }
        run_close(&one, (shape){1, s.V, s.C});
    }
    run_close(&r, s);
}

static void loss__counts_without_a_gradient(void **state)
{
    const shape s = {65, 130, 5};
    run r = run_inputs(s);
    ql_loss with;

    (void)state;
    run_loss(&r, s, 1, true);
    with = r.loss;
    r.loss = (ql_loss){0};
    run_loss(&r, s, 1, false);
    assert_true(r.loss.sum == with.sum);
    assert_int_equal(r.loss.count, with.count);
    assert_int_equal(r.loss.hits, with.hits);
    run_close(&r, s);
}

static void loss__takes_a_batch_without_targets(void **state)
{
    const shape s = {7, 11, 5};
    run r = run_inputs(s);

    (void)state;
    for (size_t t = 0; t < s.T; t++) {
        r.target[t] = -1;
    }
    run_loss(&r, s, 1, true);
    assert_true(r.loss.sum == 0);
    assert_int_equal(r.loss.count, 0);
    for (size_t i = 0; i < s.T * s.C; i++) {
        assert_true(r.dh[i] == 0);
    }
    run_close(&r, s);
}

static void loss__shows_nan_and_inf(void **state)
{
    const shape s = {3, 11, 5};
    const float bad[] = {NAN, INFINITY, -INFINITY};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        run r = run_inputs(s);

        r.h[2] = bad[i];
        run_loss(&r, s, 1, true);
        assert_false(isfinite(r.loss.sum));
        run_close(&r, s);
    }
}

static void loss__does_not_depend_on_threads(void **state)
{
    const shape s = {150, 30001, 5};
    run first = run_inputs(s);

    (void)state;
    omp_set_num_threads(1);
    run_loss(&first, s, 1, true);
    for (int threads = 2; threads <= 3; threads++) {
        run r = run_inputs(s);

        omp_set_num_threads(threads);
        run_loss(&r, s, 1, true);
        assert_true(r.loss.sum == first.loss.sum);
        check_same(r.dh, first.dh, s.T * s.C, "dh");
        run_close(&r, s);
    }
    run_close(&first, s);
}

/* A head that is trained: its formula in double, with magnitudes or not. */
typedef struct head_truth {
    shape s;
    size_t r;
    const int32_t *target;
    double *h, *w, *a, *b, *gain; /* a NULL: no pair; gain NULL: no DoRA */
    double scale, cap;
} head_truth;

static double head_logit(const head_truth *r, size_t t, size_t v)
{
    const size_t C = r->s.C;
    double z = 0;

    for (size_t c = 0; c < C; c++) {
        double w = r->w[v * C + c];

        for (size_t i = 0; r->a && i < r->r; i++) {
            w += 0.5 * r->b[v * r->r + i] * r->a[i * C + c];
        }
        z += r->h[t * C + c] * w;
    }
    z *= r->gain ? r->gain[v] : 1;
    return r->cap > 0 ? r->cap * tanh(z / r->cap) : z;
}

static double head_total(const void *ctx)
{
    const head_truth *r = ctx;
    double sum = 0;

    for (size_t t = 0; t < r->s.T; t++) {
        double all = 0;

        for (size_t v = 0; r->target[t] >= 0 && v < r->s.V; v++) {
            all += exp(head_logit(r, t, v));
        }
        sum += r->target[t] >= 0
                   ? log(all) - head_logit(r, t, (size_t)r->target[t])
                   : 0;
    }
    return sum * r->scale;
}

/* What a head is trained by. */
typedef enum way {
    PAIR,
    SCALED,
    WHOLE
} way;

static float *zeros(size_t n)
{
    float *x = room_open(n);

    memset(x, 0, n * sizeof *x);
    return x;
}

static void check_head(shape s, way how, float cap)
{
    enum {
        R = 3
    };
    run r = run_inputs(s);
    float *a = room_fill(R * s.C, 10);
    float *b = room_fill(s.V * R, 11);
    float *m = room_fill(s.V, 12);
    float *gain = room_fill(2 * s.V, 13);
    float *da = zeros(R * s.C);
    float *db = zeros(s.V * R);
    float *dm = zeros(s.V);
    float *dw = zeros(s.V * s.C);
    head_truth ref = {
        .s = s, .r = R, .target = r.target, .scale = 0.5, .cap = (double)cap};
    const double close = 1e-5;
    double want;

    if (how == WHOLE) {
        r.head.trained = true;
        r.head.dw = dw;
    } else {
        r.head.lora = (ql_lora){R, 0.5F, a, b, da, db};
    }
    for (size_t v = 0; v < s.V; v++) {
        gain[v] += 2;
        gain[s.V + v] = gain[v] / m[v];
    }
    if (how == SCALED) {
        r.head.dora =
            (ql_dora){.m = m, .dm = dm, .gain = gain, .inverse = gain + s.V};
    }
    ref.h = widen(r.h, s.T * s.C);
    ref.w = widen(r.w, s.V * s.C);
    ref.a = how == WHOLE ? NULL : widen(a, R * s.C);
    ref.b = widen(b, s.V * R);
    ref.gain = how == SCALED ? widen(gain, s.V) : NULL;
    run_capped(&r, s, 0.5F, cap, true);
    want = head_total(&ref) / ref.scale;
    assert_true(fabs(r.loss.sum - want) <= slack(1e-6) * want);
    check_slope(r.dh, ref.h, s.T * s.C, head_total, &ref, close, "dh");
    if (how == WHOLE) {
        check_slope(dw, ref.w, s.V * s.C, head_total, &ref, close, "dW");
    } else {
        check_slope(da, ref.a, R * s.C, head_total, &ref, close, "dA");
        check_slope(db, ref.b, s.V * R, head_total, &ref, close, "dB");
    }
    if (how == SCALED) {
        for (size_t v = 0; v < s.V; v++) {
            dm[v] *= m[v] / gain[v]; /* by the gain, of which m is a factor */
        }
        check_slope(dm, ref.gain, s.V, head_total, &ref, close, "dm");
    }
    free(ref.h);
    free(ref.w);
    free(ref.a);
    free(ref.b);
    free(ref.gain);
    room_close(a, R * s.C);
    room_close(b, s.V * R);
    room_close(m, s.V);
    room_close(gain, 2 * s.V);
    room_close(da, R * s.C);
    room_close(db, s.V * R);
    room_close(dm, s.V);
    room_close(dw, s.V * s.C);
    run_close(&r, s);
}

/* One slice of the vocabulary, and several. */
static void loss__trains_its_head(void **state)
{
    (void)state;
    for (int how = PAIR; how <= WHOLE; how++) {
        check_head((shape){9, 50, 20}, (way)how, 0);
        check_head((shape){9, 50, 20}, (way)how, 2);
        check_head((shape){4, 4500, 5}, (way)how, 0);
        check_head((shape){3, 8200, 3}, (way)how, 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss__agrees_with_double),
        cmocka_unit_test(loss__goes_through_a_soft_cap),
        cmocka_unit_test(loss__runs_in_chunks_and_slices),
        cmocka_unit_test(loss__of_logits_that_rise_and_fall),
        cmocka_unit_test(loss__of_the_certain_has_a_gradient),
        cmocka_unit_test(loss__trains_a_pair_of_the_head),
        cmocka_unit_test(loss__work_does_not_grow_with_the_vocabulary),
        cmocka_unit_test(loss__gradient_is_right_in_every_chunk),
        cmocka_unit_test(loss__trains_its_head),
        cmocka_unit_test(loss__counts_without_a_gradient),
        cmocka_unit_test(loss__takes_a_batch_without_targets),
        cmocka_unit_test(loss__shows_nan_and_inf),
        cmocka_unit_test(loss__does_not_depend_on_threads),
    };

    ql_gemm_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
