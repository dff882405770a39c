#include "src/op/fold.h"

#include <math.h>

#include "src/op/parallel.h"

enum {
    CHUNK = 256 /* columns whose sums are on the stack */
};

/* n columns of one row; a has rows ld apart. */
static void fold_chunk(float *w, size_t n, const float *b, const float *a,
                       size_t ld, size_t r, double scale)
{
    double sum[CHUNK];

    for (size_t j = 0; j < n; j++) {
        sum[j] = (double)w[j];
    }
    for (size_t k = 0; k < r; k++) {
        const double f = scale * (double)b[k];
        const float *row = a + k * ld;

        for (size_t j = 0; j < n; j++) {
            sum[j] += f * (double)row[j];
        }
    }
    for (size_t j = 0; j < n; j++) {
        w[j] = (float)sum[j];
    }
}

void ql_fold(float *w, size_t rows, size_t cols, const float *b, const float *a,
             size_t r, double scale)
{
#pragma omp parallel for schedule(static) if (rows * cols > QL_SMALL)
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j += CHUNK) {
            const size_t n = cols - j < CHUNK ? cols - j : CHUNK;

            fold_chunk(w + i * cols + j, n, b + i * r, a + j, cols, r, scale);
        }
    }
}

void ql_fold_rows(float *w, size_t rows, size_t cols, const float *magnitude)
{
#pragma omp parallel for schedule(static) if (rows * cols > QL_SMALL)
    for (size_t i = 0; i < rows; i++) {
        float *row = w + i * cols;
        double sum = 0;
        double gain;

        for (size_t j = 0; j < cols; j++) {
            sum += (double)row[j] * (double)row[j];
        }
        gain = sum > 0 ? (double)magnitude[i] / sqrt(sum) : 0;
        for (size_t j = 0; j < cols; j++) {
            row[j] = (float)(gain * (double)row[j]);
        }
    }
}

void ql_fold_squares(double *sum, const float *w, size_t rows, size_t cols)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++) {
            const double x = (double)w[i * cols + j];

            sum[j] += x * x;
        }
    }
}

void ql_fold_columns(float *w, size_t rows, size_t cols, const double *gain)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++) {
            w[i * cols + j] = (float)(gain[j] * (double)w[i * cols + j]);
        }
    }
}
