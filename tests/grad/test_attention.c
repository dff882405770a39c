/* Attention against the plain formula in double, every element of the outputs
 * and of the gradients; the gradients in double against central differences
 * by way of ours. */
#include "src/op/attention.h"

#include "src/op/gemm.h"
#include "tests/grad/grad.h"

static const size_t start[] = {0, 1, 3, 66, 130, 195, 324};

/* So many that all heads of a sequence that share keys go back together. */
static const size_t many[] = {0, 140, 280, 420, 560, 700, 840, 980, 1120, 1260};

enum {
    SEQUENCES = sizeof start / sizeof *start - 1,
    TOKENS = 324,
    MANY = sizeof many / sizeof *many - 1,
    MOST = 1260 /* tokens */
};

typedef struct truth {
    ql_attention_shape s;
    double *q, *k, *v, *dout;       /* inputs */
    double *o, *lse, *dq, *dk, *dv; /* outputs */
} truth;

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

static void add(double *y, double a, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] += a * x[i];
    }
}

/* Score of a query and a key, and its slope by their product. */
static double score(const truth *r, const double *q, const double *k,
                    double *slope)
{
    const double scale = (double)r->s.scale;
    const double cap = (double)r->s.softcap;
    const double s = scale * dot(q, k, r->s.D);

    *slope = scale;
    if (cap == 0) {
        return s;
    }
    *slope /= cosh(s / cap) * cosh(s / cap);
    return cap * tanh(s / cap);
}

/* Query i of head h, in a sequence from first up to end; with gradients if
 * dq. */
static void one_query(const truth *r, size_t first, size_t end, size_t i,
                      size_t h)
{
    const size_t D = r->s.D;
    const size_t kv = h / (r->s.H / r->s.KV);
    const double *q = r->q + (i * r->s.H + h) * D;
    const double *dout = r->dout + (i * r->s.H + h) * D;
    double *o = r->o + (i * r->s.H + h) * D;
    double p[MOST];
    double slope[MOST];
    double sum = 0;
    double delta;

    if (!r->s.both_ways) {
        end = i + 1;
        while (r->s.window > 0 && first + r->s.window < end) {
            first++;
        }
    }
    memset(o, 0, D * sizeof *o);
    for (size_t j = first; j < end; j++) {
        p[j] = exp(score(r, q, r->k + (j * r->s.KV + kv) * D, &slope[j]));
        sum += p[j];
    }
    r->lse[i * r->s.H + h] = log(sum);
    for (size_t j = first; j < end; j++) {
        p[j] /= sum;
        add(o, p[j], r->v + (j * r->s.KV + kv) * D, D);
    }
    if (!r->dq) {
        return;
    }
    delta = dot(dout, o, D);
    for (size_t j = first; j < end; j++) {
        const size_t at = (j * r->s.KV + kv) * D;
        const double ds = slope[j] * p[j] * (dot(dout, r->v + at, D) - delta);

        add(r->dv + at, p[j], dout, D);
        add(r->dq + (i * r->s.H + h) * D, ds, r->k + at, D);
        add(r->dk + at, ds, q, D);
    }
}

static void plain(const truth *r)
{
    for (size_t n = 0; n < r->s.sequences; n++) {
        for (size_t i = r->s.start[n]; i < r->s.start[n + 1]; i++) {
            for (size_t h = 0; h < r->s.H; h++) {
                one_query(r, r->s.start[n], r->s.start[n + 1], i, h);
            }
        }
    }
}

static double weighed(const void *ctx)
{
    truth r = *(const truth *)ctx;

    r.dq = NULL;
    plain(&r);
    return dot(r.o, r.dout, r.s.T * r.s.H * r.s.D);
}

/* Inputs and outputs of one run, in the order of sizes below. */
enum {
    Q,
    DOUT,
    K,
    VALUE,
    O,
    DQ,
    DK,
    DV,
    LSE,
    ROOMS
};

static size_t room_size(const ql_attention_shape *s, int room)
{
    switch (room) {
    case Q:
    case DOUT:
    case O:
    case DQ:
        return s->T * s->H * s->D;
    case LSE:
        return s->T * s->H;
    default:
        return s->T * s->KV * s->D;
    }
}

/* Both directions, from the inputs that are there. */
static void run(float **room, const ql_attention_shape *s)
{
    const size_t n = ql_attention_work_bytes(s) / sizeof(float);
    float *work = room_open(n);

    ql_attention_fwd(room[O], room[LSE], room[Q], room[K], room[VALUE], s,
                     work);
    ql_attention_bwd(room[DQ], room[DK], room[DV], room[DOUT],
                     &(ql_attention_kept){.o = room[O],
                                          .lse = room[LSE],
                                          .q = room[Q],
                                          .k = room[K],
                                          .v = room[VALUE]},
                     s, work);
    room_close(work, n);
}

