/* Both products are loops around the same two kernels: decode a tile of W as
 * it lies into a buffer that stays in L2, then run the micro-kernel over it.
 * Only the roles differ.
 *
 * Forward, Y = X W^T, some hundred tokens at a time, in tasks of some rows of
 * W:
 *
 *   A = decoded rows of W [rows, KC]      broadcast
 *   B = packed X, panels of [KC, nr]      one token a lane
 *   C = Y^T of the task [rows, tokens]    in L2, transposed into Y at the end
 *
 * A few tokens that would not fill half a panel are done by dot products over
 * the same decoded rows; with so few tokens in all, nothing is packed.
 *
 * Backward, dX = dY W, likewise, in tasks of some columns of W:
 *
 *   A = packed dY, [mr, NC] at a time     broadcast
 *   B = decoded W, panels of [NC, nr]     one column a lane
 *   C = dX of the task [tokens, columns]  in L2, copied out at the end
 *
 * Packing dY keeps the order of elements; it takes its rows off addresses that
 * are powers of two apart, which would share one set of L1, and fills the last
 * rows with zeros. All splits follow from T, N, K and the kernel's tile, so a
 * result does not depend on the threads; they take tasks as they come. */
#include "quant/qgemm.h"

#include <omp.h>
#include <string.h>

#include "quant/kernels.h"

/* The sizes were found by measurement on a core with 32 KiB of L1 and 1 MiB
 * of L2; nothing but speed depends on them. */
