/* Products over a span of many tokens: C = A B, over one or several C. A are
 * the activations, B is W, decoded into panels of nr columns of C. The
 * directions differ in how a panel is filled: the forward takes rows of W as
 * columns of B, the backward takes them as rows.
 *
 * A task is a tile of C: some columns for all tokens of the span. It walks over
 * all parts and, in chunks, along each:
 *
 *   fetch and pack the chunk of B         [depth, columns]  in L2
 *   for each block of A                   [tokens, depth]   in L2 or L3
 *       for each panel of B               [depth, nr]       in L1 or L2
 *           for each strip of the block   [mr, depth]
 *               C tile (+)= strip * panel
 */
#include <string.h>

#include "quant/qgemm_job.h"

/* Found by measurement; nothing but speed depends on them. */
enum {
    BLOCK = 64, /* columns that have blocks of W to themselves */
    NARROW = 4, /* what a task costs beside its columns, in columns */
    TASKS = 4   /* for each thread, made by narrowing them */
};

/* A thread's panels, the rows they are made of, and a tile for edges. */
static size_t panel_bytes(const ql_job *j)
{
    return j->set->cache.columns * j->set->cache.depth * sizeof(uint32_t);
}

static size_t rows_bytes(const ql_job *j)
{
    const size_t nt = j->set->lanes * j->ld * sizeof(uint32_t);
    const size_t nn = QL_SLAB_ROWS * j->set->cache.columns * sizeof(float);

    return nt > nn ? nt : nn;
}

static size_t tile_floats(ql_tile tile)
{
    return ql_round_up(tile.mr * tile.nr, QL_JOB_LINE);
}

size_t ql_job_thread_bytes(const ql_job *j)
{
    const size_t whole = tile_floats(j->set->tile);
    const size_t thin = tile_floats(j->set->thin);

    return panel_bytes(j) + rows_bytes(j) +
           (whole > thin ? whole : thin) * sizeof(float);
}

/* Columns of a task: those with which equal threads are done first, and enough
 * tasks for threads that are not. */
size_t ql_job_columns(const ql_job *j)
{
    const size_t threads = (size_t)omp_get_max_threads();
    const size_t nr = j->set->tile.nr;
    size_t best = nr;
    size_t least = SIZE_MAX;

    for (size_t columns = nr; columns <= j->set->cache.columns; columns += nr) {
        const size_t tasks = ql_job_tasks(j, columns);
        const bool even = columns < BLOCK || columns % BLOCK == 0;
        const size_t cost = ql_ceil_div(tasks, threads) * (columns + NARROW);

        if (even && cost < least &&
            (columns == nr || tasks >= TASKS * threads)) {
            best = columns;
            least = cost;
        }
    }
    return best;
}

static char *thread_rows(const ql_job *j)
{
    return (char *)ql_job_panel(j) + panel_bytes(j);
}

static float *thread_edge(const ql_job *j)
{
    return (float *)(void *)(thread_rows(j) + rows_bytes(j));
}

/* Panel of a pair's first matrix: chunk of its columns from at on. */
static uint32_t *thin_panel(const ql_job *j, const ql_part *p, size_t at,
                            size_t chunk)
{
    const size_t i = at / j->set->thin.nr * ql_job_a(j, p)->chunks + chunk;

    return (uint32_t *)(void *)(j->work + p->thin + i * p->thin_bytes);
}

/* Rows of A from t on, for a thin tile; zero beyond the last token. */
static void pack_rows(const ql_job *j, const ql_job_rows *a, size_t t)
{
    const size_t end = t + j->set->thin.mr;
    const size_t last = ql_min_size(end, j->T);

    for (size_t c = 0; c < a->chunks; c++) {
        for (size_t i = t; i < last; i++) {
            ql_job_pack_row(j, a, c, i);
        }
        if (last < end) {
            memset(ql_job_row(j, a, c, last), 0,
                   (end - last) * a->lda * sizeof(uint32_t));
        }
    }
}

/* mid = scale A first, for the rows of a thin tile. */
static void pair_rows(const ql_job *j, const ql_part *p, size_t t)
{
    const ql_job_rows *a = ql_job_a(j, p);
    const ql_tile tile = j->set->thin;
    const size_t rows = ql_min_size(tile.mr, j->T - t);
    float *whole = thread_edge(j);

    for (size_t at = 0; at < p->r; at += tile.nr) {
        const size_t columns = ql_min_size(tile.nr, p->r - at);

        for (size_t c = 0; c < a->chunks; c++) {
            const size_t n = ql_min_size(a->step, a->depth - c * a->step);

            tile.ukr(whole, tile.nr, ql_job_row(j, a, c, t), a->lda,
                     thin_panel(j, p, at, c), ql_ceil_div(n, j->set->pair),
                     rows, c > 0);
        }
        for (size_t i = 0; i < rows; i++) {
            for (size_t k = 0; k < columns; k++) {
                p->mid[(t + i) * p->r + at + k] =
                    p->scale * whole[i * tile.nr + k];
            }
        }
    }
}

