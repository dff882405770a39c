#include "src/op/dora.h"

#include <math.h>

#include "quant/codec.h"
#include "quant/qgemm.h"
#include "src/base/arena.h"
#include "src/op/loops.h"
#include "src/op/parallel.h"

enum {
    PIECE = 512, /* elements of a row of W at a time */
    COLUMNS = 64 /* summed by one thread over all rows */
};

static size_t columns_from(size_t first, size_t N)
{
    return N - first < COLUMNS ? N - first : COLUMNS;
}

static double row_sumsq(const ql_qtensor *w, size_t row)
{
    const ql_loops *loops = ql_loops_get();
    float piece[PIECE];
    double sum = 0;

    for (size_t k = 0; k < w->cols; k += PIECE) {
        const size_t n = w->cols - k < PIECE ? w->cols - k : PIECE;

        ql_dequantize(piece, w, row * w->cols + k, n);
        sum += loops->sumsq(piece, n);
    }
    return sum;
}

/* That of some columns, over all rows. */
static void columns_sumsq(float *to, const ql_qtensor *w, size_t first)
{
    const size_t columns = columns_from(first, w->cols);
    double sum[COLUMNS] = {0};
    float piece[COLUMNS];

    for (size_t k = 0; k < w->rows; k++) {
        ql_dequantize(piece, w, k * w->cols + first, columns);
        for (size_t n = 0; n < columns; n++) {
            sum[n] += (double)piece[n] * (double)piece[n];
        }
    }
    for (size_t n = 0; n < columns; n++) {
        to[first + n] = (float)sum[n];
    }
}

static size_t outputs_of(const ql_linear *lin)
{
    return lin->dora.across ? lin->w.cols : lin->w.rows;
}

void ql_dora_prepare(const ql_linear *lin)
{
    const bool many = lin->w.rows * lin->w.cols > QL_SMALL;
    const ql_dora *d = &lin->dora;

    if (d->across) {
#pragma omp parallel for schedule(dynamic) if (many)
        for (size_t n = 0; n < lin->w.cols; n += COLUMNS) {
            columns_sumsq(d->base, &lin->w, n);
        }
        return;
    }
#pragma omp parallel for schedule(dynamic, 8) if (many)
    for (size_t n = 0; n < lin->w.rows; n++) {
        d->base[n] = (float)row_sumsq(&lin->w, n);
    }
}

/* W A^T, transposed: [R, N]. */
static void project(float *wa, const ql_linear *lin, void *work)
{
    const ql_term term = {.in = lin->lora.a, .w = &lin->w};

    if (lin->dora.across) {
        ql_qgemm_bwd(wa, &term, 1, lin->lora.r, false, work);
    } else {
        ql_qgemm_fwd(wa, &term, 1, lin->lora.r, false, work);
    }
}

static size_t projection_bytes(const ql_linear *lin)
{
    return ql_arena_piece(lin->lora.r * outputs_of(lin), sizeof(float));
}

static size_t square_bytes(const ql_linear *lin)
{
    return ql_arena_piece(lin->lora.r * lin->lora.r, sizeof(double));
}

size_t ql_dora_work_bytes(const ql_linear *lin)
{
    const ql_term term = {.w = &lin->w};

    return projection_bytes(lin) + square_bytes(lin) +
           ql_qgemm_work_bytes(&term, 1, lin->lora.r);
}

/* |W + s B A|^2 of output n. */
static double output_norm(const ql_linear *lin, const float *wa,
                          const double *aa, size_t n)
{
    const size_t N = outputs_of(lin);
    const size_t r = lin->lora.r;
    const double s = (double)lin->lora.scale;
    const float *b = lin->lora.b + n * r;
    double cross = 0;
    double square = 0;

    for (size_t i = 0; i < r; i++) {
        double row = 0;

        for (size_t j = 0; j < r; j++) {
            row += aa[i * r + j] * (double)b[j];
        }
        cross += (double)b[i] * (double)wa[i * N + n];
        square += (double)b[i] * row;
    }
    return (double)lin->dora.base[n] + 2 * s * cross + s * s * square;
}

void ql_dora_refresh(const ql_linear *lin, void *work)
{
    const ql_loops *loops = ql_loops_get();
    const ql_dora *d = &lin->dora;
    const size_t N = outputs_of(lin);
    const size_t K = lin->dora.across ? lin->w.rows : lin->w.cols;
    const size_t r = lin->lora.r;
    char *square = (char *)work + projection_bytes(lin);
    double *aa = (double *)(void *)square;
    float *wa = work;

    project(wa, lin, square + square_bytes(lin));
#pragma omp parallel for schedule(static) if (r * r * K > QL_SMALL)
    for (size_t i = 0; i < r * r; i++) {
        aa[i] = loops->dot(lin->lora.a + i / r * K, lin->lora.a + i % r * K, K);
    }
#pragma omp parallel for schedule(static) if (N * r * r > QL_SMALL)
    for (size_t n = 0; n < N; n++) {
        const double norm = sqrt(output_norm(lin, wa, aa, n));

        d->inverse[n] = (float)(1 / norm);
        d->gain[n] = (float)((double)d->m[n] / norm);
    }
}

void ql_dora_apply(float *y, bool add, const float *u, const ql_dora *d,
                   size_t T, size_t N)
{
#pragma omp parallel for schedule(static) if (T * N > QL_SMALL)
    for (size_t t = 0; t < T; t++) {
        float *to = y + t * N;
        const float *from = u + t * N;

        for (size_t n = 0; n < N; n++) {
            to[n] = from[n] * d->gain[n] + (add ? to[n] : 0);
        }
    }
}

/* dm of some columns, summed over all rows. */
static void add_dm(const float *dy, const float *u, const ql_dora *d, size_t T,
                   size_t N, size_t first)
{
    const size_t columns = columns_from(first, N);
    double sum[COLUMNS] = {0};

    for (size_t t = 0; t < T; t++) {
        for (size_t n = 0; n < columns; n++) {
            const size_t at = t * N + first + n;

            sum[n] += (double)dy[at] * (double)u[at];
        }
    }
    for (size_t n = 0; n < columns; n++) {
        d->dm[first + n] += (float)(sum[n] * (double)d->inverse[first + n]);
    }
}

void ql_dora_bwd(float *du, const float *dy, const float *u, const ql_dora *d,
                 size_t T, size_t N)
{
    if (d->dm) {
#pragma omp parallel for schedule(dynamic) if (T * N > QL_SMALL)
        for (size_t n = 0; n < N; n += COLUMNS) {
            add_dm(dy, u, d, T, N, n);
        }
    }
#pragma omp parallel for schedule(static) if (T * N > QL_SMALL)
    for (size_t t = 0; t < T; t++) {
        for (size_t n = 0; n < N; n++) {
            du[t * N + n] = dy[t * N + n] * d->gain[n];
        }
    }
}
