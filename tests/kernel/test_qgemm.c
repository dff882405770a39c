/* The products in every set that runs here, against three loops in double over
 * the operands as the set rounds them:
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

#include "quant/half.h"
#include "quant/kernels.h"
#include "quant/qgemm.h"
#include "quant/qgemm_ref.h"
#include "src/base/rng.h"
#include "tests/check/check.h"
#include "tests/kernel/qcase.h"

typedef struct shape {
    size_t T, N, K;
} shape;

typedef void product_fn(float *out, const ql_term *terms, size_t n, size_t T,
                        bool add, void *work);
typedef void ref_fn(double *out, double *size, const float *in, const float *w,
                    size_t T, size_t N, size_t K);

enum {
    TERMS = 3
};

/* A sum of products in one direction, and what it must come to. */
typedef struct task {
    bool forward;
    size_t T, width; /* C is [T, width] */
    size_t n;        /* terms */
    bool add;
    qcase cases[TERMS];
    ql_qtensor w[TERMS];
    ql_term terms[TERMS];
    float *in[TERMS];
    size_t depth; /* of all terms together */
    double *ref, *size;
    float *before;
} task;

static void *need(size_t bytes)
{
    void *p = malloc(bytes);

    assert_non_null(p);
    return p;
}

/* x as the set in use rounds it. */
static float operand(float x)
{
    const bool bf16 = ql_kernels_get()->pair == 2;

    return bf16 ? ql_bf16_to_f32(ql_f32_to_bf16(x)) : x;
}

static size_t depth_of(const task *t, size_t i)
{
    return t->forward ? t->w[i].cols : t->w[i].rows;
}

/* Adds term i to what must come out. */
static void add_reference(task *t, size_t i)
{
    const ql_qtensor *w = &t->w[i];
    const size_t elements = w->rows * w->cols;
    const size_t in_n = t->T * depth_of(t, i);
    const size_t out_n = t->T * t->width;
    float *in = need(in_n * sizeof(float));
    float *dense = need(elements * sizeof(float));
    double *sum = need(out_n * sizeof(double));
    double *size = need(out_n * sizeof(double));

    for (size_t e = 0; e < elements; e++) {
        dense[e] = operand(qcase_value(w, e));
    }
    for (size_t e = 0; e < in_n; e++) {
        in[e] = operand(t->in[i][e]);
    }
    (t->forward ? ql_qgemm_fwd_ref : ql_qgemm_bwd_ref)(sum, size, in, dense,
                                                       t->T, w->rows, w->cols);
    for (size_t e = 0; e < out_n; e++) {
        t->ref[e] += sum[e];
        t->size[e] += size[e];
    }
    free(in);
    free(dense);
    free(sum);
    free(size);
}

/* A term of the task: a matrix of any storage, viewed from a row on. */
static void make_term(task *t, size_t depth, ql_storage storage,
                      qcase_input input, uint64_t seed)
{
    static const size_t blocks[] = {32, 64, 64, 256, 4096};
    const uint64_t key = ql_rng_split(check_seed(), seed);
    const size_t above = ql_rng_below(key, 0, 3);
    const size_t rows = t->forward ? t->width : depth;
    const size_t cols = t->forward ? depth : t->width;
    const size_t i = t->n++;

    qcase_init(&t->cases[i], above + rows, cols, ql_rng_below(key, 1, 2),
               storage, blocks[ql_rng_below(key, 2, 5)],
               (ql_round)ql_rng_below(key, 3, 3), input, key);
    t->w[i] = ql_qtensor_rows(&t->cases[i].w, above, rows);
    t->in[i] = guarded_init(t->T * depth);
    check_fill(t->in[i], t->T * depth, key);
    t->terms[i] = (ql_term){.in = t->in[i], .w = &t->w[i]};
    t->depth += depth;
    add_reference(t, i);
}

static void open_task(task *t, bool forward, shape s, bool add, uint64_t seed)
{
    const size_t width = forward ? s.N : s.K;
    const size_t n = s.T * width;

    *t = (task){.forward = forward, .T = s.T, .width = width, .add = add};
    t->ref = need(n * sizeof(double));
    t->size = need(n * sizeof(double));
    t->before = need(n * sizeof(float));
    check_fill(t->before, n, seed + 1);
    for (size_t e = 0; e < n; e++) {
        t->ref[e] = add ? (double)t->before[e] : 0;
        t->size[e] = fabs(t->ref[e]);
    }
}

