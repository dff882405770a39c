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
 * predicted: softmax - 1 = -rest / sum.
 *
 * A head that is trained needs the gradients of its logits themselves: it goes
 * through the vocabulary a second time, when the sums are known. */
#include "src/op/loss.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "src/base/rng.h"
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
    float *h;      /* [n, C] gathered */
    float *acc;    /* [n, C] */
    float *logits; /* [n, SLICE]; later their gradients */
    ql_linear_kept kept;
    void *work; /* of the products */
} chunk;

/* Rows [first, first + n) of the head. */
typedef struct slice {
    ql_linear head;
    size_t first, n;
} slice;

/* What all slices share. */
typedef struct pass {
    const ql_linear *head;
    float cap, scale;
    ql_drop drop;
} pass;

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

/* True if W alone makes the logits, and is frozen. */
static bool is_plain(const ql_linear *head)
{
    return head->lora.r == 0 && !head->trained;
}

static slice slice_of(const ql_linear *head, size_t first)
{
    const size_t V = head->w.rows;
    const size_t step = slice_size(V);
    slice s = {*head, first, V - first < step ? V - first : step};

    s.head.w = ql_qtensor_rows(&head->w, first, s.n);
    if (head->lora.r > 0) {
        s.head.lora.b += first * head->lora.r;
    }
    if (head->lora.db) {
        s.head.lora.db += first * head->lora.r;
    }
    if (head->dora.m) {
        s.head.dora.m += first;
        s.head.dora.gain += first;
        s.head.dora.inverse += first;
    }
    if (head->dora.dm) {
        s.head.dora.dm += first;
    }
    if (head->dw) {
        s.head.dw += first * head->w.cols;
    }
    if (head->dw16) {
        s.head.dw16 += first * head->w.cols;
    }
    return s;
}

/* Lays a chunk of n positions out in work, unless it is NULL. Returns the
 * bytes. */
static size_t lay_out(chunk *c, const ql_linear *head, size_t n, char *work)
{
    const slice s = slice_of(head, 0);
    const struct {
        float **slot;
        size_t n;
    } pieces[] = {
        {&c->h, n * head->w.cols},
        {&c->acc, n * head->w.cols},
        {&c->logits, n * s.n},
        {&c->kept.xa, n * head->lora.r},
        {&c->kept.u, head->dora.m ? n * s.n : 0},
    };
    size_t at = 0;

    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        if (work) {
            *pieces[i].slot = (float *)(void *)(work + at);
        }
        at += align(pieces[i].n * sizeof(float));
    }
    c->work = work ? work + at : NULL;
    return at + ql_linear_work_bytes(&s.head, n);
}

