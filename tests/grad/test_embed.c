/* The embedding with a LoRA pair, with DoRA or without, or trained whole,
 * against its formula in double. Norms are taken as given numbers, as PEFT
 * takes them. */
#include "src/op/embed.h"

#include "quant/half.h"
#include "src/op/dora.h"
#include "src/op/gemm.h"
#include "tests/grad/grad.h"

typedef struct shape {
    size_t T, V, C, R;
    float scale;
    bool whole, dora;
} shape;

static const shape shapes[] = {
    {1, 3, 5, 0, 1, false, false},   {7, 11, 20, 3, 1, false, false},
    {65, 7, 33, 4, 3, false, false}, {130, 100, 65, 2, 0.5F, false, false},
    {9, 11, 20, 0, 2, true, false},  {130, 5, 70, 0, 1, true, false},
    {1, 3, 5, 1, 1, false, true},    {7, 11, 20, 3, 1, false, true},
    {65, 7, 33, 4, 3, false, true},  {130, 100, 65, 2, 0.5F, false, true},
};

/* All arrays of one call. */
typedef struct lookup {
    shape s;
    ql_embedding e;
    int32_t *ids;
    float *w, *a, *b, *da, *db, *dw, *y, *dy;
    float *m, *dm, *gains; /* gains: [3, C] */
    void *work;
} lookup;

static void run(lookup *l)
{
    const shape s = l->s;

    ql_embed_fwd(l->y, l->ids, &l->e, s.T, l->work);
    ql_embed_bwd(l->dy, l->ids, &l->e, s.T, l->work);
}

/* Magnitudes around 3, and their factors. */
static void add_magnitudes(lookup *l)
{
    const size_t C = l->s.C;
    ql_linear lin;
    void *work;

    for (size_t c = 0; c < C; c++) {
        l->m[c] += 3;
    }
    l->e.dora = (ql_dora){.across = true,
                          .m = l->m,
                          .dm = l->dm,
                          .gain = l->gains,
                          .inverse = l->gains + C,
                          .base = l->gains + 2 * C};
    lin = ql_embed_linear(&l->e);
    work = aligned_alloc(64, (ql_dora_work_bytes(&lin) + 63) / 64 * 64);
    ql_dora_prepare(&lin);
    ql_dora_refresh(&lin, work);
    free(work);
}

/* Ids repeat: gradients of a row add up. */
static lookup lookup_open(shape s)
{
    lookup l = {.s = s,
                .ids = malloc(s.T * sizeof(int32_t)),
                .w = room_fill(s.V * s.C, 1),
                .a = room_fill(s.R * s.V, 2),
                .b = room_fill(s.C * s.R, 3),
                .da = room_fill(s.R * s.V, 4),
                .db = room_fill(s.C * s.R, 5),
                .dw = room_fill(s.V * s.C, 6),
                .y = room_open(s.T * s.C),
                .dy = room_fill(s.T * s.C, 7),
                .m = room_fill(s.C, 8),
                .dm = room_fill(s.C, 9),
                .gains = room_open(3 * s.C)};

    for (size_t t = 0; t < s.T; t++) {
        l.ids[t] = (int32_t)(t * t % s.V);
    }
    l.e = (ql_embedding){.w = ql_qtensor_dense(l.w, s.V, s.C),
                         .scale = s.scale,
                         .dw = s.whole ? l.dw : NULL};
    if (s.R > 0) {
        l.e.lora = (ql_lora){.r = s.R,
                             .scale = 0.75F,
                             .a = l.a,
                             .b = l.b,
                             .da = l.da,
                             .db = l.db};
    }
    if (s.dora) {
        add_magnitudes(&l);
    }
    l.work =
        aligned_alloc(64, (ql_embed_work_bytes(&l.e, s.T) + 127) / 64 * 64);
    run(&l);
    return l;
}

static void lookup_close(lookup *l)
{
    const shape s = l->s;

    free(l->ids);
    free(l->work);
    room_close(l->w, s.V * s.C);
    room_close(l->a, s.R * s.V);
    room_close(l->b, s.C * s.R);
    room_close(l->da, s.R * s.V);
    room_close(l->db, s.C * s.R);
    room_close(l->dw, s.V * s.C);
    room_close(l->y, s.T * s.C);
    room_close(l->dy, s.T * s.C);
    room_close(l->m, s.C);
    room_close(l->dm, s.C);
    room_close(l->gains, 3 * s.C);
}

typedef struct truth {
    const lookup *l;
    double *w, *a, *b;
    double *m, *norm; /* of columns of W + s A^T B^T */
} truth;