static void close_task(task *t)
{
    for (size_t i = 0; i < t->n; i++) {
        assert_true(guarded_intact(t->in[i], t->T * depth_of(t, i)));
        guarded_free(t->in[i]);
        qcase_free(&t->cases[i]);
    }
    free(t->ref);
    free(t->size);
    free(t->before);
}

/* Bytes of scratch, by the shapes alone. */
static size_t work_bytes(const task *t)
{
    ql_qtensor shapes[TERMS];
    ql_term terms[TERMS];

    for (size_t i = 0; i < t->n; i++) {
        shapes[i] = (ql_qtensor){.rows = t->w[i].rows, .cols = t->w[i].cols};
        terms[i] = (ql_term){.w = &shapes[i]};
    }
    return ql_qgemm_work_bytes(terms, t->n, t->T);
}

/* Runs with scratch of exactly the size asked for, at any content. */
static void run(const task *t, float *out)
{
    const size_t bytes = work_bytes(t);
    const size_t room = (bytes + 63) / 64 * 64 + 64;
    unsigned char *work = aligned_alloc(64, room);

    assert_non_null(work);
    memset(work, 0xff, room);
    (t->forward ? ql_qgemm_fwd : ql_qgemm_bwd)(out, t->terms, t->n, t->T,
                                               t->add, work);
    for (size_t i = bytes; i < room; i++) {
        assert_int_equal(work[i], 0xff);
    }
    free(work);
}

static void start_out(const task *t, float *out)
{
    const size_t bytes = t->T * t->width * sizeof(float);

    if (t->add) {
        memcpy(out, t->before, bytes);
    } else {
        memset(out, 0xff, bytes);
    }
}

/* What a sum of k products may be off by. Sets in bf16 round the codes in place
 * of the weights where tokens are few: that is off by 2^-8. bf16 instructions
 * take denormals for zero, in operands and results. */
static double allowed(const task *t, size_t i)
{
    const ql_kernels *set = ql_kernels_get();
    const bool bf16 = set->pair == 2;
    const bool codes = bf16 && t->forward && t->T <= set->few;
    const double k = (double)t->depth + 8;
    const double tiny = bf16 ? 0x1p-120 : 0x1p-149;

    return (k * 0x1p-24 + (codes ? 0x1p-8 : 0)) * t->size[i] + k * tiny;
}

static void check_bound(const task *t, const float *out)
{
    for (size_t i = 0; i < t->T * t->width; i++) {
        const double off = fabs((double)out[i] - t->ref[i]);

        if (!(off <= allowed(t, i))) {
            fail_msg("%s: %s, T %zu, W [%zu, %zu], storage %d, %zu terms: "
                     "element %zu is %.9g, not %.9g; allowed %.3g, off %.3g",
                     ql_kernels_get()->name,
                     t->forward ? "forward" : "backward", t->T, t->w[0].rows,
                     t->w[0].cols, (int)t->w[0].storage, t->n, i,
                     (double)out[i], t->ref[i], allowed(t, i), off);
        }
    }
}

static void check_task(const task *t)
{
    const size_t n = t->T * t->width;
    float *out = guarded_init(n);
    float *again = guarded_init(n);

    for (int threads = 1; threads <= 3; threads++) {
        float *to = threads == 1 ? out : again;

        omp_set_num_threads(threads);
        start_out(t, to);
        run(t, to);
        assert_true(guarded_intact(to, n));
        assert_memory_equal(to, out, n * sizeof(float));
    }
    check_bound(t, out);
    guarded_free(out);
    guarded_free(again);
}

/* Both directions on a matrix, alone or with thin ones beside it. */
static void check_shape(shape s, ql_storage storage, qcase_input input,
                        uint64_t seed)
{
    const uint64_t key = ql_rng_split(check_seed(), seed);

    for (int forward = 0; forward < 2; forward++) {
        const size_t more = ql_rng_below(key, 4 + (unsigned)forward, TERMS);
        task t;

        open_task(&t, forward, s, ql_rng_below(key, 6, 2) == 1, seed);
        make_term(&t, forward ? s.K : s.N, storage, input, seed);
        for (size_t i = 0; i < more; i++) {
            make_term(&t, 1 + ql_rng_below(key, 7 + i, 20), QL_STORAGE_F32,
                      QCASE_RANDOM, seed + 1000);
        }
        check_task(&t);
        close_task(&t);
    }
}

