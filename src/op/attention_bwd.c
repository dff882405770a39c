/* The backward: an item is one head of one sequence, or all that share keys,
 * which then add up their gradients at once. With p the softmax and o = p v:
 *
 *   dv = p^T dout
 *   dp = dout v^T
 *   ds = p (dp - delta),  delta[i] = sum_j p[i,j] dp[i,j] = dout[i] . o[i]
 *   dq = scale ds k,      dk = scale ds^T q
 *
 * Scores are made with keys as rows, so that p and ds are rows of operands as
 * they are, for dv and dk; for dq, ds is turned round. */
#include "src/op/attention.h"

#include <assert.h>
#include <string.h>

#include "src/op/attention_item.h"
#include "src/op/loops.h"
#include "src/op/parallel.h"

enum {
    ROWS = QL_ATTENTION_ROWS,
    COLUMNS = QL_ATTENTION_COLUMNS,
    TURNED = 32, /* rows that are turned at a time; a multiple of four */
    VECTOR = 16, /* values: a whole vector of any set; divides COLUMNS */
    AHEAD = 8,   /* rows that are brought nearer before they are used */
    ITEMS = 16   /* that there are at least, if sequences and heads allow it */
};

/* A thread's scratch. */
typedef struct scratch {
    uint32_t *k, *v;             /* rows of operands, keys */
    uint32_t *k_nn;              /* panels for dq */
    uint32_t *q_nt, *q_nn;       /* panels of queries */
    uint32_t *dout_nt, *dout_nn; /* and of their gradients */
    uint32_t *p, *ds;            /* rows of operands, keys */
    uint32_t *ds_turned;         /* rows of operands, queries */
    uint32_t *packing;           /* for filling panels */
    float *score, *dscore;       /* [ROWS, COLUMNS] */
    float *turned;               /* [COLUMNS, ROWS] */
    float *dk, *dv;              /* [ROWS, D] */
    float *dq;                   /* [COLUMNS, D] */
    float *lse, *delta;          /* [COLUMNS] */
    ql_span *seen;               /* [ROWS] queries that see a key */
    ql_span *seeing;             /* [COLUMNS] keys that a query sees */
} scratch;

static scratch lay_out(ql_pieces *piece, const ql_attention_shape *s)
{
    const ql_kernels *set = ql_kernels_get();
    const size_t D = s->D;
    const size_t most = ql_attention_most(s); /* keys, and queries */
    const size_t rows = ql_tiles_rows(set, most);
    const size_t wide = ql_tiles_columns(set, D);
    const size_t nt = ql_tiles_panel(set, most, D);
    const size_t nn = ql_tiles_panel(set, D, most);

    return (scratch){
        .k = ql_pieces_take(piece, rows * ql_tiles_lda(set, D)),
        .v = ql_pieces_take(piece, rows * ql_tiles_lda(set, D)),
        .k_nn = ql_pieces_take(piece, ql_tiles_panel(set, D, most)),
        .q_nt = ql_pieces_take(piece, nt),
        .q_nn = ql_pieces_take(piece, nn),
        .dout_nt = ql_pieces_take(piece, nt),
        .dout_nn = ql_pieces_take(piece, nn),
        .p = ql_pieces_take(piece, rows * ql_tiles_lda(set, COLUMNS)),
        .ds = ql_pieces_take(piece, rows * ql_tiles_lda(set, COLUMNS)),
        .ds_turned = ql_pieces_take(piece, rows * ql_tiles_lda(set, ROWS)),
        .packing = ql_pieces_take(piece, ql_tiles_work(set, D)),
        .score = ql_pieces_take(piece, rows * COLUMNS),
        .dscore = ql_pieces_take(piece, rows * COLUMNS),
        .turned = ql_pieces_take(piece, rows * ROWS),
        .dk = ql_pieces_take(piece, rows * wide),
        .dv = ql_pieces_take(piece, rows * wide),
        .dq = ql_pieces_take(piece, rows * wide),
        .lse = ql_pieces_take(piece, COLUMNS),
        .delta = ql_pieces_take(piece, COLUMNS),
        .seen =
            ql_pieces_take(piece, ROWS * sizeof(ql_span) / sizeof(uint32_t)),
        .seeing =
            ql_pieces_take(piece, COLUMNS * sizeof(ql_span) / sizeof(uint32_t)),
    };
}