enum {
    TOKENS = 512,      /* packed at a time, about */
    TASKS = 16,        /* tiles of W are made smaller to get that many */
    KC = 256,          /* forward: columns of W decoded at a time */
    LDA = KC + 16,     /* odd in cache lines: rows in different sets */
    FWD_ROWS = 112,    /* rows of W in a task */
    FEW_ROWS = 16,     /* the same where nothing is packed: fits L1 */
    NC = 512,          /* backward: rows of W decoded at a time */
    LDB = NC + 16,     /* odd, likewise */
    BWD_COLUMNS = 256, /* columns of W in a task: whole lines of its rows */
    LINE = 16,         /* floats in a cache line */
    SMALL = 1 << 21    /* products of pairs that one thread does alone */
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t ceil_div(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

static size_t round_up(size_t a, size_t b)
{
    return ceil_div(a, b) * b;
}

/* Extent of a tile of W: at most `most`, halved up to twice while a dimension
 * of total would give fewer than TASKS tasks, in multiples of unit. */
static size_t tile_extent(size_t most, size_t total, size_t unit)
{
    size_t tile = most;

    while (tile > most / 4 && ceil_div(total, tile) < TASKS) {
        tile /= 2;
    }
    return round_up(tile, unit);
}

/* Tokens that are packed and multiplied at a time: T in equal parts, in
 * multiples of unit. */
static size_t span_tokens(size_t T, size_t unit)
{
    const size_t spans = ceil_div(T, TOKENS);

    return spans > 0 ? round_up(ceil_div(T, spans), unit) : unit;
}

/* A product over one span of tokens, and how it is cut. */
typedef struct job {
    float *out;      /* y or dx */
    const float *in; /* x or dy */
    const ql_qtensor *w;
    const ql_kernels *set;
    size_t T, N, K; /* T of the span */
    bool add;
    size_t strips;  /* packed pieces of nr (forward) or mr (backward) tokens */
    size_t packed;  /* tokens in them; the others go by dot products */
    size_t tile;    /* rows (forward) or columns (backward) of W in a task */
    size_t tiles;   /* tasks */
    size_t ldc;     /* columns of a task's C */
    float *strip;   /* the strips, shared */
    float *scratch; /* for each thread: each floats */
    size_t each;
} job;

/* Forward: strips that are worth packing. */
static size_t fwd_strips(size_t T, const ql_kernels *set)
{
    return (T + set->nr / 2) / set->nr;
}

/* Columns of a task's Y^T: its strips and up to half a strip. */
static size_t fwd_ldc(size_t strips, const ql_kernels *set)
{
    return round_up((strips + 1) * set->nr, LINE) + LINE;
}

/* Rows of the decoded tile, filled up for ukr and dot4. */
static size_t fwd_rows(const ql_kernels *set)
{
    return round_up(FWD_ROWS, set->mr) + 4;
}

/* Columns of a task's dX. */
static size_t bwd_ldc(const ql_kernels *set)
{
    return round_up(round_up(BWD_COLUMNS, set->nr), LINE) + LINE;
}

static size_t strip_floats(size_t T, size_t N, size_t K, const ql_kernels *set)
{
    const size_t fwd = span_tokens(T, set->nr) * K;
    const size_t bwd = span_tokens(T, set->mr) * ceil_div(N, NC) * LDB;

    return round_up(fwd > bwd ? fwd : bwd, LINE);
}

static size_t scratch_floats(size_t T, const ql_kernels *set)
{
    const size_t strips = fwd_strips(span_tokens(T, set->nr), set);
    const size_t fwd = fwd_rows(set) * (LDA + fwd_ldc(strips, set));
    const size_t bwd = (NC + 1 + span_tokens(T, set->mr)) * bwd_ldc(set);

    return round_up(fwd > bwd ? fwd : bwd, LINE);
}

size_t ql_qgemm_work_bytes(size_t T, size_t N, size_t K)
{
    const ql_kernels *set = ql_kernels_get();
    const size_t threads = (size_t)omp_get_max_threads();

    return sizeof(float) *
           (strip_floats(T, N, K, set) + threads * scratch_floats(T, set));
}

/* What all spans of a product have in common: W, the kernels, the scratch. */
static job open_job(const ql_qtensor *w, size_t T, bool add, void *work)
{
    const ql_kernels *set = ql_kernels_get();
    job j = {.w = w, .set = set, .N = w->rows, .K = w->cols, .add = add};

    j.strip = work;
    j.scratch = j.strip + strip_floats(T, j.N, j.K, set);
    j.each = scratch_floats(T, set);
    return j;
}

static float *thread_scratch(const job *j)
{
    return j->scratch + (size_t)omp_get_thread_num() * j->each;
}

/* Strip s, columns [k0, k0 + width): strip[s][k][t] = x[t][k], zero beyond
 * the last token. */
static void fwd_pack(const job *j, size_t s, size_t k0, size_t width)
{
    const size_t nr = j->set->nr;
    const size_t t0 = s * nr;
    const size_t live = min_size(nr, j->T - t0);
    float *to = j->strip + s * nr * j->K + k0 * nr;

    for (size_t k = 0; k < width; k += LINE) {
        const size_t end = min_size(k + LINE, width);

        for (size_t t = 0; t < live; t++) {
            const float *from = j->in + (t0 + t) * j->K + k0;

            for (size_t p = k; p < end; p++) {
                to[p * nr + t] = from[p];
            }
        }
        for (size_t p = k; p < end; p++) {
            for (size_t t = live; t < nr; t++) {
                to[p * nr + t] = 0;
            }
        }
    }
}

/* Y^T of the packed tokens. */
static void fwd_strip_products(const job *j, float *yt, const float *tile,
                               size_t rows, size_t k0, size_t width)
{
    const size_t nr = j->set->nr;

    for (size_t s = 0; s < j->strips; s++) {
        const float *b = j->strip + s * nr * j->K + k0 * nr;

        for (size_t i = 0; i < rows; i += j->set->mr) {
            j->set->ukr(yt + i * j->ldc + s * nr, j->ldc, tile + i * LDA, LDA,
                        b, nr, width);
        }
    }
}

/* Y^T of the others. */
static void fwd_dot_products(const job *j, float *yt, const float *tile,
                             size_t rows, size_t k0, size_t width)
{
    for (size_t t = j->packed; t < j->T; t++) {
        const float *x = j->in + t * j->K + k0;

        for (size_t i = 0; i < rows; i += 4) {
            float sum[4] = {0};

            j->set->dot4(sum, tile + i * LDA, LDA, x, width);
            for (size_t r = 0; r < 4; r++) {
                yt[(i + r) * j->ldc + t] += sum[r];
            }
        }
    }
}

/* y[t][n] = or += yt[n][t] for the task's rows. */
static void fwd_store(const job *j, const float *yt, size_t n0, size_t rows)
{
    const size_t ldc = j->ldc;

    for (size_t t = 0; t < j->T; t++) {
        float *y = j->out + t * j->N + n0;

        if (j->add) {
            for (size_t i = 0; i < rows; i++) {
                y[i] += yt[i * ldc + t];
            }
        } else {
            for (size_t i = 0; i < rows; i++) {
                y[i] = yt[i * ldc + t];
            }
        }
    }
}

/* Rows beyond the last one, which kernels with full tiles read, are zero. */
static void fwd_decode(const job *j, float *tile, size_t n0, size_t rows,
                       size_t all, size_t k0, size_t width)
{
    for (size_t i = 0; i < rows; i++) {
        j->set->decode(tile + i * LDA, j->w, (n0 + i) * j->K + k0, width);
    }
    for (size_t i = rows; i < all; i++) {
        memset(tile + i * LDA, 0, width * sizeof(float));
    }
}

static void fwd_task(const job *j, size_t task)
{
    const size_t n0 = task * j->tile;
    const size_t rows = min_size(j->tile, j->N - n0);
    const size_t all = round_up(rows, j->set->mr) + 4;
    float *tile = thread_scratch(j);
    float *yt = tile + fwd_rows(j->set) * LDA;

    memset(yt, 0, all * j->ldc * sizeof(float));
    for (size_t k0 = 0; k0 < j->K; k0 += KC) {
        const size_t width = min_size(KC, j->K - k0);

        fwd_decode(j, tile, n0, rows, all, k0, width);
        fwd_strip_products(j, yt, tile, rows, k0, width);
        fwd_dot_products(j, yt, tile, rows, k0, width);
    }
    fwd_store(j, yt, n0, rows);
}

/* True where a second thread would bring less than waking it costs. */
static bool is_small(const job *j)
{
    return j->T * j->N * j->K < SMALL;
}

static void fwd_span(job *j)
{
    const size_t chunks = ceil_div(j->K, KC);

    j->strips = fwd_strips(j->T, j->set);
    j->packed = min_size(j->strips * j->set->nr, j->T);
    j->tile = j->strips > 0 ? tile_extent(FWD_ROWS, j->N, j->set->mr)
                            : (size_t)FEW_ROWS;
    j->tiles = ceil_div(j->N, j->tile);
    j->ldc = fwd_ldc(j->strips, j->set);
#pragma omp parallel if (!is_small(j))
    {
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < j->strips * chunks; i++) {
            const size_t k0 = i % chunks * KC;

            fwd_pack(j, i / chunks, k0, min_size(KC, j->K - k0));
        }
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < j->tiles; i++) {
            fwd_task(j, i);
        }
    }
}