/* Edges of every blocking in qgemm.c, and of no blocking at all. */
static const shape edges[] = {
    {1, 1, 1},      {1, 1, 77},       {1, 77, 1},      {77, 1, 1},
    {1, 130, 300},  {2, 64, 64},      {3, 33, 77},     {4, 113, 255},
    {8, 112, 256},  {9, 5, 1000},     {15, 20, 257},   {16, 31, 65},
    {17, 515, 40},  {24, 40, 515},    {31, 48, 96},    {32, 64, 128},
    {33, 57, 129},  {47, 29, 64},     {48, 28, 63},    {64, 113, 257},
    {100, 60, 70},  {127, 50, 33},    {512, 9, 40},    {513, 16, 33},
    {518, 15, 34},  {530, 33, 17},    {1030, 7, 21},   {40, 1030, 20},
    {12, 225, 520}, {12, 520, 225},   {1, 40, 64},     {1, 33, 4224},
    {3, 20, 192},   {5, 9, 11008},    {7, 70, 128},    {4, 65, 896},
    {49, 65, 1030}, {145, 1088, 128}, {97, 600, 1100},
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
    MOST = 64,  /* rows and columns of any set's tile, at most */
    DEPTH = 76, /* operands, at most: rows have room for four cells more */
    LD_C = 77
};

/* Operands of a tile's product, in floats and as the set takes them. */
typedef struct operands {
    float a[MOST][DEPTH], b[MOST][DEPTH]; /* b: columns of B */
    uint32_t a_cells[MOST * DEPTH], b_rows[MOST * DEPTH];
    uint32_t b_deep[DEPTH * MOST]; /* rows of B */
    uint32_t nt[MOST * DEPTH], nn[MOST * DEPTH];
} operands;

static void narrow(uint32_t *to, size_t at, const float *x, size_t n)
{
    const ql_kernels *set = ql_kernels_get();

    set->narrow((char *)to + at * ql_operand_bytes(set), x, n);
}

/* The same matrices in all their forms, depth deep; the rest is garbage, but
 * for the end of a cell. */
static void make_operands(operands *o, size_t nr, size_t depth)
{
    const ql_kernels *set = ql_kernels_get();
    const size_t ld = DEPTH * set->pair; /* operands of a row of DEPTH cells */
    const size_t cells = (depth + set->pair - 1) / set->pair;
    const float zero = 0;

    memset(o, 0xff, sizeof(*o));
    check_fill(&o->a[0][0], MOST * DEPTH, depth);
    check_fill(&o->b[0][0], MOST * DEPTH, depth + 1);
    for (size_t i = 0; i < MOST; i++) {
        narrow(o->a_cells, i * ld, o->a[i], depth);
        narrow(o->b_rows, i * ld, o->b[i], depth);
        if (depth % set->pair) {
            narrow(o->a_cells, i * ld + depth, &zero, 1);
            narrow(o->b_rows, i * ld + depth, &zero, 1);
        }
        for (size_t p = 0; p < depth; p++) {
            narrow(o->b_deep, p * MOST + i, &o->b[i][p], 1);
        }
    }
    for (size_t j = 0; j < nr; j += set->lanes) {
        set->pack_nt(o->nt + j, nr, o->b_rows + j * DEPTH, DEPTH, cells);
    }
    set->pack_nn(o->nn, nr, o->b_deep, MOST, depth);
    assert_memory_equal(o->nt, o->nn, cells * nr * sizeof(o->nt[0]));
}

static double product_of(const operands *o, size_t i, size_t j, size_t depth)
{
    double sum = 0;

    for (size_t p = 0; p < depth; p++) {
        sum += (double)operand(o->a[i][p]) * (double)operand(o->b[j][p]);
    }
    return sum;
}

