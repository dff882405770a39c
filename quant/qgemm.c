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
 * Very few tokens go by dot products with rows of W instead, in the forward.
 *
 * The order of every sum follows from the lengths of its terms; tasks are
 * taken as they come. */
#include "quant/qgemm.h"

#include <assert.h>
#include <omp.h>
#include <string.h>

#include "quant/kernels.h"

/* Found by measurement; nothing but speed depends on them. */
enum {
    TOKENS = 512,     /* multiplied at a time, about */
    DEPTH = 256,      /* cells of a chunk */
    COLUMNS = 256,    /* of a task, at most */
    NARROW = 4,       /* what a task costs beside its columns, in columns */
    TASKS = 4,        /* for each thread, made by narrowing them */
    GROUP = 16,       /* rows of W packed at a time: a multiple of four */
    LINE = 16,        /* cells in a cache line */
    MOST_FEW = 16,    /* of any set */
    DOT_ROWS = 32,    /* rows of W in a task of dot products */
    DOT_DEPTH = 4096, /* cells of a chunk of them */
    SMALL = 1 << 21,  /* products of pairs that one thread does alone */
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

/* A product A B with one matrix, and how it is cut. */
typedef struct part {
    ql_qtensor w;
    const float *in; /* of the span */
    size_t depth;
    size_t step;   /* values of a chunk, but for the last */
    size_t chunks; /* of the depth */
    size_t lda;    /* cells between rows of A: off powers of two */
    size_t a;      /* in the scratch: [chunks][rows of the span][lda] cells */
    size_t dot4;   /* the same as dot4 takes it; 0: it does not */

    /* The pair that reads the same A: mid = scale A first. */
    size_t r;
    float scale;
    ql_qtensor first;
    float *mid;        /* of the span */
    size_t thin;       /* in the scratch: panels of first, of all its columns */
    size_t thin_bytes; /* of a panel, for one chunk */
} part;

/* A product over one span of tokens, and how it is cut. */
typedef struct job {
    const ql_kernels *set;
    part parts[2 * QL_TERMS]; /* a pair's second product is one of its own */
    size_t n_parts;
    bool forward, add;
    float *out;
    size_t T, width; /* C is [T, width] */
    size_t rows;     /* of A, for a span: whole tiles, thin ones too */
    size_t columns;  /* of a task */
    size_t ld;       /* cells between rows that are to be packed */
    char *work;
    size_t threads; /* in the scratch: each bytes for each of them */
    size_t each;
    size_t end; /* of the scratch */
} job;

/* Tokens multiplied at a time: T in equal parts, in whole tiles. */
static size_t span_tokens(size_t T, const ql_kernels *set)
{
    const size_t spans = ceil_div(T, TOKENS);

    return round_up(ceil_div(T, spans), set->thin.mr);
}

/* A thread's panels, the rows they are made of, and a tile for edges. */
static size_t panel_bytes(void)
{
    return (size_t)COLUMNS * DEPTH * sizeof(uint32_t);
}

static size_t rows_bytes(const job *j)
{
    const size_t nt = j->set->lanes * j->ld * sizeof(uint32_t);
    const size_t nn = GROUP * COLUMNS * sizeof(float);

    return nt > nn ? nt : nn;
}

static size_t tile_floats(ql_tile tile)
{
    return round_up(tile.mr * tile.nr, LINE);
}

static size_t thread_bytes(const job *j)
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
        const size_t tasks = ceil_div(width, columns);
        const size_t cost = ceil_div(tasks, threads) * (columns + NARROW);

        if (cost < least && (columns == nr || tasks >= TASKS * threads)) {
            best = columns;
            least = cost;
        }
    }
    return best;
}

/* True where dot products are faster. */
static bool is_few(const job *j, size_t T)
{
    return j->forward && T <= j->set->few;
}

/* True if dot4 takes the rows of w. */
static bool suits_dot4(const ql_qtensor *w)
{
    return w->storage == QL_STORAGE_4BIT && w->block == QL_DOT4_BLOCK &&
           w->cols % QL_DOT4_BLOCK == 0 && w->first % QL_DOT4_BLOCK == 0;
}

/* Cuts the depth of a part into equal chunks of whole cache lines, for dot4 of
 * whole pairs of blocks, and lays out its A. */
