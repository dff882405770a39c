/* Each sum or maximum runs in several lanes, which a compiler keeps in vector
 * registers without having to reorder anything. */
#include "src/op/row.h"

#include <math.h>

#include "src/op/exp.h"

enum {
    LANES = 8,
    PIECE = 512 /* elements kept in cache between exp and sum */
};

static double sum_lanes(const double *lane)
{
    return ((lane[0] + lane[4]) + (lane[1] + lane[5])) +
           ((lane[2] + lane[6]) + (lane[3] + lane[7]));
}

float ql_row_max(const float *x, size_t n)
{
    float lane[LANES];
    size_t i = 0;

    for (size_t j = 0; j < LANES; j++) {
        lane[j] = -INFINITY;
    }
    for (; i + LANES <= n; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
        }
    }
    for (; i < n; i++) {
        lane[0] = x[i] > lane[0] ? x[i] : lane[0];
    }
    for (size_t j = 1; j < LANES; j++) {
        lane[0] = lane[j] > lane[0] ? lane[j] : lane[0];
    }
    return lane[0];
}

static double sum(const float *x, size_t n)
{
    double lane[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            lane[j] += (double)x[i + j];
        }
    }
    for (; i < n; i++) {
        lane[0] += (double)x[i];
    }
    return sum_lanes(lane);
}

double ql_row_exp(float *x, size_t n, float shift)
{
    double total = 0;

    for (size_t i = 0; i < n; i += PIECE) {
        const size_t m = n - i < PIECE ? n - i : PIECE;
        float *piece = x + i;

#pragma omp simd
        for (size_t j = 0; j < m; j++) {
            piece[j] = ql_exp(piece[j] - shift);
        }
        total += sum(piece, m);
    }
    return total;
}

double ql_row_dot(const float *a, const float *b, size_t n)
{
    double lane[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            lane[j] += (double)a[i + j] * (double)b[i + j];
        }
    }
    for (; i < n; i++) {
        lane[0] += (double)a[i] * (double)b[i];
    }
    return sum_lanes(lane);
}