static void check_tile(const operands *o, const ql_tile *tile, size_t depth,
                       size_t rows, bool add)
{
    const ql_kernels *set = ql_kernels_get();
    float before[MOST * LD_C];
    float c[MOST * LD_C];

    check_fill(before, MOST * LD_C, depth);
    memcpy(c, before, sizeof(c));
    tile->ukr(c, LD_C, o->a_cells, DEPTH, o->nt,
              (depth + set->pair - 1) / set->pair, rows, add);
    for (size_t i = 0; i < MOST * LD_C; i++) {
        const size_t row = i / LD_C;
        const size_t column = i % LD_C;
        const bool inside = row < rows && column < tile->nr;
        double want = inside && !add ? 0 : (double)before[i];

        want += inside ? product_of(o, row, column, depth) : 0;
        assert_true(fabs((double)c[i] - want) < (inside ? 1e-5 : 1e-30));
    }
}

static void check_dot(const operands *o, size_t depth)
{
    const ql_kernels *set = ql_kernels_get();
    const float dot = set->dot(o->a_cells, o->b_rows, depth);
    uint16_t stored[2 * DEPTH];
    double want = 0;

    assert_true(fabs((double)dot - product_of(o, 0, 0, depth)) < 1e-5);
    memset(stored, 0xff, sizeof(stored));
    for (size_t p = 0; p < depth; p++) {
        stored[1 + p] = ql_f32_to_bf16(o->b[0][p]);
        want +=
            (double)operand(o->a[0][p]) * (double)ql_bf16_to_f32(stored[1 + p]);
    }
    assert_true(fabs((double)set->dot_bf16(stored + 1, o->a_cells, depth) -
                     want) < 1e-5);
}

/* The kernels alone, at every depth around their vectors. */
static void check_kernels(void)
{
    const ql_kernels *set = ql_kernels_get();
    operands *o = need(sizeof(*o));

    assert_int_equal(set->thin.mr % set->tile.mr, 0);
    for (size_t i = 0; i < 2; i++) {
        const ql_tile *tile = i == 0 ? &set->tile : &set->thin;

        assert_true(tile->mr <= MOST && tile->nr <= MOST);
        assert_int_equal(tile->nr % set->lanes, 0);
        for (size_t depth = 1; depth <= DEPTH - 4; depth++) {
            make_operands(o, tile->nr, depth);
            check_tile(o, tile, depth, tile->mr, depth % 2);
            check_tile(o, tile, depth, 1 + depth % tile->mr, depth / 2 % 2);
            check_dot(o, depth);
        }
    }
    free(o);
}

static void kernels__at_every_depth(void **state)
{
    (void)state;
    each_set(check_kernels);
}

enum {
    DOT_N = 384, /* values at most: a whole row */
    DOT_COLS = DOT_N,
    LD_X = DOT_COLS
};

/* True if sum is what dot4 may add for row r of d and a token. */
static bool is_dot(const ql_dots *d, size_t r, const float *x, float sum)
{
    const bool bf16 = ql_kernels_get()->pair == 2;
    const double unit = bf16 ? 0x1.1p-8 : (double)(d->n + 8) * 0x1p-24;
    const size_t row = d->start - d->w->first + r * d->w->cols;
    double want = 0;
    double size = 0;

    for (size_t i = 0; i < d->n; i++) {
        const double p =
            (double)operand(x[i]) * (double)operand(qcase_value(d->w, row + i));

        want += p;
        size += fabs(p);
    }
    return fabs((double)sum - want) <= unit * size;
}

/* All rows and tokens of d. What comes of a row does not depend on those beside
 * it. */
static void check_dots(const ql_dots *d, const float *x)
{
    const ql_kernels *set = ql_kernels_get();
    float sum[QL_DOT4_TOKENS + 1][QL_DOT4_ROWS] = {{0}};

    set->dot4(sum, d);
    for (size_t r = 0; r < d->rows; r++) {
        float one[QL_DOT4_TOKENS][QL_DOT4_ROWS] = {{0}};
        ql_dots alone = *d;

        alone.start += r * d->w->cols;
        alone.rows = 1;
        set->dot4(one, &alone);
        for (size_t t = 0; t < d->tokens; t++) {
            assert_true(is_dot(d, r, x + t * DOT_N, sum[t][r]));
            assert_true(ql_f32_bits(sum[t][r]) == ql_f32_bits(one[t][0]));
        }
        assert_true(sum[d->tokens][r] == 0);
    }
}

