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
    TASKS = 16,       /* made by narrowing them */
    GROUP = 16,       /* rows of W fetched before they are packed: even */
    LINE = 16,        /* cells in a cache line */
    FEW = 3,          /* tokens that go by dot products in the forward */
    DOT_ROWS = 16,    /* rows of W in a task of them */
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

/* One term, how it is cut, and where its strips lie. */
typedef struct part {
    const ql_qtensor *w;
    const float *in; /* of the span */
    size_t depth;
    size_t step;   /* values of a chunk, but for the last */
    size_t chunks; /* of the depth */
    size_t lda;    /* cells between rows of a strip: off powers of two */
    char *strips;  /* [chunks][strips][mr][lda] cells */
} part;

/* A product over one span of tokens, and how it is cut. */
typedef struct job {
    const ql_kernels *set;
    part parts[QL_TERMS];
    size_t n_parts;
    bool forward, add;
    float *out;
    size_t T, width; /* C is [T, width] */
    size_t strips;   /* of mr tokens */
    size_t columns;  /* of a task */
    char *scratch;   /* for each thread: each bytes */
    size_t each;
} job;

static size_t depth_of(const ql_qtensor *w, bool forward)
{
    return forward ? w->cols : w->rows;
}

/* Cuts a depth into equal chunks of whole cache lines, of at most so many
 * cells. */
static void cut(part *p, size_t most, const ql_kernels *set)
{
    const size_t line = LINE * set->pair;

    p->chunks = ceil_div(p->depth, most * set->pair);
    p->step = round_up(ceil_div(p->depth, p->chunks), line);
    p->lda = p->step / set->pair + LINE;
}

/* Tokens multiplied at a time: T in equal parts, in whole strips. */
static size_t span_tokens(size_t T, const ql_kernels *set)
{
    const size_t spans = ceil_div(T, TOKENS);

    return round_up(ceil_div(T, spans), set->mr);
}

/* Bytes of the strips of one span, for all terms together: chunks may be
 * rounded up, once in each term. */
static size_t strips_bytes(size_t T, size_t depth, const ql_kernels *set)
{
    const size_t cells = depth / set->pair + QL_TERMS * 4 * LINE;

    return span_tokens(T, set) * (cells + cells / (DEPTH / 2) * 2 * LINE) *
           sizeof(uint32_t);
}

/* A thread's panels, the rows they are made of, and a tile for edges. */
static size_t panel_bytes(void)
{
    return (size_t)COLUMNS * DEPTH * sizeof(uint32_t);
}

static size_t rows_bytes(const ql_kernels *set)
{
    const size_t nt = set->lanes * (DEPTH + LINE) * sizeof(uint32_t);
    const size_t nn = GROUP * COLUMNS * sizeof(float);

    return nt > nn ? nt : nn;
}

static size_t scratch_bytes(const ql_kernels *set)
{
    return panel_bytes() + rows_bytes(set) +
           round_up(set->mr * set->nr, LINE) * sizeof(float);
}

size_t ql_qgemm_work_bytes(size_t T, size_t depth)
{
    const ql_kernels *set = ql_kernels_get();

    return strips_bytes(T, depth, set) +
           (size_t)omp_get_max_threads() * scratch_bytes(set);
}

/* Columns of a task: as many as fit, fewer where that gives too few tasks. */
static size_t task_columns(size_t width, const ql_kernels *set)
{
    size_t columns = COLUMNS / set->nr * set->nr;

    while (columns > set->nr && ceil_div(width, columns) < TASKS) {
        columns = round_up(columns / 2, set->nr);
    }
    return columns;
}

/* True where dot products are faster. */
static bool is_few(size_t T, bool forward)
{
    return forward && T <= FEW;
}

/* What all spans have in common. */
static job open_job(const ql_term *terms, size_t n, size_t T, bool forward,
                    bool add, void *work)
{
    const ql_kernels *set = ql_kernels_get();
    job j = {.set = set, .n_parts = n, .forward = forward, .add = add};
    char *strips = work;
    size_t depth = 0;

    assert(n >= 1 && n <= QL_TERMS);
    j.width = forward ? terms[0].w->rows : terms[0].w->cols;
    j.columns = task_columns(j.width, set);
    for (size_t i = 0; i < n; i++) {
        part *p = &j.parts[i];

        *p = (part){.w = terms[i].w, .depth = depth_of(terms[i].w, forward)};
        cut(p, is_few(T, forward) ? DOT_DEPTH : DEPTH, set);
        p->strips = strips;
        strips += p->chunks * span_tokens(T, set) * p->lda * sizeof(uint32_t);
        depth += p->depth;
    }
    j.scratch = (char *)work + strips_bytes(T, depth, set);
    assert(strips <= j.scratch);
    j.each = scratch_bytes(set);
    return j;
}

