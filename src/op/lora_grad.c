/* P^T becomes rows of operands once, for all threads; Z becomes panels, some
 * columns at a time: its rows run along the depth of the product, which is that
 * of the tokens. */
#include "src/op/lora_grad.h"

#include <string.h>

#include "quant/kernels.h"
#include "src/op/parallel.h"

enum {
    TOKENS = 512, /* summed at a time */
    COLUMNS = 64, /* of a task, and of the widest panel */
    GROUP = 16,   /* tokens packed at a time: even */
    LINE = 16     /* cells in a cache line */
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

typedef struct job {
    const ql_kernels *set;
    float *g;
    bool transposed;
    const float *p, *z;
    size_t R, T, W;
    size_t tokens; /* of this round */
    size_t rows;   /* R in whole tiles */
    size_t lda;    /* cells between rows of P^T: off powers of two */
    char *a;       /* [rows][lda] cells */
    char *each;    /* for each thread */
} job;

/* A thread's pieces. */
typedef struct scratch {
    uint32_t panel[TOKENS * COLUMNS];
    uint32_t group[GROUP * COLUMNS]; /* operands of some tokens */
    float tile[COLUMNS * COLUMNS];   /* mr <= COLUMNS */
    float row[TOKENS];
} scratch;

static job open_job(size_t R, size_t T, void *work)
{
    const ql_kernels *set = ql_kernels_get();
    const size_t most = min_size(T, TOKENS);
    job j = {.set = set, .R = R, .T = T, .a = work};

    j.rows = round_up(R, set->tile.mr);
    j.lda = round_up(most, LINE * set->pair) / set->pair + LINE;
    j.each = j.a + j.rows * j.lda * sizeof(uint32_t);
    return j;
}

size_t ql_lora_grad_work_bytes(size_t R, size_t T)
{
    const size_t longest = min_size(T, TOKENS);
    const size_t rows = round_up(R, ql_kernels_get()->tile.mr);

    return rows * (longest + 3 * LINE) * sizeof(uint32_t) +
           ql_max_threads() * sizeof(scratch);
}

static scratch *thread_scratch(const job *j)
{
    return (scratch *)(void *)(j->each) + ql_thread();
}

/* Row r of P^T: a column of P. */
static void make_row(const job *j, size_t r)
{
    float *row = thread_scratch(j)->row;
    uint32_t *to = (uint32_t *)(void *)(j->a + r * j->lda * sizeof(*to));

    if (r >= j->R) {
        memset(to, 0, j->lda * sizeof(*to));
        return;
    }
    for (size_t t = 0; t < j->tokens; t++) {
        row[t] = j->p[t * j->R + r];
    }
    to[(j->tokens - 1) / j->set->pair] = 0;
    j->set->narrow(to, row, j->tokens);
}

/* Columns [at, at + n) of Z as panels. */
static void fill(const job *j, scratch *s, size_t at, size_t n, size_t cells)
{
    const ql_kernels *set = j->set;
    const size_t nr = set->tile.nr;
    const size_t size = ql_operand_bytes(set);
    char *group = (char *)s->group;

    for (size_t t = 0; t < j->tokens; t += GROUP) {
        const size_t live = min_size(GROUP, j->tokens - t);

        for (size_t i = 0; i < live; i++) {
            char *row = group + i * COLUMNS * size;

            set->narrow(row, j->z + (t + i) * j->W + at, n);
            memset(row + n * size, 0, (COLUMNS - n) * size);
        }
        for (size_t k = 0; k < n; k += nr) {
            set->pack_nn(s->panel + k * cells + t / set->pair * nr, nr,
                         group + k * size, COLUMNS, live);
        }
    }
}

/* G += a tile that starts at [r, at]. */
static void add_tile(const job *j, const float *tile, size_t r, size_t at)
{
    const size_t nr = j->set->tile.nr;
    const size_t rows = min_size(j->set->tile.mr, j->R - r);
    const size_t columns = min_size(nr, j->W - at);

    for (size_t i = 0; i < rows; i++) {
        for (size_t k = 0; k < columns; k++) {
            j->g[j->transposed ? (at + k) * j->R + r + i
                               : (r + i) * j->W + at + k] += tile[i * nr + k];
        }
    }
}

static void do_columns(const job *j, size_t at)
{
    scratch *s = thread_scratch(j);
    const ql_tile *tile = &j->set->tile;
    const size_t n = min_size(COLUMNS, j->W - at);
    const size_t cells = (j->tokens + j->set->pair - 1) / j->set->pair;

    fill(j, s, at, n, cells);
    for (size_t k = 0; k < n; k += tile->nr) {
        for (size_t r = 0; r < j->rows; r += tile->mr) {
            tile->ukr(s->tile, tile->nr, j->a + r * j->lda * sizeof(uint32_t),
                      j->lda, s->panel + k * cells, cells, false);
            add_tile(j, s->tile, r, at + k);
        }
    }
}

void ql_lora_grad(float *g, bool transposed, const float *p, const float *z,
                  size_t R, size_t T, size_t W, void *work)
{
    job j = open_job(R, T, work);

    j.g = g;
    j.transposed = transposed;
    j.W = W;
    for (size_t t = 0; t < T; t += j.tokens) {
        j.tokens = min_size(TOKENS, T - t);
        j.p = p + t * R;
        j.z = z + t * W;
#pragma omp parallel if (j.tokens * W > QL_SMALL)
        {
#pragma omp for schedule(static)
            for (size_t r = 0; r < j.rows; r++) {
                make_row(&j, r);
            }
#pragma omp for schedule(dynamic)
            for (size_t at = 0; at < W; at += COLUMNS) {
                do_columns(&j, at);
            }
        }
    }
}