size_t ql_attention_bwd_bytes(const ql_attention_shape *s)
{
    ql_pieces piece = {0};

    lay_out(&piece, s);
    return piece.used * sizeof(uint32_t);
}

/* Where gradients of keys and values go. */
typedef struct target {
    float *dk, *dv;
    size_t ld;
} target;

/* Everything of one item. */
typedef struct call {
    const ql_kernels *set;
    const ql_loops *loops;
    const ql_attention_shape *s;
    size_t heads;
    ql_span sequence;
    size_t ldq, ldk;           /* between tokens */
    const float *k, *v;        /* of the heads */
    const float *q, *dout, *o; /* of the first head; others follow */
    const float *lse;          /* the same, H apart */
    float *dq, *delta;
    target to;
    scratch t;
} call;

/* The call as one head of its item sees it. */
static call of_head(const call *c, size_t head)
{
    const size_t at = head * c->s->D;
    call h = *c;

    h.q += at;
    h.dout += at;
    h.dq += at;
    h.lse += head;
    h.delta += head;
    return h;
}

/* Where operands are rounded, queries are scaled, as in the forward, so that
 * scores are the same; elsewhere keys, whose rows have to be made anyway. */
static bool queries_are_scaled(const call *c)
{
    return c->set->pair > 1;
}

/* Panels of m queries from i on. */
static void take_queries(const call *c, size_t i, size_t m)
{
    const size_t D = c->s->D;
    const ql_rows q = {c->q + i * c->ldq, c->ldq, m, D, 1};
    const float scale = queries_are_scaled(c) ? c->s->scale : 1;
    const ql_rows scaled = {q.x, q.ld, m, D, scale};
    const ql_rows dout = {c->dout + i * c->ldq, c->ldq, m, D, 1};
    const scratch *t = &c->t;

    ql_tiles_nt(c->set, t->q_nt, &scaled, t->packing);
    ql_tiles_nn(c->set, t->q_nn, &q, t->packing);
    ql_tiles_nt(c->set, t->dout_nt, &dout, t->packing);
    ql_tiles_nn(c->set, t->dout_nn, &dout, t->packing);
    for (size_t n = 0; n < m; n++) {
        t->lse[n] = c->lse[(i + n) * c->s->H];
        t->delta[n] = c->delta[(i + n) * c->s->H];
    }
    memset(t->lse + m, 0, (COLUMNS - m) * sizeof(float));
    memset(t->delta + m, 0, (COLUMNS - m) * sizeof(float));
}

/* Scores and dp of a key become p and ds: 0 for queries that do not see it.
 * Loops run over whole vectors. */
static void take_row(const call *c, size_t r, ql_span seen)
{
    const size_t from = seen.from / VECTOR * VECTOR;
    const size_t to = (seen.to + VECTOR - 1) / VECTOR * VECTOR;
    const size_t n = seen.to > from ? to - from : 0;
    const size_t behind = seen.to > seen.from ? seen.to : seen.from;
    const float *lse = c->t.lse + from;
    const float *delta = c->t.delta + from;
    float *p = c->t.score + r * COLUMNS;
    float *ds = c->t.dscore + r * COLUMNS;

    if (c->s->softcap > 0) {
        c->loops->softcap_bwd(p + from, ds + from, n, lse, delta,
                              c->s->softcap);
    } else {
        c->loops->softmax_bwd(p + from, ds + from, n, lse, delta);
    }
    memset(p, 0, seen.from * sizeof *p);
    memset(ds, 0, seen.from * sizeof *ds);
    memset(p + behind, 0, (COLUMNS - behind) * sizeof *p);
    memset(ds + behind, 0, (COLUMNS - behind) * sizeof *ds);
}

/* A pair of blocks: n keys from token j on, m queries from i on, and the keys
 * that any of these see. */
