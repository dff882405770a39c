/* Both directions are one micro-kernel, C += A B with A broadcast and B along
 * the lanes, over panels that fit into the caches:
 *
 *   forward    A = decoded rows of W, B = X packed as [tokens / nr][k][nr];
 *              the tile comes out as [rows of W][tokens] and is written to Y
 *              transposed;
 *   backward   A = rows of dY as they lie, B = a decoded piece of W, rows by
 *              columns; the tile is a piece of dX.
 *
 * A task is a range of rows (forward) or columns (backward) of W, so that each
 * weight is decoded once. Tasks are handed out dynamically; what a task
 * computes, and in which order, depends on the shapes only. Edges are padded
 * with zeros in small buffers. */
#include "quant/qgemm.h"

#include <assert.h>
#include <omp.h>
#include <string.h>

#include "quant/kernels.h"

enum {
    FWD_ROWS = 48, /* rows of W in a task, at most; a multiple of every mr */
    FWD_DEPTH = 512,
    BWD_COLS = 192, /* columns of W in a task; a multiple of every nr */
    BWD_DEPTH = 128,
    MAX_MR = 8,
    MAX_NR = 48,
    FEW = 4,  /* up to this many tokens X is not packed */
    LINE = 16 /* floats in a cache line */
};

/* Floats of one thread's panel and small buffers. */
enum {
    PANEL = FWD_ROWS * FWD_DEPTH > BWD_COLS *BWD_DEPTH ? FWD_ROWS *FWD_DEPTH
                                                       : BWD_COLS *BWD_DEPTH,
    EDGE = MAX_MR * BWD_DEPTH,
    TILE = MAX_MR * MAX_NR
};

typedef struct room {
    float panel[PANEL]; /* decoded weights */
    float edge[EDGE];   /* rows of dY, padded */
    float tile[TILE];
} room;

/* One product. */
typedef struct product {
    const ql_kernels *k;
    const ql_qtensor *w;
    size_t T, N, K;
    bool add;
    const float *in;
    float *out;
    float *packed; /* forward only */
} product;

