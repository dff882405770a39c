/* Element loops. They are handed out in pieces, dynamically: a static split
 * waits for whichever core something else is using. */
#include "src/op/vec.h"

#include <assert.h>

#include "src/base/rng.h"
#include "src/op/row.h"

enum {
    PIECE = 8192,  /* elements handed to a thread at a time */
    SUM_PARTS = 64 /* partial sums of a sum over everything */
};

void ql_vec_add(float *y, const float *x, size_t n)
{
#pragma omp parallel for simd schedule(dynamic, PIECE) if (n > PIECE)
    for (size_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}

void ql_vec_add_bias(float *y, const float *b, size_t T, size_t N)
{
#pragma omp parallel for schedule(dynamic, 8) if (T * N > PIECE)
    for (size_t t = 0; t < T; t++) {
        float *row = y + t * N;

#pragma omp simd
        for (size_t n = 0; n < N; n++) {
            row[n] += b[n];
        }
    }
}

/* Elements 2 i and 2 i + 1 take the lower and the upper half of number i. */
static void dropout_piece(float *y, const float *x, size_t begin, size_t end,
                          float p, uint64_t key)
{
    const uint64_t drop_below = (uint64_t)((double)p * 0x1p32);
    const float keep = (float)(1 / (1 - (double)p));
    size_t i = begin;

    for (; i + 2 <= end; i += 2) {
        const uint64_t r = ql_rng_at(key, i / 2);

        y[i] = (uint32_t)r < drop_below ? 0 : x[i] * keep;
        y[i + 1] = r >> 32 < drop_below ? 0 : x[i + 1] * keep;
    }
    if (i < end) {
        const uint64_t r = ql_rng_at(key, i / 2);

        y[i] = (uint32_t)r < drop_below ? 0 : x[i] * keep;
    }
}

void ql_vec_dropout(float *y, const float *x, size_t n, float p, uint64_t key)
{
    assert(p >= 0 && p < 1);
#pragma omp parallel for schedule(dynamic) if (n > PIECE)
    for (size_t i = 0; i < n; i += PIECE) {
        dropout_piece(y, x, i, n - i < PIECE ? n : i + PIECE, p, key);
    }
}

double ql_vec_sumsq(const float *x, size_t n)
{
    const size_t len = (n + SUM_PARTS - 1) / SUM_PARTS;
    double part[SUM_PARTS] = {0};
    double total = 0;

#pragma omp parallel for schedule(dynamic) if (n > PIECE)
    for (size_t i = 0; i < SUM_PARTS; i++) {
        const size_t begin = i * len < n ? i * len : n;
        const size_t end = n - begin < len ? n : begin + len;

        part[i] = ql_row_dot(x + begin, x + begin, end - begin);
    }
    for (size_t i = 0; i < SUM_PARTS; i++) {
        total += part[i];
    }
    return total;
}
