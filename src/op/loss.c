#include "src/op/loss.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "quant/qgemm.h"
#include "src/op/loops.h"

enum {
    CHUNK = 256,      /* most tokens at a time */
    FEWEST = 64,      /* fewer make the products slow */
    LOGITS = 1 << 23, /* most logits at a time, unless V is large: 32 MiB */
    PIECE = 512,      /* logits whose exponentials are summed at a time */
    ALIGN = 64
};

/* A chunk of trained positions and what came of it. */
typedef struct chunk {
    size_t n;
    size_t row[CHUNK]; /* position in h */
    double loss[CHUNK];
    bool hit[CHUNK];
    float *h;      /* [n, C] gathered; later their gradients */
    float *logits; /* [n, V]; later their gradients */
    void *work;    /* of the products */
} chunk;

static size_t align(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static size_t chunk_tokens(size_t T, size_t V)
{
    const size_t fit = LOGITS / V < FEWEST ? FEWEST : LOGITS / V;
    const size_t most = fit < CHUNK ? fit : CHUNK;

    return T < most ? T : most;
}

size_t ql_loss_work_bytes(size_t T, size_t V, size_t C)
{
    const size_t n = chunk_tokens(T, V);
    const ql_qtensor w = {.rows = V, .cols = C};
    const ql_term head = {.w = &w};

    return align(n * C * sizeof(float)) + align(n * V * sizeof(float)) +
           ql_qgemm_work_bytes(&head, 1, n);
}

/* Takes up to most trained positions from *t on, and moves *t behind them. */
static void gather(chunk *c, size_t *t, const float *h, const int32_t *target,
                   size_t T, size_t C, size_t most)
{
    c->n = 0;
    for (; *t < T && c->n < most; ++*t) {
        if (target[*t] >= 0) {
            memcpy(c->h + c->n * C, h + *t * C, C * sizeof *h);
            c->row[c->n++] = *t;
        }
    }
}

/* Loss of one row of logits z, which become scale (softmax(z) - onehot). */
static double take_row(const ql_loops *loops, float *z, size_t V, size_t target,
                       float scale, bool *hit)
{
    const float max = loops->max(z, V);
    const float aim = z[target];
    const double sum = loops->exp(z, V, max);
    const float factor = (float)((double)scale / sum);

    *hit = aim == max;
    loops->scale(z, V, factor);
    z[target] -= scale;
    return log(sum) + ((double)max - (double)aim);
}

/* Sum of exp(z - max), z kept. */
static double exp_sum(const ql_loops *loops, const float *z, size_t V,
                      float max)
{
    float piece[PIECE];
    double sum = 0;

    for (size_t i = 0; i < V; i += PIECE) {
        const size_t n = V - i < PIECE ? V - i : PIECE;

        memcpy(piece, z + i, n * sizeof *z);
        sum += loops->exp(piece, n, max);
    }
    return sum;
}

/* The same where a soft cap is on the logits: z' = cap tanh(z / cap), whose
 * slope is 1 - (z' / cap)^2. */
static double take_capped_row(const ql_loops *loops, float *z, size_t V,
                              size_t target, float scale, float cap, bool *hit)
{
    float max;
    float aim;
    double sum;

    loops->softcap(z, V, cap);
    max = loops->max(z, V);
    aim = z[target];
    sum = exp_sum(loops, z, V, max);
    *hit = aim == max;
    loops->softcap_loss(z, V, max, (float)((double)scale / sum), cap);
    z[target] -= scale * (1 - aim / cap * (aim / cap));
    return log(sum) + ((double)max - (double)aim);
}

static void take_chunk(chunk *c, const int32_t *target, size_t V, float scale,
                       float cap)
{
    const ql_loops *loops = ql_loops_get();

#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < c->n; i++) {
        const size_t aim = (size_t)target[c->row[i]];
        float *z = c->logits + i * V;

        assert(aim < V);
        c->loss[i] =
            cap > 0 ? take_capped_row(loops, z, V, aim, scale, cap, &c->hit[i])
                    : take_row(loops, z, V, aim, scale, &c->hit[i]);
    }
}

void ql_loss_head(ql_loss *sum, float *dh, const float *h,
                  const int32_t *target, const ql_qtensor *w, float cap,
                  size_t T, float scale, void *work, ql_profile *profile)
{
    const size_t V = w->rows;
    const size_t C = w->cols;
    const size_t most = chunk_tokens(T, V);
    size_t t = 0;
    chunk c;

    c.h = work;
    c.logits = (float *)((char *)work + align(most * C * sizeof(float)));
    c.work = (char *)c.logits + align(most * V * sizeof(float));
    ql_profile_mark(profile, QL_WORK_LOSS);
    if (dh) {
        memset(dh, 0, T * C * sizeof *dh);
    }
    const ql_term hidden = {.in = c.h, .w = w};
    const ql_term logits = {.in = c.logits, .w = w};

    while (gather(&c, &t, h, target, T, C, most), c.n > 0) {
        ql_profile_mark(profile, QL_WORK_PRODUCT);
        ql_qgemm_fwd(c.logits, &hidden, 1, c.n, false, c.work);
        ql_profile_mark(profile, QL_WORK_LOSS);
        take_chunk(&c, target, V, scale, cap);
        if (dh) {
            ql_profile_mark(profile, QL_WORK_PRODUCT);
            ql_qgemm_bwd(c.h, &logits, 1, c.n, false, c.work);
            ql_profile_mark(profile, QL_WORK_LOSS);
        }
        for (size_t i = 0; i < c.n; i++) {
            sum->sum += c.loss[i];
            sum->hits += c.hit[i];
            if (dh) {
                memcpy(dh + c.row[i] * C, c.h + i * C, C * sizeof *dh);
            }
        }
        sum->count += c.n;
    }
}
