/* Both products are one loop, C = A B. A are the activations, rounded to the
 * operands of the set and laid out in strips of mr tokens; B is W, decoded
 * into panels of nr columns of C. The directions differ in how a panel is
 * filled: the forward takes rows of W as columns of B, the backward takes them
 * as rows.
 *
 * A task is a tile of C: some columns for some hundred tokens. It walks over
 * all terms and, in chunks of DEPTH, along each:
 *
 *   fetch and pack the chunk of B         [DEPTH, columns]  in L2
 *   for each panel of it                  [DEPTH, nr]       in L1
 *       for each strip of A               [mr, DEPTH]       from L2 or L3
 *           C tile (+)= strip * panel
 *
 * Very few tokens go by dot products with rows of W instead, in the forward:
 * see qgemm_few.c.
 *
 * The order of every sum follows from the lengths of its terms; tasks are
 * taken as they come. */
#include "quant/qgemm.h"

#include <assert.h>
#include <omp.h>
#include <string.h>

#include "quant/qgemm_job.h"

/* Found by measurement; nothing but speed depends on them. */
enum {
    TOKENS = 512,     /* multiplied at a time, about */
    DEPTH = 256,      /* cells of a chunk */
    COLUMNS = 256,    /* of a task, at most */
    NARROW = 4,       /* what a task costs beside its columns, in columns */
    TASKS = 4,        /* for each thread, made by narrowing them */
    GROUP = 16,       /* rows of W packed at a time: a multiple of four */
    LINE = 16,        /* cells in a cache line */
    DOT_DEPTH = 4096, /* cells of a chunk of them */
    SMALL = 1 << 21,  /* products of pairs that one thread does alone */
};

static size_t round_up(size_t a, size_t b)
{
    return ql_ceil_div(a, b) * b;
}

/* Tokens multiplied at a time: T in equal parts, in whole tiles. */
static size_t span_tokens(size_t T, const ql_kernels *set)
{
    const size_t spans = ql_ceil_div(T, TOKENS);

    return round_up(ql_ceil_div(T, spans), set->thin.mr);
}

/* A thread's panels, the rows they are made of, and a tile for edges. */
static size_t panel_bytes(void)
{
    return (size_t)COLUMNS * DEPTH * sizeof(uint32_t);
}

static size_t rows_bytes(const ql_job *j)
{
    const size_t nt = j->set->lanes * j->ld * sizeof(uint32_t);
    const size_t nn = GROUP * COLUMNS * sizeof(float);

    return nt > nn ? nt : nn;
}

static size_t tile_floats(ql_tile tile)
{
    return round_up(tile.mr * tile.nr, LINE);
}

static size_t thread_bytes(const ql_job *j)
{
    const size_t whole = tile_floats(j->set->tile);
    const size_t thin = tile_floats(j->set->thin);

    return panel_bytes() + rows_bytes(j) +
           (whole > thin ? whole : thin) * sizeof(float);
}

/* Columns of a task: those with which equal threads are done first, and enough
 * tasks for threads that are not. */
static size_t task_columns(size_t width, size_t nr)
{
    const size_t threads = (size_t)omp_get_max_threads();
    size_t best = nr;
    size_t least = SIZE_MAX;

    for (size_t columns = nr; columns <= COLUMNS; columns += nr) {
        const size_t tasks = ql_ceil_div(width, columns);
        const size_t cost = ql_ceil_div(tasks, threads) * (columns + NARROW);

        if (cost < least && (columns == nr || tasks >= TASKS * threads)) {
            best = columns;
            least = cost;
        }
    }
    return best;
}

/* True if dot4 takes the rows of w. */
static bool suits_dot4(const ql_qtensor *w)
{
    return w->storage == QL_STORAGE_4BIT && w->block == QL_DOT4_BLOCK &&
           w->cols % QL_DOT4_BLOCK == 0 && w->first % QL_DOT4_BLOCK == 0;
}

/* Cuts the depth of a part into equal chunks of whole cache lines, for dot4 of
 * whole pairs of blocks, and lays out its A. */
static void open_part(ql_part *p, ql_job *j, size_t T)
{
    const ql_kernels *set = j->set;
    const bool few = ql_job_is_few(j, T);
    const size_t most = (few ? DOT_DEPTH : DEPTH) * set->pair;
    const size_t unit = few ? 2 * QL_DOT4_BLOCK : LINE * set->pair;
    size_t bytes;

    p->depth = j->forward ? p->w.cols : p->w.rows;
    p->chunks = ql_ceil_div(p->depth, most);
    p->step = round_up(ql_ceil_div(p->depth, p->chunks), unit);
    p->lda = p->step / set->pair + LINE;
    j->ld = p->lda > j->ld ? p->lda : j->ld;
    bytes = p->chunks * span_tokens(T, set) * p->lda * sizeof(uint32_t);
    p->a = j->end;
    j->end += bytes;
    if (few) {
        p->dot4 = suits_dot4(&p->w) ? j->end : 0;
        j->end += bytes;
    }
}