typedef struct pair {
    size_t j, n;
    size_t i, m;
    ql_span keys;
} pair;

/* Notes who sees whom. */
static pair open_pair(const call *c, size_t j, size_t n, size_t i, size_t m)
{
    const ql_span all = c->sequence;
    const ql_span keys = {ql_attention_keys(c->s, all, i).from,
                          ql_attention_keys(c->s, all, i + m - 1).to};

    for (size_t r = 0; r < n; r++) {
        c->t.seen[r] =
            ql_span_within(ql_attention_queries(c->s, all, j + r), i, m);
    }
    for (size_t q = 0; q < m; q++) {
        c->t.seeing[q] =
            ql_span_within(ql_attention_keys(c->s, all, i + q), j, n);
    }
    return (pair){j, n, i, m, ql_span_within(keys, j, n)};
}

/* p and ds of the keys that are seen; ds of all others is zero. */
static void scores(const call *c, const pair *b)
{
    const size_t lda = ql_tiles_lda(c->set, c->s->D);
    const size_t from = b->keys.from;
    const scratch *t = &c->t;
    ql_product p = {.c = t->score + from * COLUMNS,
                    .ldc = COLUMNS,
                    .rows = b->keys.to - from,
                    .columns = b->m,
                    .left = {t->k + from * lda, lda},
                    .panel = t->q_nt,
                    .cells = ql_tiles_cells(c->set, c->s->D),
                    .wanted = t->seen + from};

    ql_tiles_product(c->set, &p);
    p.c = t->dscore + from * COLUMNS;
    p.left.a = t->v + from * lda;
    p.panel = t->dout_nt;
    ql_tiles_product(c->set, &p);
    for (size_t r = from; r < b->keys.to; r++) {
        take_row(c, r, t->seen[r]);
    }
    memset(t->dscore, 0, from * COLUMNS * sizeof(float));
    memset(t->dscore + b->keys.to * COLUMNS, 0,
           (b->n - b->keys.to) * COLUMNS * sizeof(float));
}

/* ds turned round, some queries at a time, whose rows stay in cache. */
static void turn(const call *c, const pair *b)
{
    uint32_t *turned = (uint32_t *)(void *)c->t.turned;

    for (size_t q = 0; q < b->m; q += TURNED) {
        const size_t m = b->m - q < TURNED ? b->m - q : TURNED;

        for (size_t r = 0; r < b->n; r += c->set->lanes) {
            c->set->turn(turned + q * ROWS + r, ROWS,
                         c->t.dscore + r * COLUMNS + q, COLUMNS, m);
        }
    }
}

/* dq of the queries += ds k, or = where they see no key of earlier blocks. */
static void add_dq(const call *c, const pair *b)
{
    const size_t D = c->s->D;
    const size_t ld = ql_tiles_columns(c->set, D);
    const scratch *t = &c->t;
    const ql_rows turned = {t->turned, ROWS, b->m, b->n, 1};
    ql_product p = {.c = t->dq,
                    .ldc = ld,
                    .rows = b->m,
                    .columns = D,
                    .panel = t->k_nn,
                    .cells = ql_tiles_cells(c->set, b->n),
                    .band = t->seeing};

    turn(c, b);
    p.left = ql_tiles_left(c->set, t->ds_turned, ql_tiles_lda(c->set, ROWS),
                           &turned);
    ql_tiles_product(c->set, &p);
    for (size_t q = 0; q < b->m; q++) {
        const bool later =
            ql_attention_keys(c->s, c->sequence, b->i + q).from < b->j;
        const float *from = t->dq + q * ld;
        float *to = c->dq + (b->i + q) * c->ldq;

        if (q + AHEAD < b->m) {
            ql_prefetch(to + AHEAD * c->ldq, D * sizeof *to);
        }
        for (size_t d = 0; d < D; d++) {
            to[d] = (later ? to[d] : 0) + c->s->scale * from[d];
        }
    }
}

/* One of dk and dv += x^T z, for the keys that are seen; x is rows of keys, z
 * panels of queries. */
