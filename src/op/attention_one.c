/* The keys that are seen are cut into pieces; a task is one piece for the heads
 * that share one head of keys. Each piece has its own softmax, and what comes
 * of them is put together in their order. */
#include "src/op/attention_one.h"

#include <math.h>
#include <string.h>

#include "src/op/attention_item.h"
#include "src/op/exp.h"
#include "src/op/loops.h"
#include "src/op/parallel.h"

enum {
    PIECES = 16, /* at the most */
    LEAST = 64,  /* keys of a piece, but for the last */
    BLOCK = 256, /* keys whose scores are made at a time */
    FLOATS = 16  /* in a cache line */
};

/* The softmax so far of one head over one piece, behind which stands o, the sum
 * of p v. */
typedef struct part {
    float max;
    double sum;
} part;

enum {
    HEAD = sizeof(part) / sizeof(float)
};

/* Floats of a part and its o. */
static size_t part_size(const ql_attention_shape *s)
{
    return (HEAD + s->D + FLOATS - 1) / FLOATS * FLOATS;
}

size_t ql_attention_one_bytes(const ql_attention_shape *s)
{
    return (PIECES * s->H * part_size(s) + ql_max_threads() * BLOCK) *
           sizeof(float);
}

/* Everything of one call. */
typedef struct call {
    const ql_loops *loops;
    const ql_attention_shape *s;
    const float *q, *k, *v;
    ql_span seen; /* keys */
    size_t pieces;
    float *parts;  /* [pieces, H] of part_size */
    float *scores; /* [threads, BLOCK] */
} call;

static part *part_of(const call *c, size_t piece, size_t head)
{
    return (part *)(void *)(c->parts +
                            (piece * c->s->H + head) * part_size(c->s));
}

static float *sum_of(part *p)
{
    return (float *)(void *)(p + 1);
}

/* Adds n keys that start at key j to what a head has of its piece. */
static void take_block(const call *c, part *p, size_t head, size_t j, size_t n)
{
    const ql_attention_shape *s = c->s;
    const size_t ld = s->KV * s->D;
    const size_t at = j * ld + head / (s->H / s->KV) * s->D;
    float *score = c->scores + ql_thread() * BLOCK;
    float *o = sum_of(p);
    float most;

    c->loops->dots(score, c->k + at, ld, n, c->q + head * s->D, s->D);
    c->loops->scale(score, n, s->scale);
    if (s->softcap > 0) {
        c->loops->softcap(score, n, s->softcap);
    }
    most = c->loops->max(score, n);
    if (most > p->max) {
        const float shrink = ql_exp(p->max - most);

        p->max = most;
        p->sum *= (double)shrink;
        c->loops->scale(o, s->D, shrink);
    }
    p->sum += c->loops->exp(score, n, p->max);
    c->loops->mix(o, c->v + at, ld, n, score, s->D);
}

/* One piece of the keys for the heads of one head of keys. */
static void do_piece(const call *c, size_t piece, size_t kv)
{
    const ql_attention_shape *s = c->s;
    const size_t group = s->H / s->KV;
    const size_t n = c->seen.to - c->seen.from;
    const size_t from = c->seen.from + n * piece / c->pieces;
    const size_t to = c->seen.from + n * (piece + 1) / c->pieces;

    for (size_t h = kv * group; h < (kv + 1) * group; h++) {
        part *p = part_of(c, piece, h);

        *p = (part){.max = -INFINITY};
        memset(sum_of(p), 0, s->D * sizeof(float));
    }
    for (size_t j = from; j < to; j += BLOCK) {
        const size_t m = to - j < BLOCK ? to - j : BLOCK;

        for (size_t h = kv * group; h < (kv + 1) * group; h++) {
            take_block(c, part_of(c, piece, h), h, j, m);
        }
    }
}

/* The parts of a head together. */
static void join(const call *c, float *o, float *lse, size_t head)
{
    const size_t D = c->s->D;
    float most = -INFINITY;
    double sum = 0;

    for (size_t i = 0; i < c->pieces; i++) {
        const part *p = part_of(c, i, head);

        /* A NaN among the scores is in the sum, and need not be found here. */
        most = p->max > most ? p->max : most;
    }
    memset(o, 0, D * sizeof *o);
    for (size_t i = 0; i < c->pieces; i++) {
        part *p = part_of(c, i, head);
        const float by = ql_exp(p->max - most);

        sum += (double)by * p->sum;
        c->loops->mix(o, sum_of(p), D, 1, &by, D);
    }
    c->loops->scale(o, D, (float)(1 / sum));
    *lse = (float)((double)most + log(sum));
}

void ql_attention_one(float *o, float *lse, const float *q, const float *k,
                      const float *v, const ql_attention_shape *s, void *work)
{
    const ql_span all = {0, 1};
    call c = {.loops = ql_loops_get(),
              .s = s,
              .q = q,
              .k = k,
              .v = v,
              .seen = ql_attention_keys(s, all, 0),
              .parts = work};
    const size_t n = c.seen.to - c.seen.from;

    c.pieces = (n + LEAST - 1) / LEAST;
    c.pieces = c.pieces < PIECES ? c.pieces : PIECES;
    c.scores = c.parts + PIECES * s->H * part_size(s);
#pragma omp parallel if (n * s->H * s->D > QL_SMALL)
    {
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < c.pieces * s->KV; i++) {
            do_piece(&c, i / s->KV, i % s->KV);
        }
#pragma omp for schedule(static)
        for (size_t h = 0; h < s->H; h++) {
            join(&c, o + h * s->D, lse + h, h);
        }
    }
}