/* Adds a pair to the part that reads the same A, and a part of its own for its
 * second product. */
static void open_pair(ql_job *j, ql_part *p, const ql_pair *pair, size_t T)
{
    const ql_tile thin = j->set->thin;
    const ql_qtensor down = ql_qtensor_dense(pair->down, pair->r, p->w.cols);
    const ql_qtensor up = ql_qtensor_dense(pair->up, p->w.rows, pair->r);
    ql_part *second = &j->parts[j->n_parts++];

    p->r = pair->r;
    p->scale = pair->scale;
    p->first = j->forward ? down : up;
    p->thin = j->end;
    p->thin_bytes = p->step / j->set->pair * thin.nr * sizeof(uint32_t);
    j->end += ql_ceil_div(p->r, thin.nr) * p->chunks * p->thin_bytes;
    *second = (ql_part){.w = j->forward ? up : down};
    open_part(second, j, T);
}

/* What all spans have in common. */
static ql_job open_job(const ql_term *terms, size_t n, size_t T, bool forward)
{
    const ql_kernels *set = ql_kernels_get();
    ql_job j = {.set = set, .forward = forward};

    assert(n >= 1 && n <= QL_TERMS);
    j.width = forward ? terms[0].w->rows : terms[0].w->cols;
    j.columns = task_columns(j.width, set->tile.nr);
    j.rows = span_tokens(T, set);
    for (size_t i = 0; i < n; i++) {
        ql_part *p = &j.parts[j.n_parts++];

        *p = (ql_part){.w = *terms[i].w};
        open_part(p, &j, T);
        if (terms[i].pair.r > 0) {
            open_pair(&j, p, &terms[i].pair, T);
        }
    }
    j.threads = j.end;
    j.each = thread_bytes(&j);
    j.end += (size_t)omp_get_max_threads() * j.each;
    return j;
}

/* Bytes of scratch in one direction. */
static size_t work_bytes(const ql_term *terms, size_t n_terms, size_t T,
                         bool forward)
{
    /* Spans are longest up to TOKENS; very few tokens have deeper chunks. */
    const size_t few = ql_min_size(T, ql_kernels_get()->few);
    const ql_job longest =
        open_job(terms, n_terms, ql_min_size(T, TOKENS), forward);
    const ql_job deepest = open_job(terms, n_terms, few, forward);

    return longest.end > deepest.end ? longest.end : deepest.end;
}

size_t ql_qgemm_fwd_work_bytes(const ql_term *terms, size_t n_terms, size_t T)
{
    return work_bytes(terms, n_terms, T, true);
}

size_t ql_qgemm_work_bytes(const ql_term *terms, size_t n_terms, size_t T)
{
    const size_t fwd = work_bytes(terms, n_terms, T, true);
    const size_t bwd = work_bytes(terms, n_terms, T, false);

    return fwd > bwd ? fwd : bwd;
}

static char *thread_rows(const ql_job *j)
{
    return (char *)ql_job_panel(j) + panel_bytes();
}

static float *thread_edge(const ql_job *j)
{
    return (float *)(void *)(thread_rows(j) + rows_bytes(j));
}

/* Panel of a pair's first matrix: chunk of its columns from at on. */
static uint32_t *thin_panel(const ql_job *j, const ql_part *p, size_t at,
                            size_t chunk)
{
    const size_t i = at / j->set->thin.nr * p->chunks + chunk;

    return (uint32_t *)(void *)(j->work + p->thin + i * p->thin_bytes);
}

/* One row of operands; the last cell is filled up. */
static void narrow_row(const ql_job *j, void *to, const float *x, size_t n)
{
    uint32_t *cells = to;

    cells[(n - 1) / j->set->pair] = 0;
    j->set->narrow(to, x, n);
}

void ql_job_pack_row(const ql_job *j, const ql_part *p, size_t chunk, size_t i)
{
    const size_t k = chunk * p->step;
    const size_t n = ql_min_size(p->step, p->depth - k);
    const float *x = p->in + i * p->depth + k;

    if (p->dot4) {
        j->set->arrange(ql_job_dot4_row(j, p, chunk, i), x, n);
    }
    if (!p->dot4 || p->r > 0) {
        narrow_row(j, ql_job_row(j, p, chunk, i), x, n);
    }
}