static void add_keys(const call *c, const pair *b, float *to, const float *x,
                     uint32_t *room, const uint32_t *z)
{
    const size_t D = c->s->D;
    const size_t from = b->keys.from;
    const size_t ld = ql_tiles_columns(c->set, D);
    const ql_rows rows = {x + from * COLUMNS, COLUMNS, b->keys.to - from, b->m,
                          1};
    const ql_product p = {
        .c = to + from * ld,
        .ldc = ld,
        .rows = rows.n,
        .columns = D,
        .left =
            ql_tiles_left(c->set, room, ql_tiles_lda(c->set, COLUMNS), &rows),
        .panel = z,
        .cells = ql_tiles_cells(c->set, b->m),
        .band = c->t.seen + from,
        .add = true};

    ql_tiles_product(c->set, &p);
}

/* The n keys from j on, which are at hand, against all queries of a head that
 * see them. */
static void take_head(const call *c, size_t j, size_t n)
{
    const ql_attention_shape *s = c->s;
    const size_t first = ql_attention_queries(s, c->sequence, j).from;
    const size_t end = ql_attention_queries(s, c->sequence, j + n - 1).to;
    const scratch *t = &c->t;

    for (size_t i = first; i < end; i += COLUMNS) {
        const size_t m = end - i < COLUMNS ? end - i : COLUMNS;
        const pair b = open_pair(c, j, n, i, m);

        take_queries(c, i, m);
        scores(c, &b);
        add_dq(c, &b);
        add_keys(c, &b, t->dv, t->score, t->p, t->dout_nn);
        add_keys(c, &b, t->dk, t->dscore, t->ds, t->q_nn);
    }
}

/* Adds a head's gradients of n keys from j on to those of the heads before it:
 * in order, as add_groups does. */
static void end_keys(const call *c, size_t head, size_t j, size_t n)
{
    const size_t D = c->s->D;
    const size_t ld = ql_tiles_columns(c->set, D);
    const scratch *t = &c->t;

    for (size_t r = 0; r < n; r++) {
        float *dk = c->to.dk + (j + r) * c->to.ld;
        float *dv = c->to.dv + (j + r) * c->to.ld;

        if (r + AHEAD < n) {
            ql_prefetch(dk + AHEAD * c->to.ld, D * sizeof *dk);
            ql_prefetch(dv + AHEAD * c->to.ld, D * sizeof *dv);
        }
        for (size_t d = 0; d < D; d++) {
            dk[d] = (head > 0 ? dk[d] : 0) + t->dk[r * ld + d] * c->s->scale;
            dv[d] = (head > 0 ? dv[d] : 0) + t->dv[r * ld + d];
        }
    }
}

/* The n keys from j on against all queries of the item. */
static void take_keys(const call *c, size_t j, size_t n)
{
    const size_t D = c->s->D;
    const size_t bytes = n * ql_tiles_columns(c->set, D) * sizeof(float);
    const ql_rows k = {c->k + j * c->ldk, c->ldk, n, D, 1};
    const float scale = queries_are_scaled(c) ? 1 : c->s->scale;
    const ql_rows scaled = {k.x, k.ld, n, D, scale};
    const ql_rows v = {c->v + j * c->ldk, c->ldk, n, D, 1};
    const scratch *t = &c->t;

    ql_tiles_a(c->set, t->k, ql_tiles_lda(c->set, D), &scaled);
    ql_tiles_a(c->set, t->v, ql_tiles_lda(c->set, D), &v);
    ql_tiles_nn(c->set, t->k_nn, &k, t->packing);
    for (size_t h = 0; h < c->heads; h++) {
        const call head = of_head(c, h);

        memset(t->dk, 0, bytes);
        memset(t->dv, 0, bytes);
        take_head(&head, j, n);
        end_keys(c, h, j, n);
    }
}