static double weight(const truth *r, size_t id, size_t c)
{
    const shape s = r->l->s;
    double sum = r->w[id * s.C + c];

    for (size_t i = 0; i < s.R; i++) {
        sum += 0.75 * r->a[i * s.V + id] * r->b[c * s.R + i];
    }
    return sum;
}

static double value(const truth *r, size_t t, size_t c)
{
    const double w = weight(r, (size_t)r->l->ids[t], c);

    return (double)r->l->s.scale * w *
           (r->l->s.dora ? r->m[c] / r->norm[c] : 1);
}

static double weighed(const void *ctx)
{
    const truth *r = ctx;
    double sum = 0;

    for (size_t i = 0; i < r->l->s.T * r->l->s.C; i++) {
        sum += (double)r->l->dy[i] * value(r, i / r->l->s.C, i % r->l->s.C);
    }
    return sum;
}

static void take_norms(truth *r)
{
    for (size_t c = 0; c < r->l->s.C; c++) {
        double sum = 0;

        for (size_t v = 0; v < r->l->s.V; v++) {
            sum += weight(r, v, c) * weight(r, v, c);
        }
        r->norm[c] = sqrt(sum);
    }
}

static void check_shape(shape s)
{
    lookup l = lookup_open(s);
    truth r = {.l = &l,
               .w = widen(l.w, s.V * s.C),
               .a = widen(l.a, s.R * s.V),
               .b = widen(l.b, s.C * s.R),
               .m = widen(l.m, s.C),
               .norm = malloc(s.C * sizeof(double))};
    double *y = malloc(s.T * s.C * sizeof(double));

    take_norms(&r);
    for (size_t i = 0; i < s.T * s.C; i++) {
        y[i] = value(&r, i / s.C, i % s.C);
    }
    check_near(l.y, y, s.T * s.C, 1e-6, "y");
    assert_int_equal(ql_embed_trained(&l.e), s.whole || s.R > 0);
    take_off(l.da, s.R * s.V, 4);
    take_off(l.db, s.C * s.R, 5);
    take_off(l.dw, s.V * s.C, 6);
    take_off(l.dm, s.C, 9);
    if (s.R > 0) {
        check_slope(l.da, r.a, s.R * s.V, weighed, &r, 1e-5, "dA");
        check_slope(l.db, r.b, s.C * s.R, weighed, &r, 1e-5, "dB");
    }
    if (s.dora) {
        check_slope(l.dm, r.m, s.C, weighed, &r, 1e-5, "dm");
    }
    if (s.whole) {
        check_slope(l.dw, r.w, s.V * s.C, weighed, &r, 1e-5, "dW");
    }
    free(y);
    free(r.w);
    free(r.a);
    free(r.b);
    free(r.m);
    free(r.norm);
    lookup_close(&l);
}

static void embed__agrees_with_double(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_shape(shapes[i]);
    }
}

static void embed__does_not_depend_on_threads(void **state)
{
    static const shape all[] = {{300, 50, 65, 5, 2, false, false},
                                {300, 50, 65, 0, 2, true, false},
                                {300, 50, 65, 5, 2, false, true}};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const shape s = all[i];
        lookup first;

        omp_set_num_threads(1);
        first = lookup_open(s);
        for (int threads = 2; threads <= 3; threads++) {
            lookup l;

            omp_set_num_threads(threads);
            l = lookup_open(s);
            check_same(l.y, first.y, s.T * s.C, "y");
            check_same(l.da, first.da, s.R * s.V, "dA");
            check_same(l.db, first.db, s.C * s.R, "dB");
            check_same(l.dw, first.dw, s.V * s.C, "dW");
            check_same(l.dm, first.dm, s.C, "dm");
            lookup_close(&l);
        }
        lookup_close(&first);
    }
}

/* Fails unless dw16 [V, C] is what it was, base, and the sum of dy over the
 * tokens of each row, but for one rounding: relative to the row's largest. */
static void check_half(const lookup *l, const uint16_t *dw16, float base)
{
    const shape s = l->s;
    double *want = malloc(s.V * s.C * sizeof *want);

    for (size_t i = 0; i < s.V * s.C; i++) {
        want[i] = (double)base;
    }
    for (size_t i = 0; i < s.T * s.C; i++) {
        const size_t at = (size_t)l->ids[i / s.C] * s.C + i % s.C;

        want[at] += (double)s.scale * (double)l->dy[i];
    }
    for (size_t v = 0; v < s.V; v++) {
        double largest = 0;

        for (size_t c = 0; c < s.C; c++) {
            largest = fmax(largest, fabs(want[v * s.C + c]));
        }
        for (size_t i = v * s.C; i < (v + 1) * s.C; i++) {
            assert_true(fabs((double)ql_bf16_to_f32(dw16[i]) - want[i]) <=
                        0x1p-8 * largest);
        }
    }
    free(want);
}