/* Strip s of a part, or of one of its chunks. */
static char *strip_of(const job *j, const part *p, size_t chunk, size_t s)
{
    return p->strips +
           (chunk * j->strips + s) * j->set->mr * p->lda * sizeof(uint32_t);
}

/* One row of operands; the last cell is filled up. */
static void narrow_row(const job *j, void *to, const float *x, size_t n)
{
    uint32_t *cells = to;

    cells[(n - 1) / j->set->pair] = 0;
    j->set->narrow(to, x, n);
}

static void pack_strip(const job *j, const part *p, size_t s)
{
    const size_t mr = j->set->mr;

    for (size_t c = 0; c < p->chunks; c++) {
        const size_t k = c * p->step;
        const size_t n = min_size(p->step, p->depth - k);
        char *to = strip_of(j, p, c, s);

        for (size_t i = 0; i < mr; i++, to += p->lda * sizeof(uint32_t)) {
            const size_t t = s * mr + i;

            if (t < j->T) {
                narrow_row(j, to, p->in + t * p->depth + k, n);
            } else {
                memset(to, 0, p->lda * sizeof(uint32_t));
            }
        }
    }
}

/* A piece of B: columns [at, at + n) of C, depth [k, k + depth) of a part. */
typedef struct tile {
    const part *p;
    size_t at, n;
    size_t k, depth;
    size_t cells;
} tile;

/* Rows of W are columns of B; beyond the last one they are zero. */
static void fill_forward(const job *j, const tile *t, uint32_t *panel,
                         char *rows)
{
    const ql_kernels *set = j->set;
    const size_t ld = DEPTH + LINE;

    for (size_t i = 0; i < round_up(t->n, set->nr); i += set->lanes) {
        uint32_t *row = (uint32_t *)(void *)rows;

        for (size_t r = i; r < i + set->lanes; r++, row += ld) {
            if (r < t->n) {
                row[t->cells - 1] = 0;
                set->fetch(row, t->p->w, (t->at + r) * t->p->depth + t->k,
                           t->depth);
            } else {
                memset(row, 0, t->cells * sizeof(*row));
            }
        }
        set->pack_nt(panel + i / set->nr * set->nr * t->cells + i % set->nr,
                     rows, ld, t->cells);
    }
}

/* Rows of W are rows of B. */
static void fill_backward(const job *j, const tile *t, uint32_t *panel,
                          char *rows)
{
    const ql_kernels *set = j->set;
    const size_t size = ql_operand_bytes(set);
    const size_t ld = round_up(t->n, set->nr);

    for (size_t r = 0; r < t->depth; r += GROUP) {
        const size_t live = min_size(GROUP, t->depth - r);

        for (size_t i = 0; i < live; i++) {
            char *row = rows + i * ld * size;

            set->fetch(row, t->p->w, (t->k + r + i) * j->width + t->at, t->n);
            memset(row + t->n * size, 0, (ld - t->n) * size);
        }
        for (size_t i = 0; i < ld; i += set->nr) {
            set->pack_nn(panel + (i * t->cells + r / set->pair * set->nr),
                         rows + i * size, ld, live);
        }
    }
}

