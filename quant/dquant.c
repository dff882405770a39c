#include "quant/dquant.h"

#include <math.h>

#include "quant/codebook.h"

/* The entry of the dynamic map nearest to y; the lower one on a tie. */
static uint8_t nearest(float y)
{
    size_t low = 0;
    size_t high = 255; /* the answer lies in [low, high] */

    while (low < high) {
        const size_t mid = (low + high) / 2;
        const float border =
            (ql_dynamic_map[mid] + ql_dynamic_map[mid + 1]) / 2;

        if (y > border) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return (uint8_t)low;
}

static float mean(const float *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i];
    }
    return (float)(sum / (double)n);
}

/* One block of n <= 256 scales. */
static void quantize_block(const float *absmax, size_t n, float offset,
                           uint8_t *q, float *outer)
{
    static const float smallest = 1e-38F;
    float top = 0;
    float inverse;

    for (size_t i = 0; i < n; i++) {
        const float d = fabsf(absmax[i] - offset);

        top = d > top ? d : top;
    }
    inverse = 1 / (top > smallest ? top : smallest);
    for (size_t i = 0; i < n; i++) {
        q[i] = nearest((absmax[i] - offset) * inverse);
    }
    *outer = top;
}

void ql_dquantize(const float *absmax, size_t n, uint8_t *q, float *outer,
                  float *offset)
{
    *offset = n > 0 ? mean(absmax, n) : 0;
    for (size_t at = 0; at < n; at += QL_NESTED_BLOCK) {
        const size_t len = n - at < QL_NESTED_BLOCK ? n - at : QL_NESTED_BLOCK;

        quantize_block(absmax + at, len, *offset, q + at,
                       outer + at / QL_NESTED_BLOCK);
    }
}
