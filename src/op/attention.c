/* The forward: an item is a block of queries of one sequence, which walks over
 * blocks of keys, each for all heads of the item while its panels are at hand.
 * The two products of a pair of blocks run on the micro-kernels of the set in
 * use; between them stands the softmax so far. */
#include "src/op/attention.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "src/op/attention_item.h"
#include "src/op/attention_one.h"
#include "src/op/exp.h"
#include "src/op/loops.h"
#include "src/op/parallel.h"

enum {
    VECTOR = 16, /* values that softmax_fwd takes; divides COLUMNS */
    AHEAD = 4    /* rows that are brought nearer before they are written */
};

/* The softmax of a row of scores so far: exp(s - max) sums to sum. */
typedef struct running {
    float max;
    double sum;
} running;

/* A thread's scratch. What an item keeps from block to block has rows for each
 * of its heads, one head after the other. */
typedef struct scratch {
    uint32_t *q, *p;   /* rows of operands: queries; exp(s - max) */
    uint32_t *k, *v;   /* panels */
    uint32_t *packing; /* for filling them */
    float *score;      /* [ROWS, COLUMNS] of one head */
    ql_span *seen;     /* [ROWS] keys that a row sees, of those at hand */
    float *o;          /* [heads, ROWS, D] */
    running *row;      /* [heads, ROWS] */
} scratch;

static scratch lay_out(ql_pieces *piece, const ql_attention_shape *s)
{
    const ql_kernels *set = ql_kernels_get();
    const size_t all =
        ql_tiles_rows(set, ql_attention_heads(s) * ql_attention_most(s));
    const size_t rows = ql_tiles_rows(set, ql_attention_most(s));
    const size_t D = s->D;

    return (scratch){
        .q = ql_pieces_take(piece, all * ql_tiles_lda(set, D)),
        .p = ql_pieces_take(piece,
                            rows * ql_tiles_lda(set, QL_ATTENTION_COLUMNS)),
        .k =
            ql_pieces_take(piece, ql_tiles_panel(set, QL_ATTENTION_COLUMNS, D)),
        .v =
            ql_pieces_take(piece, ql_tiles_panel(set, D, QL_ATTENTION_COLUMNS)),
        .packing = ql_pieces_take(piece, ql_tiles_work(set, D)),
        .score = ql_pieces_take(piece, rows * QL_ATTENTION_COLUMNS),
        .seen =
            ql_pieces_take(piece, rows * sizeof(ql_span) / sizeof(uint32_t)),
        .o = ql_pieces_take(piece, all * ql_tiles_columns(set, D)),
        .row = ql_pieces_take(piece, all * sizeof(running) / sizeof(uint32_t)),
    };
}

size_t ql_attention_fwd_bytes(const ql_attention_shape *s)
{
    ql_pieces piece = {0};

    lay_out(&piece, s);
    return piece.used * sizeof(uint32_t);
}

/* Everything of one item. */
typedef struct call {
    const ql_kernels *set;
    const ql_loops *loops;
    const ql_attention_shape *s;
    ql_item it;
    const float *k, *v; /* of the item's heads */
    size_t ldk, ldq;    /* between tokens */
    scratch t;
} call;

/* The scores of a row for the keys that it sees, in whole vectors: the largest
 * is noted, and o, the sum of p v so far, is brought to the new maximum; then
 * they become exp(s - max), and all others of COLUMNS 0. */
static void take_scores(const call *c, float *score, ql_span seen, running *r,
                        float *o)
{
    const size_t from = seen.from / VECTOR * VECTOR;
    const size_t to = (seen.to + VECTOR - 1) / VECTOR * VECTOR;
    float most;

    if (c->s->softcap > 0) {
        c->loops->softcap(score + seen.from, seen.to - seen.from,
                          c->s->softcap);
    }
    for (size_t i = from; i < seen.from; i++) {
        score[i] = -INFINITY;
    }
    for (size_t i = seen.to; i < to; i++) {
        score[i] = -INFINITY;
    }
    most = c->loops->max(score + from, to - from);
    if (most > r->max) {
        const float shrink = ql_exp(r->max - most);

        r->max = most;
        r->sum *= (double)shrink;
        c->loops->scale(o, c->s->D, shrink);
    }
    r->sum += (double)c->loops->softmax_fwd(score + from, to - from, r->max);
    memset(score, 0, from * sizeof *score);
    memset(score + to, 0, (QL_ATTENTION_COLUMNS - to) * sizeof *score);
}

/* Rows of an item that see any of n keys from token j on. */
static ql_span rows_of(const call *c, size_t j, size_t n)
{
    const ql_attention_shape *s = c->s;
    const ql_span queries = {
        ql_attention_queries(s, c->it.sequence, j).from,
        ql_attention_queries(s, c->it.sequence, j + n - 1).to};

    return ql_span_within(queries, c->it.at, c->it.n);
}

