/* The vocabulary is gone through in slices, with the largest logit of each row
 * and the sum of exponentials so far, as attention does with keys. Gradients
 * are summed unnormalized:
 *
 *   acc = sum_v exp(z[v] - max) z'[v] W[v]     over all v but the target
 *   dh  = scale / sum (acc - rest z'[target] W[target])
 *
 * where max is the largest logit so far, z' the slope of the soft cap (1
 * without one), rest the sum of the exponentials but the target's, and sum all
 * of it. When max grows, what was summed before is scaled down. The target is
 * left out because its gradient is a small difference where it is well
 * predicted: softmax - 1 = -rest / sum. */
#include "src/op/loss.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "quant/qgemm.h"
#include "src/op/embed.h"
#include "src/op/loops.h"

enum {
    TOKENS = 512, /* most at a time */
    SLICE = 4096, /* most logits of one at a time */
    UNIT = 512,   /* slices are multiples of this */
    PIECE = 512,  /* logits whose exponentials are summed at a time */
    ALIGN = 64
};

/* A trained position. */
typedef struct row {
    size_t at; /* in h */
    float max; /* of the logits so far, capped */
    float aim; /* logit of the target */
    double rest;
} row;

/* A chunk of trained positions and what came of it. */
typedef struct chunk {
    size_t n;
    row rows[TOKENS];
    int32_t target[TOKENS];
    float *h;      /* [n, C] gathered; later the targets' rows of W */
    float *acc;    /* [n, C] */
    float *logits; /* [n, SLICE]; later their gradients */
    void *work;    /* of the products */
} chunk;

/* Rows [first, first + n) of the head. */
typedef struct slice {
    ql_qtensor w;
    size_t first, n;
} slice;

