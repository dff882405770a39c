/* Element loops. They are handed out in pieces, dynamically: a static split
 * waits for whichever core something else is using. */
#include "src/op/vec.h"

#include <assert.h>

#include "src/op/loops.h"

enum {
    PIECE = 8192,  /* elements handed to a thread at a time: even */
    COLUMNS = 64,  /* summed by one thread over all rows */
    WIDE = 1024,   /* of bf16, made wide at a time */
    SUM_PARTS = 64 /* partial sums of a sum over everything */
};

static size_t piece_length(size_t n, size_t at)
{
    return n - at < PIECE ? n - at : PIECE;
}

void ql_vec_add(float *y, const float *x, size_t n)
{
    const ql_loops *loops = ql_loops_get();

#pragma omp parallel for schedule(dynamic) if (n > PIECE)
    for (size_t i = 0; i < n; i += PIECE) {
        loops->add(y + i, x + i, piece_length(n, i));
    }
}

void ql_vec_sub(float *y, const float *a, const float *b, size_t n)
{
#pragma omp parallel for simd schedule(static) if (n > PIECE)
    for (size_t i = 0; i < n; i++) {
        y[i] = a[i] - b[i];
    }
}

/* Some columns of ql_vec_sum_rows. */
static void sum_columns(float *s, const float *x, size_t T, size_t N, size_t n)
{
    double sum[COLUMNS] = {0};

    for (size_t t = 0; t < T; t++) {
        for (size_t c = 0; c < n; c++) {
            sum[c] += (double)x[t * N + c];
        }
    }
    for (size_t c = 0; c < n; c++) {
        s[c] += (float)sum[c];
    }
}

void ql_vec_sum_rows(float *s, const float *x, size_t T, size_t N)
{
#pragma omp parallel for schedule(dynamic) if (T * N > PIECE)
    for (size_t c = 0; c < N; c += COLUMNS) {
        sum_columns(s + c, x + c, T, N, N - c < COLUMNS ? N - c : COLUMNS);
    }
}

void ql_vec_add_bias(float *y, const float *b, size_t T, size_t N)
{
    const ql_loops *loops = ql_loops_get();

#pragma omp parallel for schedule(dynamic, 8) if (T * N > PIECE)
    for (size_t t = 0; t < T; t++) {
        loops->add(y + t * N, b, N);
    }
}

void ql_vec_to_bf16(uint16_t *y, const float *x, size_t n)
{
    const ql_loops *loops = ql_loops_get();

#pragma omp parallel for schedule(dynamic) if (n > PIECE)
    for (size_t i = 0; i < n; i += PIECE) {
        loops->narrow(y + i, x + i, piece_length(n, i));
    }
}

void ql_vec_from_bf16(float *y, const uint16_t *x, size_t n)
{
    const ql_loops *loops = ql_loops_get();

#pragma omp parallel for schedule(dynamic) if (n > PIECE)
    for (size_t i = 0; i < n; i += PIECE) {
        loops->widen(y + i, x + i, piece_length(n, i));
    }
}

void ql_vec_softcap(float *x, size_t n, float cap)
{
    const ql_loops *loops = ql_loops_get();

#pragma omp parallel for schedule(dynamic) if (n > PIECE)
    for (size_t i = 0; i < n; i += PIECE) {
        loops->softcap(x + i, piece_length(n, i), cap);
    }
}

void ql_vec_dropout(float *y, const float *x, size_t n, float p, uint64_t key)
{
    const ql_loops *loops = ql_loops_get();
    const uint32_t drop_below = (uint32_t)((double)p * 0x1p32);
    const float keep = (float)(1 / (1 - (double)p));

    assert(p >= 0 && p < 1);
#pragma omp parallel for schedule(dynamic) if (n > PIECE)
    for (size_t i = 0; i < n; i += PIECE) {
        loops->dropout(y + i, x + i, piece_length(n, i), i, key, drop_below,
                       keep);
    }
}

/* One thread's share of the next. */
static void add_narrow(const ql_loops *loops, uint16_t *y, const float *x,
                       size_t n)
{
    float wide[WIDE];

    for (size_t i = 0; i < n; i += WIDE) {
        const size_t len = n - i < WIDE ? n - i : WIDE;

        loops->widen(wide, y + i, len);
        loops->add(wide, x + i, len);
        loops->narrow(y + i, wide, len);
    }
}

void ql_vec_add_to_bf16(uint16_t *y, const float *x, size_t n)
{
    const ql_loops *loops = ql_loops_get();

#pragma omp parallel for schedule(dynamic) if (n > PIECE)
    for (size_t i = 0; i < n; i += PIECE) {
        add_narrow(loops, y + i, x + i, piece_length(n, i));
    }
}

/* Part i of so many of a sum over n elements. */
typedef struct part {
    size_t begin, n;
} part;

static part part_of(size_t n, size_t i)
{
    const size_t len = (n + SUM_PARTS - 1) / SUM_PARTS;
    const size_t begin = i * len < n ? i * len : n;

    return (part){begin, n - begin < len ? n - begin : len};
}

static double sum_parts(const double *sums)
{
    double total = 0;

    for (size_t i = 0; i < SUM_PARTS; i++) {
        total += sums[i];
    }
    return total;
}

double ql_vec_sumsq(const float *x, size_t n)
{
    const ql_loops *loops = ql_loops_get();
    double sums[SUM_PARTS] = {0};

#pragma omp parallel for schedule(dynamic) if (n > PIECE)
    for (size_t i = 0; i < SUM_PARTS; i++) {
        const part p = part_of(n, i);

        sums[i] = loops->sumsq(x + p.begin, p.n);
    }
    return sum_parts(sums);
}

static double sumsq_bf16(const ql_loops *loops, const uint16_t *x, size_t n)
{
    float wide[WIDE];
    double sum = 0;

    for (size_t i = 0; i < n; i += WIDE) {
        const size_t len = n - i < WIDE ? n - i : WIDE;

        loops->widen(wide, x + i, len);
        sum += loops->sumsq(wide, len);
    }
    return sum;
}

double ql_vec_sumsq_bf16(const uint16_t *x, size_t n)
{
    const ql_loops *loops = ql_loops_get();
    double sums[SUM_PARTS] = {0};

#pragma omp parallel for schedule(dynamic) if (n > PIECE)
    for (size_t i = 0; i < SUM_PARTS; i++) {
        const part p = part_of(n, i);

        sums[i] = sumsq_bf16(loops, x + p.begin, p.n);
    }
    return sum_parts(sums);
}