/* delta of the item's rows. */
static void make_delta(const call *c)
{
    const size_t D = c->s->D;
    const size_t bytes = c->heads * D * sizeof(float);

    for (size_t i = c->sequence.from; i < c->sequence.to; i++) {
        const float *dout = c->dout + i * c->ldq;
        const float *o = c->o + i * c->ldq;
        float *delta = c->delta + i * c->s->H;

        if (i + AHEAD < c->sequence.to) {
            ql_prefetch(dout + AHEAD * c->ldq, bytes);
            ql_prefetch(o + AHEAD * c->ldq, bytes);
        }
        for (size_t h = 0; h < c->heads; h++) {
            delta[h] = (float)c->loops->dot(dout + h * D, o + h * D, D);
        }
    }
}

static void backward_item(const call *c)
{
    const ql_span all = c->sequence;
    const size_t n = all.to - all.from;
    const size_t blocks = (n + ROWS - 1) / ROWS;

    make_delta(c);
    for (size_t b = 0; b < blocks; b++) {
        const size_t j = n * b / blocks;

        take_keys(c, all.from + j, n * (b + 1) / blocks - j);
    }
}

/* Heads that share keys: their gradients are added up, in order. */
static void add_groups(float *dk, float *dv, const target *part,
                       const ql_attention_shape *s)
{
    const size_t D = s->D;
    const size_t group = s->H / s->KV;

#pragma omp parallel for schedule(dynamic, 64)
    for (size_t i = 0; i < s->T * s->KV; i++) {
        for (size_t h = 0; h < group; h++) {
            const size_t from = (i * group + h) * D;

            for (size_t d = 0; d < D; d++) {
                dk[i * D + d] =
                    (h > 0 ? dk[i * D + d] : 0) + part->dk[from + d];
                dv[i * D + d] =
                    (h > 0 ? dv[i * D + d] : 0) + part->dv[from + d];
            }
        }
    }
}

/* Heads of an item: all that share keys, unless an item would then be more than
 * an ITEMS-th of the work. It does not change results, which would depend on
 * what else is in a pack. */
static size_t heads_of(const ql_attention_shape *s)
{
    size_t all = 0;
    size_t most = 0;

    for (size_t i = 0; i < s->sequences; i++) {
        const size_t n = s->start[i + 1] - s->start[i];

        all += n * n;
        most = n * n > most ? n * n : most;
    }
    return all * s->KV >= ITEMS * most ? s->H / s->KV : 1;
}

void ql_attention_bwd(float *dq, float *dk, float *dv, const float *dout,
                      const ql_attention_kept *f, const ql_attention_shape *s,
                      void *work)
{
    const size_t D = s->D;
    const size_t each = ql_attention_bwd_bytes(s) / sizeof(float);
    const size_t group = s->H / s->KV;
    const size_t heads = heads_of(s);
    const size_t parts = s->H / heads; /* of a sequence */
    float *delta = (float *)work + ql_max_threads() * each;
    target to = {dk, dv, parts * D};

    assert(s->KV > 0 && s->H % s->KV == 0 && !(s->both_ways && s->window));
    if (heads < group) {
        to.dk = delta + s->T * s->H;
        to.dv = to.dk + s->T * s->H * D;
    }
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < s->sequences * parts; i++) {
        const size_t sequence = i / parts;
        const size_t part = i % parts;
        const size_t head = part * heads;
        const size_t kv = head / group * D;
        ql_pieces piece = {.start = (uint32_t *)work + ql_thread() * each};
        const call c = {
            .set = ql_kernels_get(),
            .loops = ql_loops_get(),
            .s = s,
            .heads = heads,
            .sequence = {s->start[sequence], s->start[sequence + 1]},
            .ldq = s->H * D,
            .ldk = s->KV * D,
            .k = f->k + kv,
            .v = f->v + kv,
            .q = f->q + head * D,
            .dout = dout + head * D,
            .o = f->o + head * D,
            .lse = f->lse + head,
            .dq = dq + head * D,
            .delta = delta + head,
            .to = {to.dk + part * D, to.dv + part * D, to.ld},
            .t = lay_out(&piece, s),
        };

        backward_item(&c);
    }
    if (heads < group) {
        add_groups(dk, dv, &to, s);
    }
}
