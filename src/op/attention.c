/* The forward: an item is a block of queries of one head of one sequence, which
 * walks over blocks of keys. The two products of a pair of blocks run on the
 * micro-kernels of the set in use; between them stands the softmax so far. */
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
    VECTOR = 32, /* values that loops take at a time; divides COLUMNS */
    AHEAD = 4    /* rows that are brought nearer before they are written */
};

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
    ql_span *seen;     /* [ROWS] keys that a row sees, of those at hand */
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
        .seen = ql_pieces_take(piece, QL_ATTENTION_ROWS * sizeof(ql_span) /
                                          sizeof(uint32_t)),
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

/* The scores of a row for the keys that it sees, in whole vectors: where these
 * have keys that are not seen, they hold a score that is, which changes no
 * maximum. */
typedef struct row_scores {
    float *at;   /* of the first vector */
    size_t n;    /* values */
    size_t more; /* of them not seen */
} row_scores;

static row_scores open_row(const call *c, size_t row, ql_span seen)
{
    const size_t from = seen.from / VECTOR * VECTOR;
    const size_t to = (seen.to + VECTOR - 1) / VECTOR * VECTOR;
    float *score = c->t.score + row * QL_ATTENTION_COLUMNS;

    return (row_scores){score + from, to - from,
                        (to - from) - (seen.to - seen.from)};
}

/* Takes note of the largest score of a row, and brings o, the sum of p v so
 * far, to the new maximum. */
static void take_scores(const call *c, size_t row, ql_span seen)
{
    const size_t D = c->s->D;
    const row_scores s = open_row(c, row, seen);
    float *score = c->t.score + row * QL_ATTENTION_COLUMNS;
    running *r = &c->t.row[row];
    float tile_max;

    if (c->s->softcap > 0) {
        c->loops->softcap(score + seen.from, seen.to - seen.from,
                          c->s->softcap);
    }
    for (float *x = s.at; x < score + seen.from; x++) {
        *x = score[seen.from];
    }
    for (float *x = score + seen.to; x < s.at + s.n; x++) {
        *x = score[seen.from];
    }
    tile_max = c->loops->max(s.at, s.n);
    if (tile_max > r->max) {
        const float shrink = ql_exp(r->max - tile_max);

        r->max = tile_max;
        r->sum *= (double)shrink;
        c->loops->scale(c->t.o + row * ql_tiles_columns(c->set, D), D, shrink);
    }
}

/* Turns the scores of a row into exp(s - max), the rest of COLUMNS into 0. */
static void take_exps(const call *c, size_t row, ql_span seen)
{
    const row_scores s = open_row(c, row, seen);
    float *p = c->t.score + row * QL_ATTENTION_COLUMNS;
    running *r = &c->t.row[row];

    r->sum += c->loops->exp(s.at, s.n, r->max);
    r->sum -= (double)s.more * (double)p[seen.from];
    memset(p, 0, seen.from * sizeof *p);
    memset(p + seen.to, 0, (QL_ATTENTION_COLUMNS - seen.to) * sizeof *p);
}

/* Rows of an item that see any of n keys from token j on. */
static ql_span rows_of(const call *c, const ql_item *it, size_t j, size_t n)
{
    const ql_attention_shape *s = c->s;
    const ql_span queries = {
        ql_attention_queries(s, it->sequence, j).from,
        ql_attention_queries(s, it->sequence, j + n - 1).to};

    return ql_span_within(queries, it->at, it->n);
}

/* Adds the n keys that start at token j. */
static void take_keys(const call *c, const ql_item *it, size_t j, size_t n)
{
    const size_t D = c->s->D;
    const size_t ldo = ql_tiles_columns(c->set, D);
    const size_t ldq = ql_tiles_lda(c->set, D);
    const scratch *t = &c->t;
    const ql_span rows = rows_of(c, it, j, n);
    ql_span *seen = t->seen + rows.from;
    ql_product p = {.c = t->score + rows.from * QL_ATTENTION_COLUMNS,
                    .ldc = QL_ATTENTION_COLUMNS,
                    .rows = rows.to - rows.from,
                    .columns = n,
                    .left = {t->q + rows.from * ldq, ldq},
                    .panel = t->k,
                    .cells = ql_tiles_cells(c->set, D),
                    .wanted = seen};
    const ql_rows score = {p.c, p.ldc, p.rows, n, 1};

    for (size_t i = 0; i < p.rows; i++) {
        seen[i] = ql_span_within(
            ql_attention_keys(c->s, it->sequence, it->at + rows.from + i), j,
            n);
    }
    ql_tiles_nt(c->set, t->k, &(ql_rows){c->k + j * c->ldk, c->ldk, n, D, 1},
                t->packing);
    ql_tiles_nn(c->set, t->v, &(ql_rows){c->v + j * c->ldk, c->ldk, n, D, 1},
                t->packing);
    ql_tiles_product(c->set, &p);
    for (size_t i = 0; i < p.rows; i++) {
        if (seen[i].from < seen[i].to) {
            take_scores(c, rows.from + i, seen[i]);
        }
    }
    for (size_t i = 0; i < p.rows; i++) {
        if (seen[i].from < seen[i].to) {
            take_exps(c, rows.from + i, seen[i]);
        } else {
            memset(p.c + i * p.ldc, 0, p.ldc * sizeof(float));
        }
    }
    p = (ql_product){
        .c = t->o + rows.from * ldo,
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
    memset(c->t.o, 0, it->n * ldo * sizeof(float));
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

        for (size_t d = 0; i + AHEAD < it->n && d < D; d += QL_TILES_LINE) {
            __builtin_prefetch(&o[at + (i + AHEAD) * ldq + d], 1);
        }
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
                        .k = k + kv,
                        .v = v + kv,
                        .ldk = s->KV * s->D,
                        .t = lay_out(&piece, s)};

        forward_item(&c, &it, o, lse, q);
    }
}