/* Plain scales become such that codes of one and of minus one lie between two
 * values of bf16. */
static void set_between(qcase *c)
{
    const size_t blocks = (c->w.first + c->w.rows * c->w.cols) / QL_DOT4_BLOCK;

    for (size_t i = 0; c->w.absmax && i < blocks; i++) {
        const uint32_t bits = ql_f32_bits(c->absmax[i]) | 0xffff;

        c->absmax[i] = ql_f32_from_bits(bits - 0x7fff);
    }
}

static void check_dot4_case(uint64_t seed)
{
    const ql_kernels *set = ql_kernels_get();
    const uint64_t key = ql_rng_split(check_seed(), seed);
    const size_t n = 64 * (1 + ql_rng_below(key, 0, DOT_N / 64));
    const size_t first = 64 * ql_rng_below(key, 1, 40);
    float x[QL_DOT4_TOKENS * DOT_N];
    uint32_t arranged[QL_DOT4_TOKENS * LD_X];
    qcase c;

    qcase_init(&c, 8, DOT_COLS, first, QL_STORAGE_4BIT, QL_DOT4_BLOCK,
               (ql_round)(seed % 3), QCASE_RANDOM, key);
    if (seed % 2 == 1) {
        set_between(&c);
    }
    check_fill(x, QL_DOT4_TOKENS * DOT_N, key);
    for (size_t t = 0; t < QL_DOT4_TOKENS; t++) {
        set->arrange(arranged + t * LD_X, x + t * DOT_N, n);
    }
    for (size_t rows = 1; rows <= QL_DOT4_ROWS; rows++) {
        for (size_t tokens = 1; tokens <= QL_DOT4_TOKENS; tokens++) {
            const size_t up = 8 - QL_DOT4_ROWS;
            const ql_dots d = {.w = &c.w,
                               .start = first + up * DOT_COLS + DOT_COLS - n,
                               .rows = rows,
                               .n = n,
                               .x = arranged,
                               .ldx = LD_X,
                               .tokens = tokens};

            check_dots(&d, x);
        }
    }
    qcase_free(&c);
}

static void check_dot4(void)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        check_dot4_case(seed);
    }
}

static void dot4__by_any_rows_and_tokens(void **state)
{
    (void)state;
    each_set(check_dot4);
}

/* Several products of one X. */
typedef struct group {
    size_t T, K, n;
    qcase cases[QL_SUMS];
    float *x, *down, *up;
    ql_term terms[QL_SUMS];
    ql_sum sums[QL_SUMS];
} group;

enum {
    GROUP_RANK = 20
};

static size_t group_bytes(const group *g, size_t i)
{
    return g->T * g->cases[i].w.rows * sizeof(float);
}

static size_t mid_bytes(const group *g, size_t i)
{
    return g->T * g->terms[i].pair.r * sizeof(float);
}

static void open_group(group *g, size_t T, size_t K, uint64_t key)
{
    const size_t most = K > 200 ? K : 200;

    *g = (group){.T = T, .K = K, .n = 2 + ql_rng_below(key, 0, QL_SUMS - 1)};
    g->x = guarded_init(T * K);
    g->down = need(GROUP_RANK * most * sizeof(float));
    g->up = need(GROUP_RANK * most * sizeof(float));
    check_fill(g->x, T * K, key);
    check_fill(g->down, GROUP_RANK * most, key + 1);
    check_fill(g->up, GROUP_RANK * most, key + 2);
    for (size_t i = 0; i < g->n; i++) {
        const uint64_t own = ql_rng_split(key, i);
        const size_t N = 1 + ql_rng_below(own, 1, 200);
        const ql_storage storage = ql_rng_below(own, 2, 2)
                                       ? QL_STORAGE_4BIT
                                       : ql_rng_below(own, 3, QL_STORAGE_COUNT);

        qcase_init(&g->cases[i], N, K, 0, storage, 64, QL_ROUND_NONE,
                   QCASE_RANDOM, own);
        g->terms[i] =
            (ql_term){.in = g->x,
                      .w = &g->cases[i].w,
                      .pair = {.r = ql_rng_below(own, 4, 2)
                                        ? 1 + ql_rng_below(own, 5, GROUP_RANK)
                                        : 0,
                               .scale = 0.5F,
                               .down = g->down,
                               .up = g->up}};
        g->sums[i] = (ql_sum){NULL, &g->terms[i], 1};
    }
}