/* A piece of B: columns [at, at + n), depth [k, k + depth) of a part; in
 * panels that are nr wide. */
typedef struct tile {
    const ql_job_out *out;
    const ql_part *p;
    size_t at, n;
    size_t k, depth;
    size_t cells;
    size_t nr;
} tile;

/* Rows of W are columns of B; beyond the last one they are zero. */
static void fill_forward(const ql_job *j, const tile *t, const ql_qtensor *w,
                         uint32_t *panel, char *rows)
{
    const ql_kernels *set = j->set;
    const size_t ld = j->ld;

    for (size_t i = 0; i < ql_round_up(t->n, t->nr); i += set->lanes) {
        uint32_t *row = (uint32_t *)(void *)rows;

        for (size_t r = i; r < i + set->lanes; r++, row += ld) {
            if (r < t->n) {
                row[t->cells - 1] = 0;
                set->fetch(row, w, (t->at + r) * w->cols + t->k, t->depth);
            } else {
                memset(row, 0, t->cells * sizeof(*row));
            }
        }
        set->pack_nt(panel + i / t->nr * t->nr * t->cells + i % t->nr, t->nr,
                     rows, ld, t->cells);
    }
}

/* Rows of W are rows of B. */
static void fill_backward(const ql_job *j, const tile *t, const ql_qtensor *w,
                          uint32_t *panel, char *rows)
{
    ql_slab s = {.w = w,
                 .n = t->n,
                 .width = t->nr,
                 .step = t->cells * t->nr,
                 .room = rows};

    for (size_t r = 0; r < t->depth; r += QL_SLAB_ROWS) {
        s.start = (t->k + r) * w->cols + t->at;
        s.rows = ql_min_size(QL_SLAB_ROWS, t->depth - r);
        j->set->fill_nn(panel + r / j->set->pair * t->nr, &s);
    }
}

static void fill(const ql_job *j, const tile *t, const ql_qtensor *w,
                 uint32_t *panel)
{
    (j->forward ? fill_forward : fill_backward)(j, t, w, panel, thread_rows(j));
}

/* Panels of a pair's first matrix, for one chunk of the depth. */
static void fill_thin(const ql_job *j, const ql_part *p, size_t chunk)
{
    const size_t nr = j->set->thin.nr;
    const size_t step = ql_job_a(j, p)->step;
    const size_t k = chunk * step;
    tile t = {.p = p, .k = k, .depth = ql_min_size(step, p->depth - k)};

    t.cells = ql_ceil_div(t.depth, j->set->pair);
    t.nr = nr;
    for (; t.at < p->r; t.at += nr) {
        t.n = ql_min_size(nr, p->r - t.at);
        fill(j, &t, &p->first, thin_panel(j, p, t.at, chunk));
    }
}

/* Some columns of a tile of C, by way of a whole one. */
static void edge_product(const ql_job *j, float *c, const char *a, size_t lda,
                         const tile *t, const uint32_t *panel, size_t rows,
                         size_t columns, bool add)
{
    float *whole = thread_edge(j);

    j->set->tile.ukr(whole, t->nr, a, lda, panel, t->cells, rows, false);
    for (size_t i = 0; i < rows; i++) {
        for (size_t k = 0; k < columns; k++) {
            float *to = c + i * t->out->width + k;

            *to = whole[i * t->nr + k] + (add ? *to : 0);
        }
    }
}

/* Brings n elements of W, from e on, nearer. */
static void prefetch(const ql_qtensor *w, size_t e, size_t n)
{
    static const unsigned char bits[QL_STORAGE_COUNT] = {
        [QL_STORAGE_4BIT] = 4,
        [QL_STORAGE_F32] = 32,
        [QL_STORAGE_BF16] = 16,
        [QL_STORAGE_F16] = 16,
    };
    const char *data = w->data;
    const size_t from = (w->first + e) * bits[w->storage] / 8;
    const size_t to = (w->first + e + n) * bits[w->storage] / 8;

    ql_prefetch(data + from, to - from);
}

/* Brings part i of `of` of a tile nearer: reading W row by row, some lines of
 * each, the processor would not do it by itself. */
static void prefetch_tile(const ql_job *j, const tile *t, size_t i, size_t of)
{
    const size_t rows = j->forward ? t->n : t->depth;
    const size_t first = j->forward ? t->at : t->k;
    const size_t width = j->forward ? t->depth : t->n;
    const size_t column = j->forward ? t->k : t->at;

    for (size_t r = rows * i / of; r < rows * (i + 1) / of; r++) {
        prefetch(&t->p->w, (first + r) * t->p->w.cols + column, width);
    }
}

/* Strips of A, equally high or nearly so, and those of a block. */
typedef struct strips {
    size_t n, from, to;
} strips;

