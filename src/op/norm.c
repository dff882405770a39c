#include "src/op/norm.h"

#include <math.h>

#include "src/op/loops.h"
#include "src/op/parallel.h"

enum {
    COLUMNS = 64 /* of dw, summed by one thread over all rows */
};

void ql_rmsnorm_fwd(float *y, float *rstd, const float *x, const float *w,
                    size_t T, size_t C, float eps)
{
    const ql_loops *loops = ql_loops_get();

#pragma omp parallel for schedule(dynamic, 8) if (T * C > QL_SMALL)
    for (size_t t = 0; t < T; t++) {
        const float *row = x + t * C;
        const double mean = loops->sumsq(row, C) / (double)C;

        rstd[t] = (float)(1 / sqrt(mean + (double)eps));
        loops->norm_fwd(y + t * C, row, w, C, rstd[t]);
    }
}

/* dw[c] += sum over t of dy x rstd, for one block of columns. */
static void add_dw(float *dw, const float *dy, const float *x,
                   const float *rstd, size_t T, size_t C, size_t first)
{
    const ql_loops *loops = ql_loops_get();
    const size_t n = C - first < COLUMNS ? C - first : COLUMNS;
    double total[COLUMNS] = {0};

    for (size_t t = 0; t < T; t++) {
        loops->norm_dw(total, dy + t * C + first, x + t * C + first, n,
                       rstd[t]);
    }
    for (size_t c = 0; c < n; c++) {
        dw[first + c] += (float)total[c];
    }
}

/* With xhat = x rstd and g = dy w:
 *
 *   dx = rstd (g - xhat mean(g xhat))
 *      = rstd g - x rstd^3 mean(g x) */
void ql_rmsnorm_bwd(float *dx, float *dw, const float *dy, const float *x,
                    const float *w, const float *rstd, size_t T, size_t C)
{
    const ql_loops *loops = ql_loops_get();

#pragma omp parallel for schedule(dynamic, 8) if (T * C > QL_SMALL)
    for (size_t t = 0; t < T; t++) {
        const float *d = dy + t * C;
        const float *in = x + t * C;
        const float r = rstd[t];
        const double mean = loops->norm_dot(d, w, in, C) / (double)C;
        const float back = (float)(mean * (double)r * (double)r);

        loops->norm_bwd(dx + t * C, d, in, w, C, r, back);
    }
    if (dw) {
#pragma omp parallel for schedule(dynamic) if (T * C > QL_SMALL)
        for (size_t c = 0; c < C; c += COLUMNS) {
            add_dw(dw, dy, x, rstd, T, C, c);
        }
    }
}

size_t ql_norm_stats(const ql_norm *n, size_t T)
{
    return n->b ? 2 * T : T;
}

static void layernorm_fwd(float *y, float *rstd, float *mean, const float *x,
                          const ql_norm *n, size_t T)
{
    const ql_loops *loops = ql_loops_get();
    const size_t C = n->C;

#pragma omp parallel for schedule(dynamic, 8) if (T * C > QL_SMALL)
    for (size_t t = 0; t < T; t++) {
        const float *row = x + t * C;
        const double m = loops->sum(row, C) / (double)C;
        const double square = loops->sumsq(row, C) / (double)C;
        /* exact squares: a difference below 0 is a rounding of 0; NaN stays */
        const double spread = square - m * m;

        mean[t] = (float)m;
        rstd[t] = (float)(1 / sqrt((spread < 0 ? 0 : spread) + (double)n->eps));
        loops->layernorm_fwd(y + t * C, row, n->w, n->b, C, mean[t], rstd[t]);
    }
}

/* dw and db as add_dw does. */
static void add_dw_db(float *dw, float *db, const float *dy, const float *x,
                      const float *rstd, const float *mean, size_t T, size_t C,
                      size_t first)
{
    const ql_loops *loops = ql_loops_get();
    const size_t n = C - first < COLUMNS ? C - first : COLUMNS;
    double w[COLUMNS] = {0};
    double b[COLUMNS] = {0};

    for (size_t t = 0; t < T; t++) {
        loops->layernorm_dw(w, b, dy + t * C + first, x + t * C + first, n,
                            mean[t], rstd[t]);
    }
    for (size_t c = 0; c < n; c++) {
        dw[first + c] += (float)w[c];
        db[first + c] += (float)b[c];
    }
}

/* With xhat = (x - mean) rstd and g = dy w:
 *
 *   dx = rstd (g - mean(g) - xhat mean(g xhat))
 *
 * where mean(g xhat) = rstd (mean(g x) - mean mean(g)). */
static void layernorm_bwd(float *dx, const float *dy, const float *x,
                          const float *rstd, const float *mean,
                          const ql_norm *n, size_t T)
{
    const ql_loops *loops = ql_loops_get();
    const size_t C = n->C;

#pragma omp parallel for schedule(dynamic, 8) if (T * C > QL_SMALL)
    for (size_t t = 0; t < T; t++) {
        const float *d = dy + t * C;
        const float *in = x + t * C;
        const double r = (double)rstd[t];
        const double g = loops->dot(d, n->w, C) / (double)C;
        const double gx = loops->norm_dot(d, n->w, in, C) / (double)C;
        const float back = (float)(r * r * (gx - (double)mean[t] * g));

        loops->layernorm_bwd(dx + t * C, d, in, n->w, C, mean[t], rstd[t],
                             (float)g, back);
    }
}

void ql_norm_fwd(float *y, float *stats, const float *x, const ql_norm *n,
                 size_t T)
{
    if (n->b) {
        layernorm_fwd(y, stats, stats + T, x, n, T);
    } else {
        ql_rmsnorm_fwd(y, stats, x, n->w, T, n->C, n->eps);
    }
}

void ql_norm_bwd(float *dx, const float *dy, const float *x, const float *stats,
                 const ql_norm *n, size_t T)
{
    if (!n->b) {
        ql_rmsnorm_bwd(dx, n->dw, dy, x, n->w, stats, T, n->C);
        return;
    }
    layernorm_bwd(dx, dy, x, stats, stats + T, n, T);
    if (n->dw) {
#pragma omp parallel for schedule(dynamic) if (T * n->C > QL_SMALL)
        for (size_t c = 0; c < n->C; c += COLUMNS) {
            add_dw_db(n->dw, n->db, dy, x, stats, stats + T, T, n->C, c);
        }
    }
}