void ql_qgemm_fwd(float *y, const float *x, const ql_qtensor *w, size_t T,
                  bool add, void *work)
{
    job j = open_job(w, T, add, work);
    const size_t step = span_tokens(T, j.set->nr);

    for (size_t t = 0; t < T; t += step) {
        j.out = y + t * j.N;
        j.in = x + t * j.K;
        j.T = min_size(step, T - t);
        fwd_span(&j);
    }
}

/* Strip s of dY: strip[s][chunk of n][t][n], zero beyond the last token. */
static void bwd_pack(const job *j, size_t s)
{
    const size_t mr = j->set->mr;
    const size_t t0 = s * mr;
    float *to = j->strip + s * mr * ceil_div(j->N, NC) * LDB;

    for (size_t n0 = 0; n0 < j->N; n0 += NC) {
        const size_t bytes = min_size(NC, j->N - n0) * sizeof(float);

        for (size_t t = 0; t < mr; t++, to += LDB) {
            if (t0 + t < j->T) {
                memcpy(to, j->in + (t0 + t) * j->N + n0, bytes);
            } else {
                memset(to, 0, bytes);
            }
        }
    }
}

/* Tile of W as panels [n][nr], the columns beyond the last one zero. */
static void bwd_decode(const job *j, float *tile, float *row, size_t n0,
                       size_t k0, size_t width)
{
    const size_t nr = j->set->nr;
    const size_t depth = min_size(NC, j->N - n0);
    const size_t all = round_up(width, nr);

    for (size_t k = width; k < all; k++) {
        row[k] = 0;
    }
    for (size_t n = 0; n < depth; n++) {
        j->set->decode(row, j->w, (n0 + n) * j->K + k0, width);
        for (size_t k = 0; k < all; k += nr) {
            memcpy(tile + k * NC + n * nr, row + k, nr * sizeof(float));
        }
    }
}