static void rooms_open(float **room, const ql_attention_shape *s, float spread)
{
    for (int i = 0; i < ROOMS; i++) {
        const size_t size = room_size(s, i);

        room[i] = i < O ? room_fill(size, (uint64_t)i) : room_open(size);
        for (size_t j = 0; i < O && j < size; j++) {
            room[i][j] *= spread;
        }
    }
}

static void run_open(float **room, const ql_attention_shape *s, float spread)
{
    rooms_open(room, s, spread);
    run(room, s);
}

static void run_close(float **room, const ql_attention_shape *s)
{
    for (int i = 0; i < ROOMS; i++) {
        room_close(room[i], room_size(s, i));
    }
}

static truth truth_open(float **room, const ql_attention_shape *s)
{
    const size_t n = room_size(s, Q);
    const size_t m = room_size(s, K);
    truth r = {.s = *s,
               .q = widen(room[Q], n),
               .k = widen(room[K], m),
               .v = widen(room[VALUE], m),
               .dout = widen(room[DOUT], n),
               .o = malloc(n * sizeof(double)),
               .lse = malloc(room_size(s, LSE) * sizeof(double)),
               .dq = calloc(n, sizeof(double)),
               .dk = calloc(m, sizeof(double)),
               .dv = calloc(m, sizeof(double))};

    assert_true(r.o && r.lse && r.dq && r.dk && r.dv);
    plain(&r);
    return r;
}

static void truth_close(truth *r)
{
    free(r->q);
    free(r->k);
    free(r->v);
    free(r->dout);
    free(r->o);
    free(r->lse);
    free(r->dq);
    free(r->dk);
    free(r->dv);
}

static void check_run(const ql_attention_shape *s, float spread, double allowed)
{
    float *room[ROOMS];
    truth r;

    run_open(room, s, spread);
    r = truth_open(room, s);
    check_near(room[O], r.o, room_size(s, O), allowed, "o");
    check_close(room[LSE], r.lse, room_size(s, LSE),
                fmax(40 * allowed, (double)(spread * spread) * slack(0)),
                "lse");
    check_near(room[DV], r.dv, room_size(s, DV), allowed, "dv");
    check_near(room[DQ], r.dq, room_size(s, DQ), 4 * allowed, "dq");
    check_near(room[DK], r.dk, room_size(s, DK), 4 * allowed, "dk");
    truth_close(&r);
    run_close(room, s);
}

/* What a query may see, and how scores are capped: every kind by itself and
 * together, windows shorter and longer than blocks and sequences. */
static const struct {
    size_t window;
    float softcap;
    bool both_ways;
} kinds[] = {
    {0, 0, false},     {2, 0, false},   {7, 0, false},    {64, 0, false},
    {100, 0, false},   {128, 0, false}, {0, 1.5F, false}, {0, 30, false},
    {50, 1.5F, false}, {500, 2, false}, {0, 0, true},     {0, 1.5F, true},
};

enum {
    KINDS = sizeof kinds / sizeof *kinds
};

static ql_attention_shape shape_of(size_t kind, size_t H, size_t KV, size_t D)
{
    return (ql_attention_shape){.T = TOKENS,
                                .H = H,
                                .KV = KV,
                                .D = D,
                                .start = start,
                                .sequences = SEQUENCES,
                                .scale = 1 / sqrtf((float)D),
                                .softcap = kinds[kind].softcap,
                                .window = kinds[kind].window,
                                .both_ways = kinds[kind].both_ways};
}

static void attention__of_every_kind_agrees_with_double(void **state)
{
    (void)state;
    for (size_t kind = 1; kind < KINDS; kind++) {
        const ql_attention_shape grouped = shape_of(kind, 4, 2, 20);
        const ql_attention_shape plain = shape_of(kind, 2, 2, 64);

        check_run(&grouped, 1, 5e-7);
        check_run(&grouped, 4, 5e-6);
        check_run(&plain, 2, 1e-6);
    }
}

static void attention__agrees_with_double(void **state)
{
    const size_t heads[][2] = {{1, 1}, {4, 2}, {6, 3}, {3, 1}, {7, 1}};
    const size_t widths[] = {1, 5, 64, 80};

    (void)state;
    for (size_t i = 0; i < 20; i++) {
        const size_t D = widths[i % 4];
        const ql_attention_shape s = {.T = TOKENS,
                                      .H = heads[i / 4][0],
                                      .KV = heads[i / 4][1],
                                      .D = D,
                                      .start = start,
                                      .sequences = SEQUENCES,
                                      .scale = 1 / sqrtf((float)D)};

        check_run(&s, 1, 5e-7);
        check_run(&s, 4, 5e-6); /* peaked rows, scores of some tens */
    }
}