/* Adds the n keys at hand to the rows of head h of the item that see any. */
static void take_head(const call *c, size_t h, ql_span rows, size_t n)
{
    const size_t D = c->s->D;
    const size_t ldo = ql_tiles_columns(c->set, D);
    const size_t ldq = ql_tiles_lda(c->set, D);
    const scratch *t = &c->t;
    const size_t first = h * c->it.n + rows.from; /* of all heads' rows */
    const ql_span *seen = t->seen + rows.from;
    ql_product p = {.c = t->score,
                    .ldc = QL_ATTENTION_COLUMNS,
                    .rows = rows.to - rows.from,
                    .columns = n,
                    .left = {t->q + first * ldq, ldq},
                    .panel = t->k,
                    .cells = ql_tiles_cells(c->set, D),
                    .wanted = seen};
    const ql_rows score = {p.c, p.ldc, p.rows, n, 1};

    ql_tiles_product(c->set, &p);
    for (size_t i = 0; i < p.rows; i++) {
        if (seen[i].from < seen[i].to) {
            take_scores(c, p.c + i * p.ldc, seen[i], &t->row[first + i],
                        t->o + (first + i) * ldo);
        } else {
            memset(p.c + i * p.ldc, 0, p.ldc * sizeof(float));
        }
    }
    p = (ql_product){
        .c = t->o + first * ldo,
        .ldc = ldo,
        .rows = p.rows,
        .columns = D,
        .left = ql_tiles_left(c->set, t->p, ql_tiles_lda(c->set, n), &score),
        .panel = t->v,
        .cells = ql_tiles_cells(c->set, n),
        .band = seen,
        .add = true};
    ql_tiles_product(c->set, &p);
}

/* Adds the n keys that start at token j. */
static void take_keys(const call *c, size_t j, size_t n)
{
    const size_t D = c->s->D;
    const scratch *t = &c->t;
    const ql_span rows = rows_of(c, j, n);

    for (size_t i = rows.from; i < rows.to; i++) {
        t->seen[i] = ql_span_within(
            ql_attention_keys(c->s, c->it.sequence, c->it.at + i), j, n);
    }
    ql_tiles_nt(c->set, t->k, &(ql_rows){c->k + j * c->ldk, c->ldk, n, D, 1},
                t->packing);
    ql_tiles_nn(c->set, t->v, &(ql_rows){c->v + j * c->ldk, c->ldk, n, D, 1},
                t->packing);
    for (size_t h = 0; h < c->it.heads; h++) {
        take_head(c, h, rows, n);
    }
}

/* Brings the rows of an item's head near, as operands. */
static void begin_head(const call *c, size_t h, const float *q)
{
    const size_t ld = ql_tiles_lda(c->set, c->s->D);

    ql_tiles_a(c->set, c->t.q + h * c->it.n * ld, ld,
               &(ql_rows){q, c->ldq, c->it.n, c->s->D, c->s->scale});
}

/* Writes what has come of an item's head. */
static void end_head(const call *c, size_t h, float *o, float *lse)
{
    const size_t D = c->s->D;
    const size_t ldo = ql_tiles_columns(c->set, D);
    const size_t first = h * c->it.n;

    for (size_t i = 0; i < c->it.n; i++) {
        const running *r = &c->t.row[first + i];
        const float *from = c->t.o + (first + i) * ldo;
        const float norm = (float)(1 / r->sum);
        float *to = o + i * c->ldq;

        for (size_t d = 0; i + AHEAD < c->it.n && d < D; d += QL_TILES_LINE) {
            __builtin_prefetch(&to[AHEAD * c->ldq + d], 1);
        }
        for (size_t d = 0; d < D; d++) {
            to[d] = from[d] * norm;
        }
        lse[i * c->s->H] = (float)((double)r->max + log(r->sum));
    }
}

static void forward_item(const call *c, float *o, float *lse, const float *q)
{
    const ql_attention_shape *s = c->s;
    const ql_item *it = &c->it;
    const size_t rows = it->heads * it->n;
    const size_t at = it->at * s->H + it->head;
    const size_t first = ql_attention_keys(s, it->sequence, it->at).from;
    const size_t end =
        ql_attention_keys(s, it->sequence, it->at + it->n - 1).to;

    for (size_t h = 0; h < it->heads; h++) {
        begin_head(c, h, q + (at + h) * s->D);
    }
    memset(c->t.o, 0, rows * ql_tiles_columns(c->set, s->D) * sizeof(float));
    for (size_t i = 0; i < rows; i++) {
        c->t.row[i] = (running){.max = -INFINITY};
    }
    for (size_t j = first; j < end; j += QL_ATTENTION_COLUMNS) {
        take_keys(c, j,
                  end - j < QL_ATTENTION_COLUMNS ? end - j
                                                 : QL_ATTENTION_COLUMNS);
    }
    for (size_t h = 0; h < it->heads; h++) {
        end_head(c, h, o + (at + h) * s->D, lse + at + h);
    }
}

void ql_attention_fwd(float *o, float *lse, const float *q, const float *k,
                      const float *v, const ql_attention_shape *s, void *work)
{
    const size_t each = ql_attention_fwd_bytes(s);
    const size_t items = ql_attention_items(s);

    assert(s->KV > 0 && s->H % s->KV == 0 && !(s->both_ways && s->window));
    assert(s->past == 0 || (s->sequences == 1 && !s->both_ways));
    if (s->past > 0 && s->T == 1) {
        ql_attention_one(o, lse, q, k, v, s, work);
        return;
    }
    /* Late blocks see the most keys: they go first. */
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < items; i++) {
        const ql_item it = ql_attention_item(s, items - 1 - i);
        const size_t kv = it.head / (s->H / s->KV) * s->D;
        ql_pieces piece = {.start = (uint32_t *)work +
                                    ql_thread() * each / sizeof(uint32_t)};
        const call c = {.set = ql_kernels_get(),
                        .loops = ql_loops_get(),
                        .s = s,
                        .it = it,
                        .k = k + kv,
                        .v = v + kv,
                        .ldk = s->KV * s->D,
                        .ldq = s->H * s->D,
                        .t = lay_out(&piece, s)};

        forward_item(&c, o, lse, q);
    }
}
