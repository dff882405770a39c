/* The products in every set that runs here, against three loops in double:
 *
 *   |c - ref| <= (k + 8) u (|A| |B| + |c before|),  u = 2^-24
 *
 * plus what products and sums of denormals may lose; and bit for bit the same
 * with 1, 2 and 3 threads. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/kernels.h"
#include "quant/qgemm.h"
#include "quant/qgemm_ref.h"
#include "src/base/rng.h"
#include "tests/check/check.h"
#include "tests/kernel/qcase.h"

typedef struct shape {
    size_t T, N, K;
} shape;

typedef void product_fn(float *out, const float *in, const ql_qtensor *w,
                        size_t T, bool add, void *work);
typedef void ref_fn(double *out, double *size, const float *in, const float *w,
                    size_t T, size_t N, size_t K);

/* One direction on one matrix. */
typedef struct task {
    product_fn *run;
    ref_fn *ref;
    size_t in_n, out_n, depth; /* floats in and out; terms of each sum */
    const ql_qtensor *w;
    size_t T;
    bool add;
} task;

static void *need(size_t bytes)
{
    void *p = malloc(bytes);

    assert_non_null(p);
    return p;
}

/* Runs with scratch of exactly the size asked for, at any content. */
static void run(const task *t, float *out, const float *in)
{
    const size_t bytes = ql_qgemm_work_bytes(t->T, t->w->rows, t->w->cols);
    const size_t room = (bytes + 63) / 64 * 64 + 64;
    unsigned char *work = aligned_alloc(64, room);

    assert_non_null(work);
    memset(work, 0xff, room);
    t->run(out, in, t->w, t->T, t->add, work);
    for (size_t i = bytes; i < room; i++) {
        assert_int_equal(work[i], 0xff);
    }
    free(work);
}

static void start_out(const task *t, float *out, const float *before)
{
    if (t->add) {
        memcpy(out, before, t->out_n * sizeof(float));
    } else {
        memset(out, 0xff, t->out_n * sizeof(float));
    }
}

static void check_bound(const task *t, const float *out, const float *before,
                        const double *ref, const double *size)
{
    const double k = (double)t->depth + 8;

    for (size_t i = 0; i < t->out_n; i++) {
        const double old = t->add ? (double)before[i] : 0;
        const double want = ref[i] + old;
        const double allowed = k * 0x1p-24 * (size[i] + fabs(old));
        const double off = fabs((double)out[i] - want);

        if (!(off <= allowed + k * 0x1p-149)) {
            fail_msg("%s: T %zu, W [%zu, %zu], storage %d: element %zu is "
                     "%.9g, not %.9g; allowed %.3g, off %.3g",
                     ql_kernels_get()->name, t->T, t->w->rows, t->w->cols,
                     (int)t->w->storage, i, (double)out[i], want, allowed, off);
        }
    }
}

static void check_task(const task *t, const float *w, uint64_t seed)
{
    float *in = guarded_init(t->in_n);
    float *out = guarded_init(t->out_n);
    float *again = guarded_init(t->out_n);
    float *before = need(t->out_n * sizeof(float));
    double *ref = need(t->out_n * sizeof(double));
    double *size = need(t->out_n * sizeof(double));

    check_fill(in, t->in_n, seed);
    check_fill(before, t->out_n, seed + 1);
    t->ref(ref, size, in, w, t->T, t->w->rows, t->w->cols);
    for (int threads = 1; threads <= 3; threads++) {
        float *to = threads == 1 ? out : again;

        omp_set_num_threads(threads);
        start_out(t, to, before);
        run(t, to, in);
        assert_true(guarded_intact(to, t->out_n));
        assert_memory_equal(to, out, t->out_n * sizeof(float));
    }
    check_bound(t, out, before, ref, size);
    assert_true(guarded_intact(in, t->in_n));
    guarded_free(in);
    guarded_free(out);
    guarded_free(again);
    free(before);
    free(ref);
    free(size);
}

/* Both directions on a view of one matrix. */
static void check_shape(shape s, ql_storage storage, qcase_input input,
                        uint64_t seed)
{
    static const size_t blocks[] = {32, 64, 64, 256, 4096};
    const uint64_t key = ql_rng_split(check_seed(), seed);
    const size_t above = ql_rng_below(key, 0, 3);
    const size_t n = s.N * s.K;
    float *dense = need(n * sizeof(float));
    qcase c;

    qcase_init(&c, above + s.N, s.K, ql_rng_below(key, 1, 2), storage,
               blocks[ql_rng_below(key, 2, 5)],
               (ql_round)ql_rng_below(key, 3, 3), input, key);
    const ql_qtensor w = ql_qtensor_rows(&c.w, above, s.N);
    const bool add = ql_rng_below(key, 4, 2) == 1;
    const task fwd = {
        ql_qgemm_fwd, ql_qgemm_fwd_ref, s.T * s.K, s.T * s.N, s.K, &w, s.T,
        add};
    const task bwd = {
        ql_qgemm_bwd, ql_qgemm_bwd_ref, s.T * s.N, s.T * s.K, s.N, &w, s.T,
        add};

    for (size_t i = 0; i < n; i++) {
        dense[i] = qcase_value(&w, i);
    }
    check_task(&fwd, dense, seed);
    check_task(&bwd, dense, seed);
    qcase_free(&c);
    free(dense);
}