/* Part of a tile of C, by way of a whole one. */
static void edge_product(const job *j, float *c, const char *a, size_t lda,
                         const uint32_t *panel, const tile *t, size_t rows,
                         size_t columns, bool add, float *whole)
{
    const size_t nr = j->set->nr;

    j->set->ukr(whole, nr, a, lda, panel, t->cells, false);
    for (size_t i = 0; i < rows; i++) {
        for (size_t k = 0; k < columns; k++) {
            float *to = c + i * j->width + k;

            *to = whole[i * nr + k] + (add ? *to : 0);
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
        prefetch(t->p->w, (first + r) * t->p->w->cols + column, width);
    }
}

/* C of a task (+)= all strips times the panels of one tile. */
static void products(const job *j, const tile *t, const tile *next,
                     const uint32_t *panel, bool add, float *edge)
{
    const size_t mr = j->set->mr;
    const size_t nr = j->set->nr;
    const size_t chunk = t->k / t->p->step;
    const size_t panels = ceil_div(t->n, nr);

    for (size_t i = 0; i < panels; i++, panel += t->cells * nr) {
        const size_t columns = min_size(nr, t->n - i * nr);

        for (size_t s = 0; s < j->strips; s++) {
            const size_t rows = min_size(mr, j->T - s * mr);
            const char *a = strip_of(j, t->p, chunk, s);
            float *c = j->out + s * mr * j->width + t->at + i * nr;

            prefetch_tile(j, next, i * j->strips + s, panels * j->strips);
            if (rows == mr && columns == nr) {
                j->set->ukr(c, j->width, a, t->p->lda, panel, t->cells, add);
            } else {
                edge_product(j, c, a, t->p->lda, panel, t, rows, columns, add,
                             edge);
            }
        }
    }
}

static char *thread_scratch(const job *j)
{
    return j->scratch + (size_t)omp_get_thread_num() * j->each;
}

/* The first tile of a task, which may lie beyond the last one: empty then. */
static tile first_tile(const job *j, size_t at)
{
    tile t = {.p = j->parts, .at = at};

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
    uint32_t *panel = (uint32_t *)(void *)thread_scratch(j);
    char *rows = (char *)panel + panel_bytes();
    float *edge = (float *)(void *)(rows + rows_bytes(j->set));
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
        (j->forward ? fill_forward : fill_backward)(j, &t, panel, rows);
        products(j, &t, &next, panel, add, edge);
        t = next;
        add = true;
    }
}

/* Columns of C by dot products with rows of W, which are read from end to
 * end. */
static void do_dots(const job *j, size_t task)
{
    const size_t end = min_size((task + 1) * DOT_ROWS, j->width);
    char *row = thread_scratch(j);

    for (size_t n = task * DOT_ROWS; n < end; n++) {
        float sum[FEW] = {0};

        for (size_t i = 0; i < j->n_parts; i++) {
            const part *p = &j->parts[i];

            for (size_t c = 0; c < p->chunks; c++) {
                const size_t k = c * p->step;
                const size_t depth = min_size(p->step, p->depth - k);
                const char *a = strip_of(j, p, c, 0);

                j->set->fetch(row, p->w, n * p->depth + k, depth);
                for (size_t t = 0; t < j->T; t++) {
                    sum[t] += j->set->dot(
                        row, a + t * p->lda * sizeof(uint32_t), depth);
                }
            }
        }
        for (size_t t = 0; t < j->T; t++) {
            float *to = j->out + t * j->width + n;

            *to = sum[t] + (j->add ? *to : 0);
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

static void do_span(const job *j)
{
    const bool few = is_few(j->T, j->forward);
    const size_t tasks = ceil_div(j->width, few ? DOT_ROWS : j->columns);

#pragma omp parallel if (!is_small(j))
    {
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < j->n_parts * j->strips; i++) {
            pack_strip(j, &j->parts[i / j->strips], i % j->strips);
        }
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < tasks; i++) {
            (few ? do_dots : do_task)(j, i);
        }
    }
}

static void multiply(job *j, float *out, const ql_term *terms, size_t T)
{
    const size_t span = span_tokens(T, j->set);

    for (size_t t = 0; t < T; t += span) {
        j->T = min_size(span, T - t);
        j->strips = ceil_div(j->T, j->set->mr);
        j->out = out + t * j->width;
        for (size_t i = 0; i < j->n_parts; i++) {
            j->parts[i].in = terms[i].in + t * j->parts[i].depth;
        }
        do_span(j);
    }
}

void ql_qgemm_fwd(float *y, const ql_term *terms, size_t n_terms, size_t T,
                  bool add, void *work)
{
    job j = open_job(terms, n_terms, T, true, add, work);

    multiply(&j, y, terms, T);
}

void ql_qgemm_bwd(float *dx, const ql_term *terms, size_t n_terms, size_t T,
                  bool add, void *work)
{
    job j = open_job(terms, n_terms, T, false, add, work);

    multiply(&j, dx, terms, T);
}