/* C of a task (+)= a strip of A times columns of a tile, which are a panel. */
static void strip_product(const ql_job *j, const tile *t, size_t row,
                          size_t rows, size_t at, const uint32_t *panel,
                          bool add)
{
    const ql_job_rows *a = ql_job_a(j, t->p);
    const size_t columns = ql_min_size(t->nr, t->n - at);
    const size_t width = t->out->width;
    const char *strip = ql_job_row(j, a, t->k / a->step, row);
    float *c = t->out->y + row * width + t->at + at;

    if (columns == t->nr) {
        j->set->tile.ukr(c, width, strip, a->lda, panel, t->cells, rows, add);
    } else {
        edge_product(j, c, strip, a->lda, t, panel, rows, columns, add);
    }
}

/* C of a task (+)= a block of A times all panels of a tile. The tile `next`, if
 * any, is brought nearer meanwhile. */
static void block_product(const ql_job *j, const tile *t, const tile *next,
                          strips a, const uint32_t *panel, bool add)
{
    const size_t panels = ql_ceil_div(t->n, t->nr);
    size_t done = panels * a.from;

    for (size_t i = 0; i < panels; i++, panel += t->cells * t->nr) {
        for (size_t s = a.from; s < a.to; s++) {
            const size_t row = j->T * s / a.n;

            if (next) {
                prefetch_tile(j, next, done++, panels * a.n);
            }
            strip_product(j, t, row, j->T * (s + 1) / a.n - row, i * t->nr,
                          panel, add);
        }
    }
}

/* C of a task (+)= A times the panels of one tile. */
static void products(const ql_job *j, const tile *t, const tile *next,
                     const uint32_t *panel, bool add)
{
    const size_t n = ql_ceil_div(j->T, j->set->tile.mr);
    const size_t blocks = ql_ceil_div(j->T, j->set->cache.tokens);

    for (size_t b = 0; b < blocks; b++) {
        const strips a = {n, n * b / blocks, n * (b + 1) / blocks};

        block_product(j, t, next, a, panel, add);
    }
}

/* Depth of a tile, at k of its part. */
static void set_depth(const ql_job *j, tile *t)
{
    t->depth = ql_min_size(ql_job_a(j, t->p)->step, t->p->depth - t->k);
    t->cells = ql_ceil_div(t->depth, j->set->pair);
}

/* The first tile of a task. */
static tile first_tile(const ql_job *j, size_t task)
{
    const ql_job_place place = ql_job_place_of(j, task, j->columns);
    tile t = {.out = place.out,
              .p = j->parts + place.out->from,
              .at = place.at,
              .n = ql_min_size(j->columns, place.out->width - place.at),
              .nr = j->set->tile.nr};

    set_depth(j, &t);
    return t;
}

/* The tile that follows in the same task, or false. */
static bool next_tile(const ql_job *j, tile *t)
{
    t->k += ql_job_a(j, t->p)->step;
    if (t->k >= t->p->depth) {
        t->p++;
        t->k = 0;
    }
    if (t->p == j->parts + t->out->to) {
        return false;
    }
    set_depth(j, t);
    return true;
}

static void do_task(const ql_job *j, size_t task, size_t tasks)
{
    uint32_t *panel = ql_job_panel(j);
    const size_t then = task + (size_t)omp_get_num_threads();
    tile t = first_tile(j, task);
    bool add = j->add;
    bool more = true;

    while (more) {
        tile next = t;

        more = next_tile(j, &next);
        if (!more && then < tasks) { /* which this thread takes next, likely */
            next = first_tile(j, then);
        }
        fill(j, &t, &t.p->w, panel);
        products(j, &t, more || then < tasks ? &next : NULL, panel, add);
        t = next;
        add = true;
    }
}

/* Rows of A, of all parts; those of a pair's second product are made here. */
static void make_rows(const ql_job *j, size_t t)
{
    size_t packed = 0;

    for (const ql_part *p = j->parts; p < j->parts + j->n_parts; p++) {
        if (p->a == packed) { /* no part before reads it */
            pack_rows(j, ql_job_a(j, p), t);
            packed++;
        }
        if (p->r > 0) {
            pair_rows(j, p, t);
        }
    }
}

/* The pairs' first matrices, chunk i of all parts. */
static void make_thin(const ql_job *j, size_t i)
{
    for (const ql_part *p = j->parts; p < j->parts + j->n_parts; p++) {
        if (p->r > 0 && i < ql_job_a(j, p)->chunks) {
            fill_thin(j, p, i);
        }
    }
}

void ql_job_do_tiles(const ql_job *j, size_t chunks)
{
    const size_t tasks = ql_job_is_wanted(j) ? ql_job_tasks(j, j->columns) : 0;
    const size_t step = j->set->thin.mr;

#pragma omp parallel if (!ql_job_is_small(j))
    {
        if (chunks > 0) { /* no pair, no waiting */
#pragma omp for schedule(dynamic)
            for (size_t i = 0; i < chunks; i++) {
                make_thin(j, i);
            }
        }
#pragma omp for schedule(dynamic)
        for (size_t t = 0; t < j->T; t += step) {
            make_rows(j, t);
        }
#pragma omp for schedule(dynamic) nowait
        for (size_t i = 0; i < tasks; i++) {
            do_task(j, i, tasks);
        }
    }
}