static size_t ceil_div(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t packed_floats(size_t T, size_t K, size_t nr)
{
    const size_t floats = ceil_div(T, nr) * nr * K;

    return ceil_div(floats, LINE) * LINE;
}

size_t ql_qgemm_work_bytes(size_t T, size_t N, size_t K)
{
    const size_t nr = ql_kernels_get()->nr;
    const size_t rooms = (size_t)omp_get_max_threads();

    (void)N;
    return packed_floats(T, K, nr) * sizeof(float) + rooms * sizeof(room);
}

static room *room_of_thread(const product *p)
{
    char *rooms = (char *)(p->packed + packed_floats(p->T, p->K, p->k->nr));

    return (room *)(void *)(rooms +
                            (size_t)omp_get_thread_num() * sizeof(room));
}

/* Packs tokens [t, t + nr): element k of token j goes to [k][j]. */
static void pack_panel(const product *p, size_t t)
{
    const size_t nr = p->k->nr;
    const size_t have = smaller(nr, p->T - t);
    float *out = p->packed + t * p->K;

    for (size_t k = 0; k < p->K; k++) {
        for (size_t j = 0; j < have; j++) {
            out[k * nr + j] = p->in[(t + j) * p->K + k];
        }
        for (size_t j = have; j < nr; j++) {
            out[k * nr + j] = 0;
        }
    }
}

/* Adds the tile [mr][nr] to Y [tokens][rows], or writes it there. */
static void scatter(const product *p, const float *tile, size_t t, size_t n,
                    bool add)
{
    const size_t nr = p->k->nr;
    const size_t tokens = smaller(nr, p->T - t);
    const size_t rows = smaller(p->k->mr, p->N - n);

    for (size_t j = 0; j < tokens; j++) {
        float *y = p->out + (t + j) * p->N + n;

        for (size_t i = 0; i < rows; i++) {
            y[i] = (add ? y[i] : 0) + tile[i * nr + j];
        }
    }
}

/* Rows [n, n + rows) of W, columns [k, k + depth): all their products. */
static void forward_chunk(const product *p, room *r, size_t n, size_t rows,
                          size_t k, size_t depth)
{
    const size_t mr = p->k->mr;
    const size_t nr = p->k->nr;
    const size_t full = ceil_div(rows, mr) * mr;

    for (size_t i = 0; i < rows; i++) {
        p->k->decode(r->panel + i * depth, p->w, (n + i) * p->K + k, depth);
    }
    memset(r->panel + rows * depth, 0, (full - rows) * depth * sizeof(float));
    for (size_t t = 0; t < p->T; t += nr) {
        const float *b = p->packed + t * p->K + k * nr;

        for (size_t i = 0; i < rows; i += mr) {
            memset(r->tile, 0, mr * nr * sizeof(float));
            p->k->ukr(r->tile, nr, r->panel + i * depth, depth, b, nr, depth);
            scatter(p, r->tile, t, n + i, p->add || k > 0);
        }
    }
}

/* Rows of W in a forward task: fewer where there are few, so that all threads
 * find work. Depends on the shape only. */
static size_t forward_rows(const product *p)
{
    const size_t mr = p->k->mr;
    const size_t share = ceil_div(ceil_div(p->N, 16), mr) * mr;

    return smaller(share, FWD_ROWS / mr * mr);
}

static void forward_task(const product *p, size_t n, size_t rows)
{
    room *r = room_of_thread(p);

    rows = smaller(rows, p->N - n);
    for (size_t k = 0; k < p->K; k += FWD_DEPTH) {
        forward_chunk(p, r, n, rows, k, smaller(FWD_DEPTH, p->K - k));
    }
}

/* x . w in 16 partial sums, in an order that depends on n only. */
static float dot(const float *x, const float *w, size_t n)
{
    float part[LINE] = {0};
    float sum = 0;
    size_t i = 0;

    for (; i + LINE <= n; i += LINE) {
        for (size_t j = 0; j < LINE; j++) {
            part[j] += x[i + j] * w[i + j];
        }
    }
    for (size_t j = 0; i + j < n; j++) {
        part[j] += x[i + j] * w[i + j];
    }
    for (size_t j = 0; j < LINE; j++) {
        sum += part[j];
    }
    return sum;
}

/* One row of W against a few tokens. */
static void forward_few(const product *p, size_t n)
{
    float *panel = room_of_thread(p)->panel;
    float sum[FEW] = {0};

    for (size_t k = 0; k < p->K; k += PANEL) {
        const size_t depth = smaller(PANEL, p->K - k);

        p->k->decode(panel, p->w, n * p->K + k, depth);
        for (size_t t = 0; t < p->T; t++) {
            sum[t] += dot(p->in + t * p->K + k, panel, depth);
        }
    }
    for (size_t t = 0; t < p->T; t++) {
        float *y = p->out + t * p->N + n;

        *y = (p->add ? *y : 0) + sum[t];
    }
}

void ql_qgemm_fwd(float *y, const float *x, const ql_qtensor *w, size_t T,
                  bool add, void *work)
{
    const product p = {.k = ql_kernels_get(),
                       .w = w,
                       .T = T,
                       .N = w->rows,
                       .K = w->cols,
                       .add = add,
                       .in = x,
                       .out = y,
                       .packed = work};
    const size_t rows = forward_rows(&p);

    assert(p.k->mr <= MAX_MR && p.k->nr <= MAX_NR);
    if (T <= FEW) {
#pragma omp parallel for schedule(static)
        for (size_t n = 0; n < p.N; n++) {
            forward_few(&p, n);
        }
        return;
    }
#pragma omp parallel
    {
#pragma omp for schedule(dynamic)
        for (size_t t = 0; t < T; t += p.k->nr) {
            pack_panel(&p, t);
        }
#pragma omp for schedule(dynamic)
        for (size_t n = 0; n < p.N; n += rows) {
            forward_task(&p, n, rows);
        }
    }
}

/* mr rows of dY from t on, columns [n, n + depth), padded with zeros. */
static const float *edge_rows(const product *p, room *r, size_t t, size_t n,
                              size_t depth)
{
    const size_t have = p->T - t;

    for (size_t i = 0; i < p->k->mr; i++) {
        float *row = r->edge + i * depth;

        if (i < have) {
            memcpy(row, p->in + (t + i) * p->N + n, depth * sizeof(float));
        } else {
            memset(row, 0, depth * sizeof(float));
        }
    }
    return r->edge;
}

/* Adds what is valid of a tile [mr][nr] to dX. */
static void gather(const product *p, const float *tile, size_t t, size_t k)
{
    const size_t rows = smaller(p->k->mr, p->T - t);
    const size_t cols = smaller(p->k->nr, p->K - k);

    for (size_t i = 0; i < rows; i++) {
        float *dx = p->out + (t + i) * p->K + k;

        for (size_t j = 0; j < cols; j++) {
            dx[j] += tile[i * p->k->nr + j];
        }
    }
}

/* Tokens [t, t + mr) against a decoded piece of W whose row length is width
 * (columns from k on). */
static void backward_rows(const product *p, room *r, size_t t, size_t n,
                          size_t depth, size_t k, size_t width)
{
    const size_t mr = p->k->mr;
    const size_t nr = p->k->nr;
    const bool whole = t + mr <= p->T;
    const float *a =
        whole ? p->in + t * p->N + n : edge_rows(p, r, t, n, depth);
    const size_t lda = whole ? p->N : depth;

    for (size_t j = 0; j < width && k + j < p->K; j += nr) {
        if (whole && k + j + nr <= p->K) {
            p->k->ukr(p->out + t * p->K + k + j, p->K, a, lda, r->panel + j,
                      width, depth);
        } else {
            memset(r->tile, 0, mr * nr * sizeof(float));
            p->k->ukr(r->tile, nr, a, lda, r->panel + j, width, depth);
            gather(p, r->tile, t, k + j);
        }
    }
}

/* Decodes rows [n, n + depth), columns [k, k + cols), padded to width. */
static void decode_piece(const product *p, room *r, size_t n, size_t depth,
                         size_t k, size_t cols, size_t width)
{
    for (size_t i = 0; i < depth; i++) {
        float *row = r->panel + i * width;

        p->k->decode(row, p->w, (n + i) * p->K + k, cols);
        memset(row + cols, 0, (width - cols) * sizeof(float));
    }
}

static void backward_task(const product *p, size_t k, size_t width)
{
    room *r = room_of_thread(p);
    const size_t cols = smaller(width, p->K - k);

    for (size_t t = 0; !p->add && t < p->T; t++) {
        memset(p->out + t * p->K + k, 0, cols * sizeof(float));
    }
    for (size_t n = 0; n < p->N; n += BWD_DEPTH) {
        const size_t depth = smaller(BWD_DEPTH, p->N - n);

        decode_piece(p, r, n, depth, k, cols, width);
        for (size_t t = 0; t < p->T; t += p->k->mr) {
            backward_rows(p, r, t, n, depth, k, width);
        }
    }
}

/* Columns of W in a backward task: a multiple of nr. */
static size_t backward_cols(const product *p)
{
    const size_t nr = p->k->nr;
    const size_t share = ceil_div(ceil_div(p->K, 8), nr) * nr;

    return smaller(share, BWD_COLS / nr * nr);
}

void ql_qgemm_bwd(float *dx, const float *dy, const ql_qtensor *w, size_t T,
                  bool add, void *work)
{
    const product p = {.k = ql_kernels_get(),
                       .w = w,
                       .T = T,
                       .N = w->rows,
                       .K = w->cols,
                       .add = add,
                       .in = dy,
                       .out = dx,
                       .packed = work};
    const size_t width = backward_cols(&p);

#pragma omp parallel for schedule(dynamic)
    for (size_t k = 0; k < p.K; k += width) {
        backward_task(&p, k, width);
    }
}