/* dX of the task's columns from one decoded tile. */
static void bwd_products(const job *j, float *dx, const float *tile,
                         size_t width, size_t n0)
{
    const size_t mr = j->set->mr;
    const size_t nr = j->set->nr;
    const size_t depth = min_size(NC, j->N - n0);

    for (size_t s = 0; s < j->strips; s++) {
        const float *a =
            j->strip + (s * ceil_div(j->N, NC) + n0 / NC) * mr * LDB;
        float *c = dx + s * mr * j->ldc;

        for (size_t k = 0; k < width; k += nr) {
            j->set->ukr(c + k, j->ldc, a, LDB, tile + k * NC, nr, depth);
        }
    }
}

/* dX = or += the task's buffer. */
static void bwd_store(const job *j, const float *dx, size_t k0, size_t width)
{
    for (size_t t = 0; t < j->T; t++) {
        const float *from = dx + t * j->ldc;
        float *to = j->out + t * j->K + k0;

        if (j->add) {
            for (size_t k = 0; k < width; k++) {
                to[k] += from[k];
            }
        } else {
            memcpy(to, from, width * sizeof(float));
        }
    }
}

static void bwd_task(const job *j, size_t task)
{
    const size_t k0 = task * j->tile;
    const size_t width = min_size(j->tile, j->K - k0);
    const size_t rows = j->strips * j->set->mr;
    float *tile = thread_scratch(j);
    float *row = tile + NC * j->ldc;
    float *dx = row + j->ldc;

    memset(dx, 0, rows * j->ldc * sizeof(float));
    for (size_t n0 = 0; n0 < j->N; n0 += NC) {
        bwd_decode(j, tile, row, n0, k0, width);
        bwd_products(j, dx, tile, width, n0);
    }
    bwd_store(j, dx, k0, width);
}

static void bwd_span(job *j)
{
    j->strips = ceil_div(j->T, j->set->mr);
    j->packed = j->T;
    j->tile = tile_extent(BWD_COLUMNS, j->K, j->set->nr);
    j->tiles = ceil_div(j->K, j->tile);
    j->ldc = bwd_ldc(j->set);
#pragma omp parallel if (!is_small(j))
    {
#pragma omp for schedule(dynamic)
        for (size_t s = 0; s < j->strips; s++) {
            bwd_pack(j, s);
        }
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < j->tiles; i++) {
            bwd_task(j, i);
        }
    }
}

void ql_qgemm_bwd(float *dx, const float *dy, const ql_qtensor *w, size_t T,
                  bool add, void *work)
{
    job j = open_job(w, T, add, work);
    const size_t step = span_tokens(T, j.set->mr);

    for (size_t t = 0; t < T; t += step) {
        j.out = dx + t * j.K;
        j.in = dy + t * j.N;
        j.T = min_size(step, T - t);
        bwd_span(&j);
    }
}