/* Edges of every blocking in qgemm.c, and of no blocking at all. */
static const shape edges[] = {
    {1, 1, 1},      {1, 1, 77},     {1, 77, 1},    {77, 1, 1},
    {1, 130, 300},  {2, 64, 64},    {3, 33, 77},   {4, 113, 255},
    {8, 112, 256},  {9, 5, 1000},   {15, 20, 257}, {16, 31, 65},
    {17, 515, 40},  {24, 40, 515},  {31, 48, 96},  {32, 64, 128},
    {33, 57, 129},  {47, 29, 64},   {48, 28, 63},  {64, 113, 257},
    {100, 60, 70},  {127, 50, 33},  {512, 9, 40},  {513, 16, 33},
    {518, 15, 34},  {530, 33, 17},  {1030, 7, 21}, {40, 1030, 20},
    {12, 225, 520}, {12, 520, 225},
};

static void check_edges(void)
{
    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
        check_shape(edges[i], QL_STORAGE_4BIT, QCASE_RANDOM, i);
    }
}

static void check_storages(void)
{
    uint64_t seed = 100;

    for (ql_storage s = 0; s < QL_STORAGE_COUNT; s++) {
        for (qcase_input input = 0; input < QCASE_INPUTS; input++) {
            const uint64_t key = ql_rng_split(check_seed(), seed);
            const shape random = {1 + ql_rng_below(key, 10, 70),
                                  1 + ql_rng_below(key, 11, 130),
                                  1 + ql_rng_below(key, 12, 130)};

            check_shape(random, s, input, seed++);
        }
    }
}

/* Runs a check with every set in use, and names those that cannot run. */
static void each_set(void (*check)(void))
{
    const char *chosen = ql_kernels_get()->name;
    size_t n;
    const ql_kernels *const *sets = ql_kernels_list(&n);

    for (size_t i = 0; i < n; i++) {
        if (ql_kernels_choose(sets[i]->name)) {
            check();
        } else {
            printf("SKIP: %s cannot run on this machine\n", sets[i]->name);
        }
    }
    assert_true(ql_kernels_choose(chosen));
}

static void products__keep_the_bound_at_every_edge(void **state)
{
    (void)state;
    each_set(check_edges);
}

static void products__keep_the_bound_for_every_storage(void **state)
{
    (void)state;
    each_set(check_storages);
}

enum {
    LD_A = 71,
    LD_B = 79,
    LD_C = 77,
    MOST = 64 /* rows and columns of any set's tile, at most */
};

/* What rows of A by column j of B add up to over k terms, from start. */
static double sum_of(const float *a, const float *b, size_t ldb, size_t k,
                     double start)
{
    for (size_t p = 0; p < k; p++) {
        start += (double)a[p] * (double)b[p * ldb];
    }
    return start;
}

static void check_depth(const ql_kernels *set, const float *a, const float *b,
                        size_t k)
{
    float before[MOST * LD_C];
    float c[MOST * LD_C];
    float four[4];

    check_fill(before, MOST * LD_C, k);
    memcpy(c, before, sizeof(c));
    memcpy(four, before, sizeof(four));
    set->ukr(c, LD_C, a, LD_A, b, LD_B, k);
    set->dot4(four, a, LD_A, b, k);
    for (size_t i = 0; i < 4; i++) {
        const double want = sum_of(a + i * LD_A, b, 1, k, (double)before[i]);

        assert_true(fabs((double)four[i] - want) < 1e-5);
    }
    for (size_t i = 0; i < MOST * LD_C; i++) {
        const size_t row = i / LD_C;
        const size_t column = i % LD_C;
        const bool inside = row < set->mr && column < set->nr;
        const double want = sum_of(a + row * LD_A, b + column, LD_B,
                                   inside ? k : 0, (double)before[i]);

        assert_true(fabs((double)c[i] - want) < (inside ? 1e-5 : 1e-30));
    }
}

/* The kernels alone, at every depth around their vectors. */
static void check_kernels(void)
{
    const ql_kernels *set = ql_kernels_get();
    float *a = guarded_init(MOST * LD_A);
    float *b = guarded_init(LD_A * LD_B);

    assert_true(set->mr <= MOST && set->nr <= MOST);
    check_fill(a, MOST * LD_A, 1);
    check_fill(b, LD_A * LD_B, 2);
    for (size_t k = 1; k <= 67; k++) {
        check_depth(set, a, b, k);
    }
    guarded_free(a);
    guarded_free(b);
}

static void kernels__at_every_depth(void **state)
{
    (void)state;
    each_set(check_kernels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels__at_every_depth),
        cmocka_unit_test(products__keep_the_bound_at_every_edge),
        cmocka_unit_test(products__keep_the_bound_for_every_storage),
    };

    return cmocka_run_group_tests_name("qgemm", tests, NULL, NULL);
}