static size_t align(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static size_t ceil_div(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

/* Logits of a slice: equal ones, but for the last. */
static size_t slice_size(size_t V)
{
    const size_t equal = ceil_div(V, ceil_div(V, SLICE));

    return V <= SLICE ? V : ceil_div(equal, UNIT) * UNIT;
}

/* Tokens of a chunk of so many: equal ones, but for the last. */
static size_t chunk_size(size_t tokens)
{
    return tokens > 0 ? ceil_div(tokens, ceil_div(tokens, TOKENS)) : 0;
}

size_t ql_loss_work_bytes(size_t T, size_t V, size_t C)
{
    const size_t n = T < TOKENS ? T : TOKENS;
    const ql_qtensor w = {.rows = slice_size(V), .cols = C};
    const ql_term head = {.w = &w};

    return 2 * align(n * C * sizeof(float)) +
           align(n * w.rows * sizeof(float)) + ql_qgemm_work_bytes(&head, 1, n);
}

/* Takes up to most trained positions from *t on, and moves *t behind them. */
static void gather(chunk *c, size_t *t, const float *h, const int32_t *target,
                   size_t T, size_t C, size_t most)
{
    c->n = 0;
    for (; *t < T && c->n < most; ++*t) {
        if (target[*t] >= 0) {
            memcpy(c->h + c->n * C, h + *t * C, C * sizeof *h);
            c->target[c->n] = target[*t];
            c->rows[c->n++] = (row){.at = *t, .max = -INFINITY};
        }
    }
}

/* Sum of exp(z - max), z kept. */
static double exp_sum(const ql_loops *loops, const float *z, size_t n,
                      float max)
{
    float piece[PIECE];
    double sum = 0;

    for (size_t i = 0; i < n; i += PIECE) {
        const size_t len = n - i < PIECE ? n - i : PIECE;

        memcpy(piece, z + i, len * sizeof *z);
        sum += loops->exp(piece, len, max);
    }
    return sum;
}

/* Slope of the cap at a capped logit. */
static float slope_at(float z, float cap)
{
    return cap > 0 ? 1 - z / cap * (z / cap) : 1;
}

/* Logits z of a slice become their gradients but for scale / sum; acc receives
 * the factor that max asks for. */
static void take_row(const ql_loops *loops, row *r, float *z, const slice *s,
                     size_t target, float cap, float *acc, size_t C)
{
    const bool has_target = target - s->first < s->n;
    const float before = r->max;
    float max;

    if (cap > 0) {
        loops->softcap(z, s->n, cap);
    }
    max = loops->max(z, s->n);
    r->max = max > before ? max : before;
    if (r->max > before && s->first > 0) {
        const double by = exp((double)before - (double)r->max);

        r->rest *= by;
        loops->scale(acc, C, (float)by);
    }
    if (has_target) {
        r->aim = z[target - s->first];
        z[target - s->first] = -INFINITY;
    }
    if (cap > 0) {
        r->rest += exp_sum(loops, z, s->n, r->max);
        loops->softcap_loss(z, s->n, r->max, 1, cap);
    } else {
        r->rest += loops->exp(z, s->n, r->max);
    }
    if (has_target) {
        z[target - s->first] = 0;
    }
}

static void take_slice(chunk *c, const slice *s, float cap)
{
    const ql_loops *loops = ql_loops_get();
    const size_t C = s->w.cols;

#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < c->n; i++) {
        take_row(loops, &c->rows[i], c->logits + i * s->n, s,
                 (size_t)c->target[i], cap, c->acc + i * C, C);
    }
}

/* Both products of all slices. */
static void take_chunk(chunk *c, const ql_qtensor *w, float cap, bool gradient,
                       ql_profile *profile)
{
    const size_t V = w->rows;
    const size_t step = slice_size(V);

    for (size_t v = 0; v < V; v += step) {
        const size_t n = V - v < step ? V - v : step;
        const slice s = {ql_qtensor_rows(w, v, n), v, n};
        const ql_term hidden = {.in = c->h, .w = &s.w};
        const ql_term logits = {.in = c->logits, .w = &s.w};

        ql_profile_mark(profile, QL_WORK_PRODUCT);
        ql_qgemm_fwd(c->logits, &hidden, 1, c->n, false, c->work);
        ql_profile_mark(profile, QL_WORK_LOSS);
        take_slice(c, &s, cap);
        if (gradient) {
            ql_profile_mark(profile, QL_WORK_PRODUCT);
            ql_qgemm_bwd(c->acc, &logits, 1, c->n, v > 0, c->work);
        }
    }
    ql_profile_mark(profile, QL_WORK_LOSS);
}

/* exp of the target's logit, on the scale of rest. */
static double aim_exp(const row *r)
{
    return exp((double)r->aim - (double)r->max);
}

static void add_loss(ql_loss *sum, const chunk *c)
{
    for (size_t i = 0; i < c->n; i++) {
        const row *r = &c->rows[i];

        sum->hits += r->aim == r->max;
        sum->sum += r->aim == r->max ? log1p(r->rest)
                                     : log(r->rest + aim_exp(r)) +
                                           ((double)r->max - (double)r->aim);
    }
    sum->count += c->n;
}

static void finish_gradient(chunk *c, float *dh, const ql_qtensor *w, float cap,
                            float scale)
{
    const size_t C = w->cols;

    ql_embed_fwd(c->h, c->target, w, 1, c->n);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < c->n; i++) {
        const row *r = &c->rows[i];
        const double by = (double)scale / (r->rest + aim_exp(r));
        const float of_acc = (float)by;
        const float of_aim =
            (float)(by * r->rest * (double)slope_at(r->aim, cap));
        const float *acc = c->acc + i * C;
        const float *aim = c->h + i * C;
        float *out = dh + r->at * C;

        for (size_t j = 0; j < C; j++) {
            out[j] = of_acc * acc[j] - of_aim * aim[j];
        }
    }
}

void ql_loss_head(ql_loss *sum, float *dh, const float *h,
                  const int32_t *target, const ql_qtensor *w, float cap,
                  size_t T, float scale, void *work, ql_profile *profile)
{
    const size_t C = w->cols;
    const size_t held = align((T < TOKENS ? T : TOKENS) * C * sizeof(float));
    size_t trained = 0;
    size_t most;
    size_t t = 0;
    chunk c;

    ql_profile_mark(profile, QL_WORK_LOSS);
    for (size_t i = 0; i < T; i++) {
        assert(target[i] < 0 || (size_t)target[i] < w->rows);
        trained += target[i] >= 0;
    }
    most = chunk_size(trained);
    c.h = work;
    c.acc = (float *)((char *)work + held);
    c.logits = (float *)((char *)c.acc + held);
    c.work =
        (char *)c.logits + align(most * slice_size(w->rows) * sizeof(float));
    if (dh) {
        memset(dh, 0, T * C * sizeof *dh);
    }
    while (gather(&c, &t, h, target, T, C, most), c.n > 0) {
        take_chunk(&c, w, cap, dh != NULL, profile);
        add_loss(sum, &c);
        if (dh) {
            finish_gradient(&c, dh, w, cap, scale);
        }
    }
}
