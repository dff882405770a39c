#include "src/op/norm.h"

#include <math.h>

#include "src/op/parallel.h"
#include "src/op/row.h"

enum {
    LANES = 4,
    COLUMNS = 64, /* of dw, summed by one thread over all rows */
};

void ql_rmsnorm_fwd(float *y, float *rstd, const float *x, const float *w,
                    size_t T, size_t C, float eps)
{
#pragma omp parallel for schedule(dynamic, 8) if (T * C > QL_SMALL)
    for (size_t t = 0; t < T; t++) {
        const float *row = x + t * C;
        float *out = y + t * C;
        const double mean = ql_row_dot(row, row, C) / (double)C;
        const float r = (float)(1 / sqrt(mean + (double)eps));

#pragma omp simd
        for (size_t c = 0; c < C; c++) {
            out[c] = w[c] * (row[c] * r);
        }
        rstd[t] = r;
    }
}

/* Sum of dy w x over a row, in double. */
static double dot3(const float *dy, const float *w, const float *x, size_t C)
{
    double lane[LANES] = {0};
    size_t c = 0;

    for (; c + LANES <= C; c += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            lane[j] += (double)(dy[c + j] * w[c + j]) * (double)x[c + j];
        }
    }
    for (; c < C; c++) {
        lane[0] += (double)(dy[c] * w[c]) * (double)x[c];
    }
    return (lane[0] + lane[2]) + (lane[1] + lane[3]);
}

/* dw[c] += sum over t of dy x rstd, for one block of columns. */
static void add_dw(float *dw, const float *dy, const float *x,
                   const float *rstd, size_t T, size_t C, size_t first)
{
    const size_t n = C - first < COLUMNS ? C - first : COLUMNS;
    double total[COLUMNS] = {0};

    for (size_t t = 0; t < T; t++) {
        const float *d = dy + t * C + first;
        const float *in = x + t * C + first;
        const float r = rstd[t];

#pragma omp simd
        for (size_t c = 0; c < n; c++) {
            total[c] += (double)(d[c] * (in[c] * r));
        }
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
#pragma omp parallel for schedule(dynamic, 8) if (T * C > QL_SMALL)
    for (size_t t = 0; t < T; t++) {
        const float *d = dy + t * C;
        const float *in = x + t * C;
        float *out = dx + t * C;
        const float r = rstd[t];
        const double mean = dot3(d, w, in, C) / (double)C;
        const float back = (float)(mean * (double)r * (double)r);

#pragma omp simd
        for (size_t c = 0; c < C; c++) {
            out[c] += r * (d[c] * w[c] - in[c] * back);
        }
    }
    if (dw) {
#pragma omp parallel for schedule(dynamic) if (T * C > QL_SMALL)
        for (size_t c = 0; c < C; c += COLUMNS) {
            add_dw(dw, dy, x, rstd, T, C, c);
        }
    }
}