/* One token occurs 1000 times, scattered among others; ids have one and three
 * digits to sort by; gradients of equal sign, which get lost one by one. */
static void embed__rounds_sums_to_bf16_once(void **state)
{
    static const shape shapes16[] = {{1500, 2, 70, 0, 1, true, false},
                                     {1500, 200, 70, 0, 2, true, false},
                                     {1500, 70000, 3, 0, 1, true, false}};

    (void)state;
    for (size_t i = 0; i < sizeof shapes16 / sizeof *shapes16; i++) {
        const shape s = shapes16[i];
        const size_t n = s.V * s.C;
        lookup l = lookup_open(s);
        uint16_t *dw16[2];

        for (size_t t = 0; t < s.T; t++) {
            l.ids[t] = (int32_t)(t % 3 < 2 ? s.V - 1 : t * 7919 % s.V);
        }
        for (size_t j = 0; j < s.T * s.C; j++) {
            l.dy[j] = 1 + 0.5F * l.dy[j];
        }
        l.e.dw = NULL;
        for (int k = 0; k < 2; k++) {
            dw16[k] = malloc((n + 1) * sizeof(uint16_t));
            for (size_t j = 0; j <= n; j++) {
                dw16[k][j] = ql_f32_to_bf16(3);
            }
            l.e.dw16 = dw16[k];
            omp_set_num_threads(1 + 2 * k);
            ql_embed_bwd(l.dy, l.ids, &l.e, s.T, l.work);
        }
        check_half(&l, dw16[0], 3);
        assert_true(ql_bf16_to_f32(dw16[0][n]) == 3);
        assert_memory_equal(dw16[0], dw16[1], n * sizeof(uint16_t));
        free(dw16[0]);
        free(dw16[1]);
        lookup_close(&l);
    }
}

static void embed__adds_positions(void **state)
{
    enum {
        T = 5,
        C = 600
    };
    const uint32_t pos[T] = {0, 1, 2, 0, 2};
    float *w = room_fill(3 * C, 1);
    float *y = room_fill(T * C, 2);
    float *before = room_fill(T * C, 2);
    const ql_qtensor view = ql_qtensor_dense(w, 3, C);

    (void)state;
    ql_embed_add(y, pos, &view, T);
    for (size_t i = 0; i < T * C; i++) {
        assert_true(y[i] == before[i] + w[pos[i / C] * C + i % C]);
    }
    room_close(w, 3 * C);
    room_close(y, T * C);
    room_close(before, T * C);
}

/* Within its bound, near enough to it, about as often above 0 as below, and
 * other noise by another key. */
static void noise__is_uniform_within_its_bound(void **state)
{
    enum {
        C = 48,
        T = 90
    };
    static const size_t start[] = {0, 1, 26, T};
    float *y = room_open(T * C);
    float *z = room_open(T * C);

    (void)state;
    memset(y, 0, T * C * sizeof *y);
    memset(z, 0, T * C * sizeof *z);
    ql_embed_noise(y, start, 3, C, 5, 1);
    ql_embed_noise(z, start, 3, C, 5, 2);
    for (size_t s = 0; s < 3; s++) {
        const size_t n = (start[s + 1] - start[s]) * C;
        const double bound = 5 / sqrt((double)n);
        double largest = 0;
        double squares = 0;
        double both = 0;

        for (size_t i = start[s] * C; i < start[s + 1] * C; i++) {
            largest = fmax(largest, fabs((double)y[i]));
            squares += (double)y[i] * (double)y[i];
            both += (double)y[i] * (double)z[i];
        }
        assert_true(largest <= bound * (1 + 1e-6) && largest > 0.8 * bound);
        assert_true(fabs(squares / (25.0 / 3) - 1) < 2 / sqrt((double)n));
        assert_true(fabs(both) < 25.0 / 3 * 4 / sqrt((double)n));
    }
    room_close(y, T * C);
    room_close(z, T * C);
}

static void noise__does_not_depend_on_threads(void **state)
{
    static const size_t start[] = {0, 300};
    float *y[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        omp_set_num_threads(1 + 2 * i);
        y[i] = room_fill(300 * 65, 3);
        ql_embed_noise(y[i], start, 1, 65, 7, 9);
    }
    check_same(y[0], y[1], 300 * 65, "y");
    room_close(y[0], 300 * 65);
    room_close(y[1], 300 * 65);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embed__agrees_with_double),
        cmocka_unit_test(embed__does_not_depend_on_threads),
        cmocka_unit_test(embed__rounds_sums_to_bf16_once),
        cmocka_unit_test(embed__adds_positions),
        cmocka_unit_test(noise__is_uniform_within_its_bound),
        cmocka_unit_test(noise__does_not_depend_on_threads),
    };

    ql_gemm_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
