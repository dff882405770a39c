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
