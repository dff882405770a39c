/* P^T becomes rows of operands once, for all threads; Z becomes panels, some
 * columns at a time: its rows run along the depth of the product, which is that
 * of the tokens. */
#include "src/op/lora_grad.h"

#include <string.h>

#include "src/op/loops.h"
#include "src/op/parallel.h"
#include "src/op/tiles.h"

enum {
    TOKENS = 512, /* summed at a time */
    COLUMNS = 64  /* of a task: no set's panel is wider */
};

/* A thread's pieces. */
typedef struct scratch {
    uint32_t *panel;
    uint32_t *packing; /* for filling it */
    float *tile;       /* rows of a thin tile, COLUMNS wide */
    float *row;        /* [TOKENS] */
} scratch;

static scratch lay_out(ql_pieces *piece, const ql_kernels *set)
{
    return (scratch){
        .panel = ql_pieces_take(piece, ql_tiles_panel(set, COLUMNS, TOKENS)),
        .packing = ql_pieces_take(piece, ql_tiles_work(set, COLUMNS)),
        .tile = ql_pieces_take(piece, set->thin.mr * COLUMNS),
        .row = ql_pieces_take(piece, TOKENS),
    };
}

typedef struct job {
    const ql_kernels *set;
    const ql_loops *loops;
    float *g;
    bool transposed;
    const float *p, *z;
    size_t R, T, W;
    size_t tokens;  /* of this round */
    size_t lda;     /* cells between rows of P^T */
    uint32_t *a;    /* rows of P^T */
    uint32_t *each; /* for each thread */
    size_t cells;   /* of a thread's pieces */
} job;

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Takes the scratch of all threads as pieces. */
static job open_job(size_t R, size_t T, ql_pieces *work)
{
    const ql_kernels *set = ql_kernels_get();
    job j = {.set = set, .loops = ql_loops_get(), .R = R, .T = T};
    ql_pieces one = {0};

    lay_out(&one, set);
    j.cells = one.used;
    j.lda = ql_tiles_lda(set, min_size(T, TOKENS));
    j.a = ql_pieces_take(work, ql_tiles_rows(set, R) * j.lda);
    j.each = ql_pieces_take(work, ql_max_threads() * j.cells);
    return j;
}

size_t ql_lora_grad_work_bytes(size_t R, size_t T)
{
    ql_pieces work = {0};

    open_job(R, T, &work);
    return work.used * sizeof(uint32_t);
}

static scratch thread_scratch(const job *j)
{
    ql_pieces piece = {.start = j->each + ql_thread() * j->cells};

    return lay_out(&piece, j->set);
}

/* Row r of P^T: a column of P. */
static void make_row(const job *j, size_t r)
{
    float *row = thread_scratch(j).row;
    uint32_t *to = j->a + r * j->lda;

    for (size_t t = 0; t < j->tokens; t++) {
        row[t] = j->p[t * j->R + r];
    }
    to[(j->tokens - 1) / j->set->pair] = 0;
    j->set->narrow(to, row, j->tokens);
}

/* G += some rows of a tile that starts at [r, at]. */
static void add_tile(const job *j, const float *tile, size_t r, size_t rows,
                     size_t at, size_t columns)
{
    for (size_t i = 0; i < rows; i++, tile += COLUMNS) {
        if (!j->transposed) {
            j->loops->add(j->g + (r + i) * j->W + at, tile, columns);
            continue;
        }
        for (size_t k = 0; k < columns; k++) {
            j->g[(at + k) * j->R + r + i] += tile[k];
        }
    }
}

static void do_columns(const job *j, size_t at)
{
    const scratch s = thread_scratch(j);
    const size_t n = min_size(COLUMNS, j->W - at);
    const size_t most = j->set->thin.mr;

    ql_tiles_nn(j->set, s.panel, &(ql_rows){j->z + at, j->W, j->tokens, n, 1},
                s.packing);
    for (size_t r = 0; r < j->R; r += most) {
        const size_t rows = min_size(most, j->R - r);

        ql_tiles_product(
            j->set, &(ql_product){.c = s.tile,
                                  .ldc = COLUMNS,
                                  .rows = rows,
                                  .columns = n,
                                  .left = {j->a + r * j->lda, j->lda},
                                  .panel = s.panel,
                                  .cells = ql_tiles_cells(j->set, j->tokens)});
        add_tile(j, s.tile, r, rows, at, n);
    }
}

void ql_lora_grad(float *g, bool transposed, const float *p, const float *z,
                  size_t R, size_t T, size_t W, void *work)
{
    ql_pieces pieces = {.start = work};
    job j = open_job(R, T, &pieces);

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
            for (size_t r = 0; r < R; r++) {
                make_row(&j, r);
            }
#pragma omp for schedule(dynamic)
            for (size_t at = 0; at < W; at += COLUMNS) {
                do_columns(&j, at);
            }
        }
    }
}