/* Rows of A from t on, for a thin tile; zero beyond the last token. */
static void pack_rows(const ql_job *j, const ql_part *p, size_t t)
{
    const size_t end = t + j->set->thin.mr;
    const size_t last = ql_min_size(end, j->T);

    for (size_t c = 0; c < p->chunks; c++) {
        for (size_t i = t; i < last; i++) {
            ql_job_pack_row(j, p, c, i);
        }
        if (last < end) {
            memset(ql_job_row(j, p, c, last), 0,
                   (end - last) * p->lda * sizeof(uint32_t));
        }
    }
}

/* mid = scale A first, for the rows of a thin tile. */
static void pair_rows(const ql_job *j, const ql_part *p, size_t t)
{
    const ql_tile tile = j->set->thin;
    const size_t rows = ql_min_size(tile.mr, j->T - t);
    float *whole = thread_edge(j);

    for (size_t at = 0; at < p->r; at += tile.nr) {
        const size_t columns = ql_min_size(tile.nr, p->r - at);

        for (size_t c = 0; c < p->chunks; c++) {
            const size_t n = ql_min_size(p->step, p->depth - c * p->step);

            tile.ukr(whole, tile.nr, ql_job_row(j, p, c, t), p->lda,
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

    for (size_t i = 0; i < round_up(t->n, t->nr); i += set->lanes) {
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
    const ql_kernels *set = j->set;
    const size_t size = ql_operand_bytes(set);
    const size_t ld = round_up(t->n, t->nr);

    for (size_t r = 0; r < t->depth; r += GROUP) {
        const size_t live = ql_min_size(GROUP, t->depth - r);

        for (size_t i = 0; i < live; i++) {
            char *row = rows + i * ld * size;

            set->fetch(row, w, (t->k + r + i) * w->cols + t->at, t->n);
            memset(row + t->n * size, 0, (ld - t->n) * size);
        }
        for (size_t i = 0; i < ld; i += t->nr) {
            set->pack_nn(panel + (i * t->cells + r / set->pair * t->nr), t->nr,
                         rows + i * size, ld, live);
        }
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
    const size_t k = chunk * p->step;
    tile t = {.p = p, .k = k, .depth = ql_min_size(p->step, p->depth - k)};

    t.cells = ql_ceil_div(t.depth, j->set->pair);
    t.nr = nr;
    for (; t.at < p->r; t.at += nr) {
        t.n = ql_min_size(nr, p->r - t.at);
        fill(j, &t, &p->first, thin_panel(j, p, t.at, chunk));
    }
}

/* Some columns of a tile of C, by way of a whole one. */
static void edge_product(const ql_job *j, float *c, const char *a,
                         const tile *t, const uint32_t *panel, size_t rows,
                         size_t columns, bool add)
{
    float *whole = thread_edge(j);

    j->set->tile.ukr(whole, t->nr, a, t->p->lda, panel, t->cells, rows, false);
    for (size_t i = 0; i < rows; i++) {
        for (size_t k = 0; k < columns; k++) {
            float *to = c + i * j->width + k;

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

    for (size_t i = from; i < to; i += LINE * sizeof(uint32_t)) {
        __builtin_prefetch(data + i);
    }
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

/* C of a task (+)= A times the panels of one tile, by strips of A equally high
 * or nearly so. */
static void products(const ql_job *j, const tile *t, const tile *next,
                     const uint32_t *panel, bool add)
{
    const size_t chunk = t->k / t->p->step;
    const size_t panels = ql_ceil_div(t->n, t->nr);
    const size_t strips = ql_ceil_div(j->T, j->set->tile.mr);

    for (size_t i = 0; i < panels; i++, panel += t->cells * t->nr) {
        const size_t columns = ql_min_size(t->nr, t->n - i * t->nr);

        for (size_t s = 0; s < strips; s++) {
            const size_t row = j->T * s / strips;
            const size_t rows = j->T * (s + 1) / strips - row;
            const char *a = ql_job_row(j, t->p, chunk, row);
            float *c = j->out + row * j->width + t->at + i * t->nr;

            prefetch_tile(j, next, i * strips + s, panels * strips);
            if (columns == t->nr) {
                j->set->tile.ukr(c, j->width, a, t->p->lda, panel, t->cells,
                                 rows, add);
            } else {
                edge_product(j, c, a, t, panel, rows, columns, add);
            }
        }
    }
}

/* The first tile of a task, which may lie beyond the last one: empty then. */
static tile first_tile(const ql_job *j, size_t at)
{
    tile t = {.p = j->parts, .at = at, .nr = j->set->tile.nr};

    t.n = at < j->width ? ql_min_size(j->columns, j->width - at) : 0;
    t.depth = ql_min_size(t.p->step, t.p->depth);
    t.cells = ql_ceil_div(t.depth, j->set->pair);
    return t;
}

/* The tile that follows in the same task, or false. */
static bool next_tile(const ql_job *j, tile *t)
{
    t->k += t->p->step;
    if (t->k >= t->p->depth) {
        t->p++;
        t->k = 0;
    }
    if (t->p == j->parts + j->n_parts) {
        return false;
    }
    t->depth = ql_min_size(t->p->step, t->p->depth - t->k);
    t->cells = ql_ceil_div(t->depth, j->set->pair);
    return true;
}

static void do_task(const ql_job *j, size_t task)
{
    uint32_t *panel = ql_job_panel(j);
    const size_t threads = (size_t)omp_get_num_threads();
    tile t = first_tile(j, task * j->columns);
    bool add = j->add;
    bool more = true;

    while (more) {
        tile next = t;

        more = next_tile(j, &next);
        if (!more) { /* of the task that this thread will take next, likely */
            next = first_tile(j, t.at + threads * j->columns);
        }
        fill(j, &t, &t.p->w, panel);
        products(j, &t, &next, panel, add);
        t = next;
        add = true;
    }
}

/* True where a second thread would bring less than waking it costs. */
static bool is_small(const ql_job *j)
{
    return ql_job_pairs(j) < SMALL;
}

/* Rows of A, of all parts; those of a pair's second product are made here. */
static void make_rows(const ql_job *j, size_t t)
{
    for (const ql_part *p = j->parts; p < j->parts + j->n_parts; p++) {
        pack_rows(j, p, t);
        if (p->r > 0) {
            pair_rows(j, p, t);
        }
    }
}

/* The pairs' first matrices, chunk i of all parts. */
static void make_thin(const ql_job *j, size_t i)
{
    for (const ql_part *p = j->parts; p < j->parts + j->n_parts; p++) {
        if (p->r > 0 && i < p->chunks) {
            fill_thin(j, p, i);
        }
    }
}

static size_t thin_chunks(const ql_job *j)
{
    size_t most = 0;

    for (const ql_part *p = j->parts; p < j->parts + j->n_parts; p++) {
        most = p->r > 0 && p->chunks > most ? p->chunks : most;
    }
    return most;
}

static void do_tiles(const ql_job *j, size_t chunks)
{
    const size_t tasks = j->out ? ql_ceil_div(j->width, j->columns) : 0;
    const size_t step = j->set->thin.mr;

#pragma omp parallel if (!is_small(j))
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
            do_task(j, i);
        }
    }
}

/* Points the parts to a span that starts at token t. A pair's second product
 * follows its first, whose result it takes. */
static void set_span(ql_job *j, const ql_term *terms, size_t t)
{
    ql_part *p = j->parts;

    for (const ql_term *term = terms; p < j->parts + j->n_parts; term++) {
        p->in = term->in + t * p->depth;
        p->mid = p->r > 0 ? term->pair.mid + t * p->r : NULL;
        if (p->r > 0) {
            p[1].in = p->mid;
        }
        p += p->r > 0 ? 2 : 1;
    }
}

static void multiply(float *out, const ql_term *terms, size_t n, size_t T,
                     bool forward, bool add, void *work)
{
    ql_job j = open_job(terms, n, T, forward);
    size_t chunks = thin_chunks(&j);

    j.work = work;
    j.add = add;
    for (size_t t = 0; t < T; t += j.rows) {
        j.T = ql_min_size(j.rows, T - t);
        j.out = out ? out + t * j.width : NULL;
        set_span(&j, terms, t);
        if (ql_job_is_few(&j, j.T)) {
            ql_job_do_few(&j);
        } else {
            do_tiles(&j, chunks);
        }
        chunks = 0; /* they stay for the next span */
    }
}

void ql_qgemm_fwd(float *y, const ql_term *terms, size_t n_terms, size_t T,
                  bool add, void *work)
{
    multiply(y, terms, n_terms, T, true, add, work);
}

void ql_qgemm_bwd(float *dx, const ql_term *terms, size_t n_terms, size_t T,
                  bool add, void *work)
{
    multiply(dx, terms, n_terms, T, false, add, work);
}
