/* The weight is cut into chunks of whole blocks; each is widened to f32,
 * checked and quantized by one thread, so that neither time nor memory grows
 * with a float copy of the weight. */
#include "src/op/quantize_dense.h"

#include <math.h>

enum {
    CHUNK = 1 << 13, /* elements; a multiple of every legal block */
    GROUP = 64       /* chunks whose errors are summed apart */
};

/* Elements of chunk i of n. */
static size_t chunk_length(size_t n, size_t i)
{
    const size_t left = n - i * CHUNK;

    return left < CHUNK ? left : CHUNK;
}

/* Index of the first element that is not finite, n if all are. */
static size_t first_bad(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return i;
        }
    }
    return n;
}

size_t ql_quantize_dense(uint8_t *packed, float *absmax, const ql_qtensor *w,
                         ql_codebook_id book, size_t block)
{
    const size_t n = w->rows * w->cols;
    const size_t chunks = (n + CHUNK - 1) / CHUNK;
    size_t bad = SIZE_MAX;

#pragma omp parallel for schedule(dynamic, 16)
    for (size_t i = 0; i < chunks; i++) {
        _Alignas(64) float x[CHUNK];
        const size_t start = i * CHUNK;
        const size_t len = chunk_length(n, i);
        size_t at;

        ql_dequantize(x, w, start, len);
        at = first_bad(x, len);
        if (at == len) {
            ql_quantize_4bit(x, len, block, book, packed + start / 2,
                             absmax + start / block);
            continue;
        }
#pragma omp critical(ql_quantize_bad)
        bad = start + at < bad ? start + at : bad;
    }
    return bad;
}

void ql_scales_dense(float *absmax, const ql_qtensor *w, size_t block)
{
    const size_t n = w->rows * w->cols;
    const size_t chunks = (n + CHUNK - 1) / CHUNK;

#pragma omp parallel for schedule(dynamic, 16)
    for (size_t i = 0; i < chunks; i++) {
        _Alignas(64) float x[CHUNK];
        const size_t start = i * CHUNK;
        const size_t len = chunk_length(n, i);

        ql_dequantize(x, w, start, len);
        for (size_t at = 0; at < len; at += block) {
            const size_t here = len - at < block ? len - at : block;

            absmax[(start + at) / block] = ql_block_scale(x + at, here, block);
        }
    }
}

/* Error of chunk i, added to *e. */
static void compare_chunk(ql_quantize_error *e, const ql_qtensor *w,
                          const ql_qtensor *q, size_t i)
{
    _Alignas(64) float x[CHUNK];
    _Alignas(64) float y[CHUNK];
    const size_t start = i * CHUNK;
    const size_t len = chunk_length(w->rows * w->cols, i);

    ql_dequantize(x, w, start, len);
    ql_dequantize(y, q, start, len);
    for (size_t j = 0; j < len; j++) {
        const float scale = ql_qtensor_scale(q, (start + j) / q->block);
        const double d =
            scale != 0 ? fabs((double)y[j] - (double)x[j]) / fabs((double)scale)
                       : 0;

        e->sum_squares += d * d;
        e->largest = d > e->largest ? d : e->largest;
    }
}

ql_quantize_error ql_quantize_compare(const ql_qtensor *w, const ql_qtensor *q)
{
    const size_t n = w->rows * w->cols;
    const size_t chunks = (n + CHUNK - 1) / CHUNK;
    ql_quantize_error sum = {0, 0};

    for (size_t from = 0; from < chunks; from += GROUP) {
        const size_t to = from + GROUP < chunks ? from + GROUP : chunks;
        ql_quantize_error part[GROUP] = {{0, 0}};

#pragma omp parallel for schedule(dynamic)
        for (size_t i = from; i < to; i++) {
            compare_chunk(&part[i - from], w, q, i);
        }
        for (size_t i = 0; i < to - from; i++) {
            sum.sum_squares += part[i].sum_squares;
            sum.largest =
                part[i].largest > sum.largest ? part[i].largest : sum.largest;
        }
    }
    return sum;
}