static void open_part(part *p, job *j, size_t T)
{
    const ql_kernels *set = j->set;
    const bool few = is_few(j, T);
    const size_t most = (few ? DOT_DEPTH : DEPTH) * set->pair;
    const size_t unit = few ? 2 * QL_DOT4_BLOCK : LINE * set->pair;
    size_t bytes;

    p->depth = j->forward ? p->w.cols : p->w.rows;
    p->chunks = ceil_div(p->depth, most);
    p->step = round_up(ceil_div(p->depth, p->chunks), unit);
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
static void open_pair(job *j, part *p, const ql_pair *pair, size_t T)
{
    const ql_tile thin = j->set->thin;
    const ql_qtensor down = ql_qtensor_dense(pair->down, pair->r, p->w.cols);
    const ql_qtensor up = ql_qtensor_dense(pair->up, p->w.rows, pair->r);
    part *second = &j->parts[j->n_parts++];

    p->r = pair->r;
    p->scale = pair->scale;
    p->first = j->forward ? down : up;
    p->thin = j->end;
    p->thin_bytes = p->step / j->set->pair * thin.nr * sizeof(uint32_t);
    j->end += ceil_div(p->r, thin.nr) * p->chunks * p->thin_bytes;
    *second = (part){.w = j->forward ? up : down};
    open_part(second, j, T);
}

/* What all spans have in common. */
static job open_job(const ql_term *terms, size_t n, size_t T, bool forward)
{
    const ql_kernels *set = ql_kernels_get();
    job j = {.set = set, .forward = forward};

    assert(n >= 1 && n <= QL_TERMS);
    j.width = forward ? terms[0].w->rows : terms[0].w->cols;
    j.columns = task_columns(j.width, set->tile.nr);
    j.rows = span_tokens(T, set);
    for (size_t i = 0; i < n; i++) {
        part *p = &j.parts[j.n_parts++];

        *p = (part){.w = *terms[i].w};
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
    const size_t few = min_size(T, ql_kernels_get()->few);
    const job longest = open_job(terms, n_terms, min_size(T, TOKENS), forward);
    const job deepest = open_job(terms, n_terms, few, forward);

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

/* This thread's scratch, piece by piece. */
static uint32_t *thread_panel(const job *j)
{
    const size_t i = (size_t)omp_get_thread_num();

    return (uint32_t *)(void *)(j->work + j->threads + i * j->each);
}

static char *thread_rows(const job *j)
{
    return (char *)thread_panel(j) + panel_bytes();
}

static float *thread_edge(const job *j)
{
    return (float *)(void *)(thread_rows(j) + rows_bytes(j));
}

/* Row i of a part's A in a chunk. */
static char *a_row(const job *j, const part *p, size_t chunk, size_t i)
{
    return j->work + p->a + (chunk * j->rows + i) * p->lda * sizeof(uint32_t);
}

/* The same, as dot4 takes it. */
static char *dot4_row(const job *j, const part *p, size_t chunk, size_t i)
{
    return a_row(j, p, chunk, i) + (p->dot4 - p->a);
}

/* Panel of a pair's first matrix: chunk of its columns from at on. */
static uint32_t *thin_panel(const job *j, const part *p, size_t at,
                            size_t chunk)
{
    const size_t i = at / j->set->thin.nr * p->chunks + chunk;

    return (uint32_t *)(void *)(j->work + p->thin + i * p->thin_bytes);
}

/* One row of operands; the last cell is filled up. */
static void narrow_row(const job *j, void *to, const float *x, size_t n)
{
    uint32_t *cells = to;

    cells[(n - 1) / j->set->pair] = 0;
    j->set->narrow(to, x, n);
}

/* True if a part's A is multiplied by tiles: always, but for dot products
 * without a pair. */
static bool needs_tiles(const job *j, const part *p)
{
    return !is_few(j, j->T) || p->r > 0;
}

/* Row i of a chunk of A, in the orders in which it is read. */
static void pack_row(const job *j, const part *p, size_t chunk, size_t i)
{
    const size_t k = chunk * p->step;
    const size_t n = min_size(p->step, p->depth - k);
    const float *x = p->in + i * p->depth + k;

    if (p->dot4) {
        j->set->arrange(dot4_row(j, p, chunk, i), x, n);
    }
    if (!p->dot4 || needs_tiles(j, p)) {
        narrow_row(j, a_row(j, p, chunk, i), x, n);
    }
}

/* Rows of A from t on, for a thin tile; zero beyond the last token. */
static void pack_rows(const job *j, const part *p, size_t t)
{
    const size_t end = t + j->set->thin.mr;
    const size_t last = min_size(end, j->T);

    for (size_t c = 0; c < p->chunks; c++) {
        for (size_t i = t; i < last; i++) {
            pack_row(j, p, c, i);
        }
        if (last < end && needs_tiles(j, p)) {
            memset(a_row(j, p, c, last), 0,
                   (end - last) * p->lda * sizeof(uint32_t));
        }
    }
}

/* mid = scale A first, for the rows of a thin tile. */
static void pair_rows(const job *j, const part *p, size_t t)
{
    const ql_tile tile = j->set->thin;
    const size_t rows = min_size(tile.mr, j->T - t);
    float *whole = thread_edge(j);

    for (size_t at = 0; at < p->r; at += tile.nr) {
        const size_t columns = min_size(tile.nr, p->r - at);

        for (size_t c = 0; c < p->chunks; c++) {
            const size_t n = min_size(p->step, p->depth - c * p->step);

            tile.ukr(whole, tile.nr, a_row(j, p, c, t), p->lda,
                     thin_panel(j, p, at, c), ceil_div(n, j->set->pair), rows,
                     c > 0);
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
    const part *p;
    size_t at, n;
    size_t k, depth;
    size_t cells;
    size_t nr;
} tile;

/* Rows of W are columns of B; beyond the last one they are zero. */
static void fill_forward(const job *j, const tile *t, const ql_qtensor *w,
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
static void fill_backward(const job *j, const tile *t, const ql_qtensor *w,
                          uint32_t *panel, char *rows)
{
    const ql_kernels *set = j->set;
    const size_t size = ql_operand_bytes(set);
    const size_t ld = round_up(t->n, t->nr);

    for (size_t r = 0; r < t->depth; r += GROUP) {
        const size_t live = min_size(GROUP, t->depth - r);

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

static void fill(const job *j, const tile *t, const ql_qtensor *w,
                 uint32_t *panel)
{
    (j->forward ? fill_forward : fill_backward)(j, t, w, panel, thread_rows(j));
}

/* Panels of a pair's first matrix, for one chunk of the depth. */
static void fill_thin(const job *j, const part *p, size_t chunk)
{
    const size_t nr = j->set->thin.nr;
    const size_t k = chunk * p->step;
    tile t = {.p = p, .k = k, .depth = min_size(p->step, p->depth - k)};

    t.cells = ceil_div(t.depth, j->set->pair);
    t.nr = nr;
    for (; t.at < p->r; t.at += nr) {
        t.n = min_size(nr, p->r - t.at);
        fill(j, &t, &p->first, thin_panel(j, p, t.at, chunk));
    }
}

/* Some columns of a tile of C, by way of a whole one. */
static void edge_product(const job *j, float *c, const char *a, const tile *t,
                         const uint32_t *panel, size_t rows, size_t columns,
                         bool add)
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
static void prefetch_tile(const job *j, const tile *t, size_t i, size_t of)
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
static void products(const job *j, const tile *t, const tile *next,
                     const uint32_t *panel, bool add)
{
    const size_t chunk = t->k / t->p->step;
    const size_t panels = ceil_div(t->n, t->nr);
    const size_t strips = ceil_div(j->T, j->set->tile.mr);

    for (size_t i = 0; i < panels; i++, panel += t->cells * t->nr) {
        const size_t columns = min_size(t->nr, t->n - i * t->nr);

        for (size_t s = 0; s < strips; s++) {
            const size_t row = j->T * s / strips;
            const size_t rows = j->T * (s + 1) / strips - row;
            const char *a = a_row(j, t->p, chunk, row);
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
static tile first_tile(const job *j, size_t at)
{
    tile t = {.p = j->parts, .at = at, .nr = j->set->tile.nr};

    t.n = at < j->width ? min_size(j->columns, j->width - at) : 0;
    t.depth = min_size(t.p->step, t.p->depth);
    t.cells = ceil_div(t.depth, j->set->pair);
    return t;
}

/* The tile that follows in the same task, or false. */
static bool next_tile(const job *j, tile *t)
{
    t->k += t->p->step;
    if (t->k >= t->p->depth) {
        t->p++;
        t->k = 0;
    }
    if (t->p == j->parts + j->n_parts) {
        return false;
    }
    t->depth = min_size(t->p->step, t->p->depth - t->k);
    t->cells = ceil_div(t->depth, j->set->pair);
    return true;
}

static void do_task(const job *j, size_t task)
{
    uint32_t *panel = thread_panel(j);
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

/* Adds to sum[t][r] the products of rows n + r of a part's W with all tokens,
 * for one chunk of the depth. */
static void add_dots(const job *j, const part *p, size_t chunk, size_t n,
                     size_t rows, float sum[][QL_DOT4_ROWS])
{
    const size_t k = chunk * p->step;
    const size_t depth = min_size(p->step, p->depth - k);
    uint32_t *row = thread_panel(j);

    for (size_t t = 0; p->dot4 && t < j->T; t += QL_DOT4_TOKENS) {
        const ql_dots d = {.w = &p->w,
                           .start = p->w.first + n * p->depth + k,
                           .rows = rows,
                           .n = depth,
                           .x = (void *)dot4_row(j, p, chunk, t),
                           .ldx = p->lda,
                           .tokens = min_size(QL_DOT4_TOKENS, j->T - t)};

        j->set->dot4(sum + t, &d);
    }
    for (size_t r = 0; !p->dot4 && r < rows; r++) {
        j->set->fetch(row, &p->w, (n + r) * p->depth + k, depth);
        for (size_t t = 0; t < j->T; t++) {
            sum[t][r] += j->set->dot(row, a_row(j, p, chunk, t), depth);
        }
    }
}

/* Columns of C by dot products with rows of W, which are read from end to
 * end. */
static void do_dots(const job *j, size_t task)
{
    const size_t end = min_size((task + 1) * DOT_ROWS, j->width);
    size_t rows;

    for (size_t n = task * DOT_ROWS; n < end; n += rows) {
        float sum[MOST_FEW][QL_DOT4_ROWS] = {{0}};

        rows = min_size(QL_DOT4_ROWS, end - n);
        for (const part *p = j->parts; p < j->parts + j->n_parts; p++) {
            for (size_t c = 0; c < p->chunks; c++) {
                add_dots(j, p, c, n, rows, sum);
            }
        }
        for (size_t t = 0; t < j->T; t++) {
            float *to = j->out + t * j->width + n;

            for (size_t r = 0; r < rows; r++) {
                to[r] = sum[t][r] + (j->add ? to[r] : 0);
            }
        }
    }
}

/* True where a second thread would bring less than waking it costs. */
static bool is_small(const job *j)
{
    size_t depth = 0;

    for (size_t i = 0; i < j->n_parts; i++) {
        depth += j->parts[i].depth;
    }
    return j->T * j->width * depth < SMALL;
}

/* Rows of A, of all parts; those of a pair's second product are made here. */
static void make_rows(const job *j, size_t t)
{
    for (const part *p = j->parts; p < j->parts + j->n_parts; p++) {
        pack_rows(j, p, t);
        if (p->r > 0) {
            pair_rows(j, p, t);
        }
    }
}

/* The pairs' first matrices, chunk i of all parts. */
static void make_thin(const job *j, size_t i)
{
    for (const part *p = j->parts; p < j->parts + j->n_parts; p++) {
        if (p->r > 0 && i < p->chunks) {
            fill_thin(j, p, i);
        }
    }
}

static size_t thin_chunks(const job *j)
{
    size_t most = 0;

    for (const part *p = j->parts; p < j->parts + j->n_parts; p++) {
        most = p->r > 0 && p->chunks > most ? p->chunks : most;
    }
    return most;
}

static void do_span(const job *j, size_t chunks)
{
    const bool few = is_few(j, j->T);
    const size_t columns = few ? DOT_ROWS : j->columns;
    const size_t tasks = j->out ? ceil_div(j->width, columns) : 0;
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
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < tasks; i++) {
            (few ? do_dots : do_task)(j, i);
        }
    }
}

/* Points the parts to a span that starts at token t. A pair's second product
 * follows its first, whose result it takes. */
static void set_span(job *j, const ql_term *terms, size_t t)
{
    part *p = j->parts;

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
    job j = open_job(terms, n, T, forward);
    size_t chunks = thin_chunks(&j);

    j.work = work;
    j.add = add;
    for (size_t t = 0; t < T; t += j.rows) {
        j.T = min_size(j.rows, T - t);
        j.out = out ? out + t * j.width : NULL;
        set_span(&j, terms, t);
        do_span(&j, chunks);
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