static ql_attention_shape many_of(size_t kind, size_t H, size_t KV, size_t D)
{
    ql_attention_shape s = shape_of(kind, H, KV, D);

    s.T = MOST;
    s.start = many;
    s.sequences = MANY;
    return s;
}

static void attention__of_many_sequences_agrees_with_double(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind += 5) {
        const ql_attention_shape s = many_of(kind, 6, 2, 20);

        check_run(&s, 1, 5e-7);
        check_run(&s, 2, 1e-6);
    }
}

/* Of more than three blocks, with a short one at the end. */
static void attention__of_a_long_sequence_agrees_with_double(void **state)
{
    const size_t ends[] = {0, 413};

    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        ql_attention_shape s = shape_of(kind, 3, 1, 20);

        s.T = ends[1];
        s.start = ends;
        s.sequences = 1;
        check_run(&s, 1, 5e-7);
    }
}

static void attention__gradient_is_the_slope(void **state)
{
    const size_t ends[] = {0, 3, 69, 70};

    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        ql_attention_shape s = shape_of(kind, 4, 2, 5);
        float *room[ROOMS];
        truth r;

        s.T = 70;
        s.start = ends;
        s.sequences = 3;
        run_open(room, &s, 1);
        r = truth_open(room, &s);
        check_slope(room[DQ], r.q, room_size(&s, Q), weighed, &r, 3e-6, "dq");
        check_slope(room[DK], r.k, room_size(&s, K), weighed, &r, 3e-6, "dk");
        check_slope(room[DV], r.v, room_size(&s, K), weighed, &r, 3e-6, "dv");
        truth_close(&r);
        run_close(room, &s);
    }
}

static void attention__does_not_depend_on_threads(void **state)
{
    (void)state;
    for (size_t n = 0; n < 2 * KINDS; n++) {
        const ql_attention_shape s =
            (n < KINDS ? shape_of : many_of)(n % KINDS, 6, 3, 16);
        float *first[ROOMS];
        float *room[ROOMS];

        omp_set_num_threads(1);
        run_open(first, &s, 1);
        for (int threads = 2; threads <= 3; threads++) {
            omp_set_num_threads(threads);
            run_open(room, &s, 1);
            for (int i = O; i < ROOMS; i++) {
                check_same(room[i], first[i], room_size(&s, i), "attention");
            }
            run_close(room, &s);
        }
        run_close(first, &s);
    }
}

/* A window as long as the longest sequence is none, to the bit. */
static void attention__of_a_wide_window_is_the_plain_one(void **state)
{
    ql_attention_shape s = shape_of(0, 4, 2, 16);
    float *plain[ROOMS];
    float *wide[ROOMS];

    (void)state;
    run_open(plain, &s, 1);
    for (size_t i = 0; i < 2; i++) {
        s.window = i == 0 ? 129 : SIZE_MAX;
        run_open(wide, &s, 1);
        for (int j = O; j < ROOMS; j++) {
            assert_memory_equal(wide[j], plain[j],
                                room_size(&s, j) * sizeof(float));
        }
        run_close(wide, &s);
    }
    run_close(plain, &s);
}

/* Queries behind a past have what they have in the whole sequence. */
static void attention__with_a_past_is_the_end_of_the_whole(void **state)
{
    const size_t pasts[] = {1, 5, 63, 128, 699};
    const size_t whole[] = {0, 700};

    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        ql_attention_shape s = shape_of(kind, 4, 2, 20);
        float *all[ROOMS];

        if (s.both_ways) {
            continue;
        }
        s.T = whole[1];
        s.start = whole;
        s.sequences = 1;
        run_open(all, &s, 2);
        for (size_t i = 0; i < 5; i++) {
            const size_t ends[] = {0, s.T - pasts[i]};
            ql_attention_shape late = s;
            const size_t from = pasts[i] * s.H * s.D;
            const size_t size = room_size(&s, O) - from;
            const size_t n = ql_attention_work_bytes(&s) / sizeof(float);
            float *o = room_open(size);
            float *lse = room_open(ends[1] * s.H);
            float *work = room_open(n);
            double *want = widen(all[O] + from, size);

            late.T = ends[1];
            late.start = ends;
            late.past = pasts[i];
            ql_attention_fwd(o, lse, all[Q] + from, all[K], all[VALUE], &late,
                             work);
            check_near(o, want, size, 1e-6, "o behind a past");
            room_close(o, size);
            room_close(lse, ends[1] * s.H);
            room_close(work, n);
            free(want);
        }
        run_close(all, &s);
    }
}

/* Who sees itself only takes its own value, and nothing goes back by scores. */
static void attention__of_one_key_is_its_value(void **state)
{
    ql_attention_shape s = shape_of(0, 2, 2, 16);
    float *room[ROOMS];

    (void)state;
    s.window = 1;
    run_open(room, &s, 1);
    for (size_t i = 0; i < room_size(&s, O); i++) {
        assert_true(fabs((double)(room[O][i] - room[VALUE][i])) <= slack(0));
        assert_true(fabs((double)(room[DV][i] - room[DOUT][i])) <= slack(0));
        assert_true(fabs((double)room[DQ][i]) <= slack(1e-6));
    }
    run_close(room, &s);
}

