/* A sequence is cut into blocks of BLOCK tokens; the score tile of a query
 * block against a key block lives in this thread's scratch. What a thread
 * computes, and in which order, is given by the item it took: results do not
 * depend on the number of threads. */
#include "src/op/attention.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "src/op/exp.h"
#include "src/op/gemm.h"
#include "src/op/parallel.h"
#include "src/op/row.h"

enum {
    BLOCK = 64,
    TILE = BLOCK * BLOCK
};

/* One block of one head of one sequence. */
typedef struct item {
    size_t head;
    size_t first, end; /* the sequence */
    size_t at, n;      /* the block: its first token, its length */
} item;

static size_t blocks_of(const ql_attention_shape *s, size_t sequence)
{
    return (s->start[sequence + 1] - s->start[sequence] + BLOCK - 1) / BLOCK;
}

static size_t count_blocks(const ql_attention_shape *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->sequences; i++) {
        n += blocks_of(s, i);
    }
    return n;
}

/* Item number index of heads * count_blocks: heads change fastest. */
static item find_item(const ql_attention_shape *s, size_t index, size_t heads)
{
    size_t block = index / heads;
    size_t sequence = 0;
    item it = {.head = index % heads};

    while (block >= blocks_of(s, sequence)) {
        block -= blocks_of(s, sequence++);
    }
    it.first = s->start[sequence];
    it.end = s->start[sequence + 1];
    it.at = it.first + block * BLOCK;
    it.n = it.end - it.at < BLOCK ? it.end - it.at : BLOCK;
    return it;
}

/* Keys that query i of a block may see, of n that start at key. */
static size_t visible(size_t query, size_t key, size_t n)
{
    return query - key < n ? query - key + 1 : n;
}

/* Two tiles for each thread. */
static size_t tiles_bytes(void)
{
    return ql_max_threads() * 2 * TILE * sizeof(float);
}

size_t ql_attention_work_bytes(const ql_attention_shape *s)
{
    return tiles_bytes() + s->T * s->H * sizeof(float);
}

/* This thread's two tiles. */
static float *tiles(void *work)
{
    return (float *)work + ql_thread() * 2 * TILE;
}

/* The softmax of a row of scores so far: exp(s - max) sums to sum. */
typedef struct running {
    float max;
    double sum;
} running;

/* Turns n scores of a row into exp(s - max), the rest of its BLOCK into 0, and
 * brings o, the sum of p v so far, to the new maximum. */
static void take_row(float *score, size_t n, running *r, float *o, size_t D)
{
    const float tile_max = ql_row_max(score, n);

    if (tile_max > r->max) {
        const float shrink = ql_exp(r->max - tile_max);

        r->max = tile_max;
        r->sum *= (double)shrink;
        for (size_t d = 0; d < D; d++) {
            o[d] *= shrink;
        }
    }
    r->sum += ql_row_exp(score, n, r->max);
    memset(score + n, 0, (BLOCK - n) * sizeof *score);
}

static void forward_item(const item *it, float *o, float *lse, const float *q,
                         const float *k, const float *v,
                         const ql_attention_shape *s, float *score)
{
    const size_t ldq = s->H * s->D;
    const size_t ldk = s->KV * s->D;
    const size_t kv = it->head / (s->H / s->KV) * s->D;
    float *out = o + it->at * ldq + it->head * s->D;
    running r[BLOCK];

    for (size_t i = 0; i < it->n; i++) {
        r[i] = (running){.max = -INFINITY};
        memset(out + i * ldq, 0, s->D * sizeof *out);
    }
    for (size_t j = it->first; j < it->at + it->n; j += BLOCK) {
        const size_t n = it->end - j < BLOCK ? it->end - j : BLOCK;

        ql_gemm_tile(it->n, n, s->D, s->scale,
                     ql_mat_n(q + it->at * ldq + it->head * s->D, ldq),
                     ql_mat_t(k + j * ldk + kv, ldk), 0, score, BLOCK);
        for (size_t i = 0; i < it->n; i++) {
            take_row(score + i * BLOCK, visible(it->at + i, j, n), &r[i],
                     out + i * ldq, s->D);
        }
        ql_gemm_tile(it->n, s->D, n, 1, ql_mat_n(score, BLOCK),
                     ql_mat_n(v + j * ldk + kv, ldk), 1, out, ldq);
    }
    for (size_t i = 0; i < it->n; i++) {
        const float norm = (float)(1 / r[i].sum);

        for (size_t d = 0; d < s->D; d++) {
            out[i * ldq + d] *= norm;
        }
        lse[(it->at + i) * s->H + it->head] =
            (float)((double)r[i].max + log(r[i].sum));
    }
}

void ql_attention_fwd(float *o, float *lse, const float *q, const float *k,
                      const float *v, const ql_attention_shape *s, void *work)
{
    const size_t items = s->H * count_blocks(s);

    assert(s->KV > 0 && s->H % s->KV == 0);
    /* Late blocks see the most keys: they go first. */
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < items; i++) {
        const item it = find_item(s, items - 1 - i, s->H);

        forward_item(&it, o, lse, q, k, v, s, tiles(work));
    }
}

/* What the backward reads. */
typedef struct inputs {
    const ql_attention_kept *f;
    const float *dout;
    const float *delta; /* [T, H] dout . o */
    const ql_attention_shape *shape;
} inputs;

