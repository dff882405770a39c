/* The forward: an item is a block of queries of one head of one sequence, which
 * walks over blocks of keys. The two products of a pair of blocks run on the
 * micro-kernels of the set in use; between them stands the softmax so far. */
#include "src/op/attention.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "src/op/attention_item.h"
#include "src/op/exp.h"
#include "src/op/loops.h"
#include "src/op/parallel.h"

/* The softmax of a row of scores so far: exp(s - max) sums to sum. */
typedef struct running {
    float max;
    double sum;
} running;

/* A thread's scratch. */
typedef struct scratch {
    uint32_t *q, *p;   /* rows of operands: queries; exp(s - max) */
    uint32_t *k, *v;   /* panels */
    uint32_t *packing; /* for filling them */
    float *score;      /* [ROWS, COLUMNS] */
    float *o;          /* [ROWS, D] */
    running *row;      /* [ROWS] */
} scratch;

static scratch lay_out(ql_pieces *piece, const ql_attention_shape *s)
{
    const ql_kernels *set = ql_kernels_get();
    const size_t rows = ql_tiles_rows(set, QL_ATTENTION_ROWS);
    const size_t D = s->D;

    return (scratch){
        .q = ql_pieces_take(piece, rows * ql_tiles_lda(set, D)),
        .p = ql_pieces_take(piece,
                            rows * ql_tiles_lda(set, QL_ATTENTION_COLUMNS)),
        .k =
            ql_pieces_take(piece, ql_tiles_panel(set, QL_ATTENTION_COLUMNS, D)),
        .v =
            ql_pieces_take(piece, ql_tiles_panel(set, D, QL_ATTENTION_COLUMNS)),
        .packing = ql_pieces_take(piece, ql_tiles_work(set, D)),
        .score = ql_pieces_take(piece, rows * QL_ATTENTION_COLUMNS),
        .o = ql_pieces_take(piece, rows * ql_tiles_columns(set, D)),
        .row = ql_pieces_take(piece, QL_ATTENTION_ROWS * sizeof(running) /
                                         sizeof(uint32_t)),
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
    const float *k, *v; /* of the item's head */
    size_t ldk;
    scratch t;
} call;

/* Turns the scores of a row for the keys that it sees into exp(s - max), the
 * rest of COLUMNS into 0, and brings o, the sum of p v so far, to the new
 * maximum. */
static void take_row(const call *c, size_t row, ql_span seen)
{
    const size_t D = c->s->D;
    const size_t n = seen.to - seen.from;
    float *all = c->t.score + row * QL_ATTENTION_COLUMNS;
    float *score = all + seen.from;
    running *r = &c->t.row[row];
    float tile_max;

    if (c->s->softcap > 0) {
        c->loops->softcap(score, n, c->s->softcap);
    }
    tile_max = c->loops->max(score, n);
    if (tile_max > r->max) {
        const float shrink = ql_exp(r->max - tile_max);

        r->max = tile_max;
        r->sum *= (double)shrink;
        c->loops->scale(c->t.o + row * ql_tiles_columns(c->set, D), D, shrink);
    }
    r->sum += c->loops->exp(score, n, r->max);
    memset(all, 0, seen.from * sizeof *all);
    memset(score + n, 0, (QL_ATTENTION_COLUMNS - seen.to) * sizeof *score);
}

/* Rows of an item that see any of n keys from j on, from a whole tile on. */
static ql_span rows_of(const call *c, const ql_item *it, size_t j, size_t n)
{
    const ql_attention_shape *s = c->s;
    const ql_span queries = {
        ql_attention_queries(s, it->sequence, j).from,
        ql_attention_queries(s, it->sequence, j + n - 1).to};
    ql_span rows = ql_span_within(queries, it->at, it->n);

    rows.from -= rows.from % c->set->thin.mr;
    return rows;
}

/* Adds the n keys that start at token j. */
static void take_keys(const call *c, const ql_item *it, size_t j, size_t n)
{
    const size_t D = c->s->D;
    const size_t ldo = ql_tiles_columns(c->set, D);
    const size_t ldq = ql_tiles_lda(c->set, D);
    const size_t ldp = ql_tiles_lda(c->set, QL_ATTENTION_COLUMNS);
    /* Queries before and behind them see none. */
    const ql_span rows = rows_of(c, it, j, n);
    const size_t height = rows.to - rows.from;
    const scratch *t = &c->t;
    float *score = t->score + rows.from * QL_ATTENTION_COLUMNS;

    ql_tiles_nt(c->set, t->k, &(ql_rows){c->k + j * c->ldk, c->ldk, n, D, 1},
                t->packing);
    ql_tiles_nn(c->set, t->v, &(ql_rows){c->v + j * c->ldk, c->ldk, n, D, 1},
                t->packing);
    ql_tiles_product(c->set, score, QL_ATTENTION_COLUMNS, height, n,
                     t->q + rows.from * ldq, ldq, t->k,
                     ql_tiles_cells(c->set, D), false);
    for (size_t i = rows.from; i < rows.to; i++) {
        const ql_span seen = ql_span_within(
            ql_attention_keys(c->s, it->sequence, it->at + i), j, n);

        if (seen.from < seen.to) {
            take_row(c, i, seen);
        } else {
            memset(t->score + i * QL_ATTENTION_COLUMNS, 0,
                   QL_ATTENTION_COLUMNS * sizeof(float));
        }
    }
    ql_tiles_a(c->set, t->p + rows.from * ldp, ldp,
               &(ql_rows){score, QL_ATTENTION_COLUMNS, height, n, 1});
    ql_tiles_product(c->set, t->o + rows.from * ldo, ldo, height, D,
                     t->p + rows.from * ldp, ldp, t->v,
                     ql_tiles_cells(c->set, n), true);
}

static void forward_item(const call *c, const ql_item *it, float *o, float *lse,
                         const float *q)
{
    const ql_attention_shape *s = c->s;
    const size_t D = s->D;
    const size_t ldq = s->H * D;
    const size_t ldo = ql_tiles_columns(c->set, D);
    const size_t at = it->at * ldq + it->head * D;
    const size_t first = ql_attention_keys(s, it->sequence, it->at).from;
    const size_t end =
        ql_attention_keys(s, it->sequence, it->at + it->n - 1).to;

    ql_tiles_a(c->set, c->t.q, ql_tiles_lda(c->set, D),
               &(ql_rows){q + at, ldq, it->n, D, s->scale});
    memset(c->t.o, 0, ql_tiles_rows(c->set, it->n) * ldo * sizeof(float));
    for (size_t i = 0; i < it->n; i++) {
        c->t.row[i] = (running){.max = -INFINITY};
    }
    for (size_t j = first; j < end; j += QL_ATTENTION_COLUMNS) {
        take_keys(c, it, j,
                  end - j < QL_ATTENTION_COLUMNS ? end - j
                                                 : QL_ATTENTION_COLUMNS);
    }
    for (size_t i = 0; i < it->n; i++) {
        const running *r = &c->t.row[i];
        const float norm = (float)(1 / r->sum);

        for (size_t d = 0; d < D; d++) {
            o[at + i * ldq + d] = c->t.o[i * ldo + d] * norm;
        }
        lse[(it->at + i) * s->H + it->head] =
            (float)((double)r->max + log(r->sum));
    }
}

void ql_attention_fwd(float *o, float *lse, const float *q, const float *k,
                      const float *v, const ql_attention_shape *s, void *work)
{
    const size_t each = ql_attention_fwd_bytes(s);
    const size_t items = s->H * ql_attention_blocks(s);

    assert(s->KV > 0 && s->H % s->KV == 0 && !(s->both_ways && s->window));
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
                        .k = k + kv,
                        .v = v + kv,
                        .ldk = s->KV * s->D,
                        .t = lay_out(&piece, s)};

        forward_item(&c, &it, o, lse, q);
    }
}