/* Blocks that nobody sees are not touched: what is NaN there stays there. */
static void attention__skips_what_is_outside_the_window(void **state)
{
    enum {
        LONG = 1000,
        WINDOW = 100,
        BAD = 300,
        BLOCKS = 128 + 128 /* as far as the blocks of a pair reach */
    };
    const size_t ends[] = {0, LONG};
    ql_attention_shape s = shape_of(0, 1, 1, 8);
    float *room[ROOMS];

    (void)state;
    s.T = LONG;
    s.start = ends;
    s.sequences = 1;
    s.window = WINDOW;
    rooms_open(room, &s, 1);
    for (int i = 0; i < O; i++) {
        room[i][BAD * 8] = NAN;
    }
    run(room, &s);
    for (int i = O; i < LSE; i++) {
        for (size_t t = 0; t < LONG; t++) {
            const bool near =
                t + WINDOW + BLOCKS > BAD && t < BAD + 2 * WINDOW + BLOCKS;

            assert_true(near || isfinite(room[i][t * 8]));
        }
        assert_true(isnan(room[i][BAD * 8]));
    }
    run_close(room, &s);
}

static void check_pack(const ql_attention_shape *s)
{
    float *pack[ROOMS];

    run_open(pack, s, 1);
    for (size_t n = 0; n < s->sequences; n++) {
        const size_t first = s->start[n];
        const size_t ends[] = {0, s->start[n + 1] - first};
        ql_attention_shape one = *s;
        float *room[ROOMS];

        one.T = ends[1];
        one.start = ends;
        one.sequences = 1;
        for (int i = 0; i < ROOMS; i++) {
            const size_t size = room_size(&one, i);

            room[i] = room_open(size);
            if (i < O) {
                memcpy(room[i], pack[i] + size / one.T * first,
                       size * sizeof(float));
            }
        }
        run(room, &one);
        for (int i = O; i < ROOMS; i++) {
            const size_t size = room_size(&one, i);

            assert_memory_equal(room[i], pack[i] + size / one.T * first,
                                size * sizeof(float));
        }
        run_close(room, &one);
    }
    run_close(pack, s);
}

/* A sequence among others has the bits that it has alone. */
static void attention__of_a_pack_is_that_of_each_sequence(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        const ql_attention_shape few = shape_of(kind, 4, 2, 20);
        const ql_attention_shape more = many_of(kind, 6, 2, 20);

        check_pack(&few);
        check_pack(&more);
    }
}

/* A sequence sees itself only, whatever stands beside it. */
static void attention__keeps_nan_in_its_sequence(void **state)
{
    const size_t ends[] = {0, 70, 140};
    const ql_attention_shape s = {.T = 140,
                                  .H = 1,
                                  .KV = 1,
                                  .D = 4,
                                  .start = ends,
                                  .sequences = 2,
                                  .scale = 0.5F};
    const size_t n = ql_attention_work_bytes(&s) / sizeof(float);
    float *work = room_open(n);
    float *q = room_fill(140 * 4, 1);
    float *o = room_open(140 * 4);
    float *lse = room_open(140);

    (void)state;
    q[9 * 4] = NAN;
    ql_attention_fwd(o, lse, q, q, q, &s, work);
    assert_true(isnan(lse[9]) && isnan(o[9 * 4]) && isnan(lse[69]));
    for (size_t t = 0; t < 140; t++) {
        assert_int_equal(isnan(lse[t]) != 0, t >= 9 && t < 70);
    }
    room_close(work, n);
    room_close(q, 140 * 4);
    room_close(o, 140 * 4);
    room_close(lse, 140);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention__agrees_with_double),
        cmocka_unit_test(attention__of_every_kind_agrees_with_double),
        cmocka_unit_test(attention__of_many_sequences_agrees_with_double),
        cmocka_unit_test(attention__of_a_long_sequence_agrees_with_double),
        cmocka_unit_test(attention__gradient_is_the_slope),
        cmocka_unit_test(attention__does_not_depend_on_threads),
        cmocka_unit_test(attention__of_a_wide_window_is_the_plain_one),
        cmocka_unit_test(attention__with_a_past_is_the_end_of_the_whole),
        cmocka_unit_test(attention__of_one_key_is_its_value),
        cmocka_unit_test(attention__skips_what_is_outside_the_window),
        cmocka_unit_test(attention__of_a_pack_is_that_of_each_sequence),
        cmocka_unit_test(attention__keeps_nan_in_its_sequence),
    };

    ql_gemm_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