/* p and ds of queries [i0, i0 + m) against keys [j0, j0 + n):
 *
 *   p  = exp(s - lse), 0 where the key is ahead of the query
 *   ds = p (dout v^T - delta), the factor scale left to the products */
static void backward_tile(float *p, float *ds, const inputs *in, size_t head,
                          size_t i0, size_t m, size_t j0, size_t n)
{
    const ql_attention_shape *s = in->shape;
    const size_t ldq = s->H * s->D;
    const size_t ldk = s->KV * s->D;
    const size_t at_q = i0 * ldq + head * s->D;
    const size_t at_k = j0 * ldk + head / (s->H / s->KV) * s->D;

    ql_gemm_tile(m, n, s->D, s->scale, ql_mat_n(in->f->q + at_q, ldq),
                 ql_mat_t(in->f->k + at_k, ldk), 0, p, BLOCK);
    ql_gemm_tile(m, n, s->D, 1, ql_mat_n(in->dout + at_q, ldq),
                 ql_mat_t(in->f->v + at_k, ldk), 0, ds, BLOCK);
    for (size_t i = 0; i < m; i++) {
        const size_t seen = visible(i0 + i, j0, n);
        const float lse = in->f->lse[(i0 + i) * s->H + head];
        const float delta = in->delta[(i0 + i) * s->H + head];
        float *prow = p + i * BLOCK;
        float *drow = ds + i * BLOCK;

#pragma omp simd
        for (size_t j = 0; j < seen; j++) {
            prow[j] = ql_exp(prow[j] - lse);
            drow[j] = prow[j] * (drow[j] - delta);
        }
        memset(prow + seen, 0, (BLOCK - seen) * sizeof *prow);
        memset(drow + seen, 0, (BLOCK - seen) * sizeof *drow);
    }
}

static void dq_item(const item *it, float *dq, const inputs *in, float *work)
{
    const ql_attention_shape *s = in->shape;
    const size_t ldq = s->H * s->D;
    const size_t ldk = s->KV * s->D;
    const size_t kv = it->head / (s->H / s->KV) * s->D;
    float *out = dq + it->at * ldq + it->head * s->D;
    float *ds = work + TILE;

    for (size_t j = it->first; j < it->at + it->n; j += BLOCK) {
        const size_t n = it->end - j < BLOCK ? it->end - j : BLOCK;

        backward_tile(work, ds, in, it->head, it->at, it->n, j, n);
        ql_gemm_tile(it->n, s->D, n, s->scale, ql_mat_n(ds, BLOCK),
                     ql_mat_n(in->f->k + j * ldk + kv, ldk),
                     j == it->first ? 0 : 1, out, ldq);
    }
}

static void dkv_item(const item *it, float *dk, float *dv, const inputs *in,
                     float *work)
{
    const ql_attention_shape *s = in->shape;
    const size_t group = s->H / s->KV;
    const size_t ldq = s->H * s->D;
    const size_t ldk = s->KV * s->D;
    const size_t at = it->at * ldk + it->head * s->D;
    float *ds = work + TILE;
    float beta = 0;

    for (size_t h = it->head * group; h < (it->head + 1) * group; h++) {
        for (size_t i = it->at; i < it->end; i += BLOCK) {
            const size_t m = it->end - i < BLOCK ? it->end - i : BLOCK;
            const size_t at_q = i * ldq + h * s->D;

            backward_tile(work, ds, in, h, i, m, it->at, it->n);
            ql_gemm_tile(it->n, s->D, m, 1, ql_mat_t(work, BLOCK),
                         ql_mat_n(in->dout + at_q, ldq), beta, dv + at, ldk);
            ql_gemm_tile(it->n, s->D, m, s->scale, ql_mat_t(ds, BLOCK),
                         ql_mat_n(in->f->q + at_q, ldq), beta, dk + at, ldk);
            beta = 1;
        }
    }
}

/* With p the softmax and o = p v:
 *
 *   dv = p^T dout
 *   dp = dout v^T
 *   ds = p (dp - delta),  delta[i] = sum_j p[i,j] dp[i,j] = dout[i] . o[i]
 *   dq = scale ds k,      dk = scale ds^T q
 *
 * Two passes, so that each output has one writer: by query block for dq, by
 * key block for dk and dv. */
void ql_attention_bwd(float *dq, float *dk, float *dv, const float *dout,
                      const ql_attention_kept *f, const ql_attention_shape *s,
                      void *work)
{
    const size_t blocks = count_blocks(s);
    const size_t D = s->D;
    float *delta = (float *)work + tiles_bytes() / sizeof(float);
    const inputs in = {.f = f, .dout = dout, .delta = delta, .shape = s};

    assert(s->KV > 0 && s->H % s->KV == 0);
#pragma omp parallel for schedule(dynamic, 64)
    for (size_t i = 0; i < s->T * s->H; i++) {
        delta[i] = (float)ql_row_dot(dout + i * D, f->o + i * D, D);
    }
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < s->H * blocks; i++) {
        const item it = find_item(s, s->H * blocks - 1 - i, s->H);

        dq_item(&it, dq, &in, tiles(work));
    }
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < s->KV * blocks; i++) {
        const item it = find_item(s, i, s->KV);

        dkv_item(&it, dk, dv, &in, tiles(work));
    }
}