size_t ql_loss_work_bytes(const ql_linear *head, size_t T)
{
    chunk c;

    return lay_out(&c, head, T < TOKENS ? T : TOKENS, NULL);
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

/* z[v] = by exp(z[v] - max) z'[v], but for the target: aim. */
static void exp_row(const ql_loops *loops, const row *r, float *z,
                    const slice *s, size_t target, float by, float cap,
                    float aim)
{
    const bool has_target = target - s->first < s->n;

    if (has_target) {
        z[target - s->first] = -INFINITY;
    }
    if (cap > 0) {
        loops->softcap_loss(z, s->n, r->max, by, cap);
    } else {
        loops->exp(z, s->n, r->max);
        if (by != 1) {
            loops->scale(z, s->n, by);
        }
    }
    if (has_target) {
        z[target - s->first] = aim;
    }
}

/* Takes the logits z of a slice in; acc receives the factor that max asks
 * for. */
static void see_row(const ql_loops *loops, row *r, const float *z,
                    const slice *s, size_t target, float *acc)
{
    const float before = r->max;
    const float max = loops->max(z, s->n);

    r->max = max > before ? max : before;
    if (r->max > before && s->first > 0) {
        const double by = exp((double)before - (double)r->max);

        r->rest *= by;
        loops->scale(acc, s->head.w.cols, (float)by);
    }
    if (target - s->first < s->n) {
        r->aim = z[target - s->first];
    }
}

/* The same, and adds to rest; with grads, z becomes what acc is summed of. */
static void take_row(const ql_loops *loops, row *r, float *z, const slice *s,
                     size_t target, float *acc, float cap, bool grads)
{
    const bool has_target = target - s->first < s->n;

    see_row(loops, r, z, s, target, acc);
    if (has_target) {
        z[target - s->first] = -INFINITY;
    }
    if (cap > 0 || !grads) {
        r->rest += exp_sum(loops, z, s->n, r->max);
        if (grads) {
            exp_row(loops, r, z, s, target, 1, cap, 0);
        }
        return;
    }
    r->rest += loops->exp(z, s->n, r->max);
    if (has_target) {
        z[target - s->first] = 0;
    }
}

/* exp of the target's logit, on the scale of rest. */
static double aim_exp(const row *r)
{
    return exp((double)r->aim - (double)r->max);
}

/* What the sum of exponentials makes of scale, and the gradient of the target's
 * logit. */
typedef struct factors {
    float by, aim;
} factors;

static factors factors_of(const row *r, const pass *p)
{
    const double by = (double)p->scale / (r->rest + aim_exp(r));

    return (factors){
        .by = (float)by,
        .aim = (float)(-by * r->rest * (double)slope_at(r->aim, p->cap))};
}

static void forward(chunk *c, const slice *s, const pass *p)
{
    ql_linear_fwd(c->logits, false, c->kept, c->h, &s->head, c->n, p->drop,
                  c->work);
    ql_profile_mark(p->drop.profile, QL_WORK_LOSS);
}

static void backward(chunk *c, const slice *s, const pass *p)
{
    ql_linear_bwd(c->acc, s->first > 0, c->logits, c->h, c->kept, &s->head,
                  c->n, p->drop, c->work);
    ql_profile_mark(p->drop.profile, QL_WORK_LOSS);
}

/* Sums, and acc if sums is set: a head that is plain gets by with one pass. */
static void first_pass(chunk *c, const pass *p, bool sums)
{
    const ql_loops *loops = ql_loops_get();
    const size_t C = p->head->w.cols;
    slice s;

    for (size_t v = 0; v < p->head->w.rows; v += s.n) {
        s = slice_of(p->head, v);
        forward(c, &s, p);
#pragma omp parallel for schedule(dynamic)
        for (size_t i = 0; i < c->n; i++) {
            const size_t target = (size_t)c->target[i];
            float *z = c->logits + i * s.n;

            if (p->cap > 0) {
                loops->softcap(z, s.n, p->cap);
            }
            take_row(loops, &c->rows[i], z, &s, target, c->acc + i * C, p->cap,
                     sums);
        }
        if (sums) {
            backward(c, &s, p);
        }
    }
}

/* The logits once more, now that their sums are known: acc is the gradient, and
 * the head's own are added to. */
static void second_pass(chunk *c, const pass *p)
{
    const ql_loops *loops = ql_loops_get();
    slice s;

    for (size_t v = 0; v < p->head->w.rows; v += s.n) {
        s = slice_of(p->head, v);
        forward(c, &s, p);
#pragma omp parallel for schedule(dynamic)
        for (size_t i = 0; i < c->n; i++) {
            const factors f = factors_of(&c->rows[i], p);
            float *z = c->logits + i * s.n;

            if (p->cap > 0) {
                loops->softcap(z, s.n, p->cap);
            }
            exp_row(loops, &c->rows[i], z, &s, (size_t)c->target[i], f.by,
                    p->cap, f.aim);
        }
        backward(c, &s, p);
    }
}

/* The gradient of a plain head, from its unnormalized sums. */
static void normalize(chunk *c, const pass *p)
{
    const ql_embedding rows = {.w = p->head->w, .scale = 1};
    const size_t C = p->head->w.cols;

    ql_embed_fwd(c->h, c->target, &rows, c->n, c->work);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < c->n; i++) {
        const factors f = factors_of(&c->rows[i], p);
        const float *aim = c->h + i * C;
        float *acc = c->acc + i * C;

        for (size_t j = 0; j < C; j++) {
            acc[j] = f.by * acc[j] + f.aim * aim[j];
        }
    }
}

static void take_chunk(chunk *c, const pass *p, bool gradient)
{
    const bool plain = is_plain(p->head);

    first_pass(c, p, gradient && plain);
    if (gradient && plain) {
        normalize(c, p);
    } else if (gradient) {
        second_pass(c, p);
    }
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

void ql_loss_head(ql_loss *sum, float *dh, const float *h,
                  const int32_t *target, const ql_linear *head, float cap,
                  size_t T, float scale, ql_drop drop, void *work)
{
    const size_t C = head->w.cols;
    pass p = {head, cap, scale, drop};
    size_t trained = 0;
    size_t number = 0;
    size_t t = 0;
    chunk c;

    ql_profile_mark(drop.profile, QL_WORK_LOSS);
    for (size_t i = 0; i < T; i++) {
        assert(target[i] < 0 || (size_t)target[i] < head->w.rows);
        trained += target[i] >= 0;
    }
    if (dh) {
        memset(dh, 0, T * C * sizeof *dh);
    }
    if (trained == 0) {
        return;
    }
    lay_out(&c, head, chunk_size(trained), work);
    while (gather(&c, &t, h, target, T, C, chunk_size(trained)), c.n > 0) {
        /* masks go by the place in an array */
        p.drop.key = ql_rng_split(drop.key, number++);
        take_chunk(&c, &p, dh != NULL);
        add_loss(sum, &c);
        for (size_t i = 0; dh && i < c.n; i++) {
            memcpy(dh + c.rows[i].at * C, c.acc + i * C, C * sizeof *dh);
        }
    }
}