static void close_group(group *g)
{
    assert_true(guarded_intact(g->x, g->T * g->K));
    guarded_free(g->x);
    for (size_t i = 0; i < g->n; i++) {
        qcase_free(&g->cases[i]);
    }
    free(g->down);
    free(g->up);
}

/* One product after the other. */
static void run_apart(group *g, float *const *y, float *const *mid)
{
    for (size_t i = 0; i < g->n; i++) {
        void *work = aligned_alloc(
            64, (ql_qgemm_work_bytes(&g->terms[i], 1, g->T) + 63) / 64 * 64);

        assert_non_null(work);
        g->terms[i].pair.mid = mid[i];
        ql_qgemm_fwd(y[i], &g->terms[i], 1, g->T, false, work);
        free(work);
    }
}

/* All at once, with scratch of exactly the size asked for. */
static void run_together(group *g, float *const *y, float *const *mid)
{
    const size_t bytes = ql_qgemm_sums_work_bytes(g->sums, g->n, g->T);
    const size_t room = (bytes + 63) / 64 * 64 + 64;
    unsigned char *work = aligned_alloc(64, room);

    assert_non_null(work);
    memset(work, 0xff, room);
    for (size_t i = 0; i < g->n; i++) {
        g->terms[i].pair.mid = mid[i];
        g->sums[i].y = y[i];
    }
    ql_qgemm_sums(g->sums, g->n, g->T, work);
    for (size_t i = bytes; i < room; i++) {
        assert_int_equal(work[i], 0xff);
    }
    free(work);
}

static void check_group(size_t T, size_t K, uint64_t key)
{
    float *y[2][QL_SUMS];
    float *mid[2][QL_SUMS];
    group g;

    open_group(&g, T, K, key);
    for (size_t i = 0; i < 2 * g.n; i++) {
        y[i / g.n][i % g.n] = guarded_init(group_bytes(&g, i % g.n) / 4);
        mid[i / g.n][i % g.n] = guarded_init(mid_bytes(&g, i % g.n) / 4);
    }
    omp_set_num_threads(1);
    run_apart(&g, y[0], mid[0]);
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        for (size_t i = 0; i < g.n; i++) {
            memset(y[1][i], 0xff, group_bytes(&g, i));
            memset(mid[1][i], 0xff, mid_bytes(&g, i));
        }
        run_together(&g, y[1], mid[1]);
        for (size_t i = 0; i < g.n; i++) {
            assert_memory_equal(y[0][i], y[1][i], group_bytes(&g, i));
            assert_memory_equal(mid[0][i], mid[1][i], mid_bytes(&g, i));
        }
    }
    for (size_t i = 0; i < 2 * g.n; i++) {
        assert_true(
            guarded_intact(y[i / g.n][i % g.n], group_bytes(&g, i % g.n) / 4));
        assert_true(
            guarded_intact(mid[i / g.n][i % g.n], mid_bytes(&g, i % g.n) / 4));
        guarded_free(y[i / g.n][i % g.n]);
        guarded_free(mid[i / g.n][i % g.n]);
    }
    close_group(&g);
}

static void check_groups(void)
{
    static const size_t tokens[] = {1, 2, 5, 17, 100, 515};
    static const size_t depths[] = {64, 77, 320, 1030};

    for (size_t i = 0; i < 6; i++) {
        for (size_t k = 0; k < 4; k++) {
            check_group(tokens[i], depths[k],
                        ql_rng_split(check_seed(), 4 * i + k));
        }
    }
}

/* Each is checked against the reference by the tests above. */
static void sums__are_the_products_apart(void **state)
{
    (void)state;
    each_set(check_groups);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels__at_every_depth),
        cmocka_unit_test(dot4__by_any_rows_and_tokens),
        cmocka_unit_test(products__keep_the_bound_at_every_edge),
        cmocka_unit_test(products__keep_the_bound_for_every_storage),
        cmocka_unit_test(sums__are_the_products_apart),
    };

    return cmocka_run_group_tests_name("qgemm", tests, NULL, NULL);
}
