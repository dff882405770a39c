#include "quant/dquant.h"

#include <math.h>
#include <string.h>

#include "quant/codebook.h"
#include "quant/map8.h"

/* The mean decides the last bit of every scale, and a float sum depends on its
 * order. To agree with checkpoints made by torch on a CPU, the sum is taken in
 * torch's order: rows of ROW floats (4 vectors of 8 lanes) go into a cascade of
 * LEVELS accumulators, where a level is emptied into the next every 2^power
 * rows; then what is left over, vector by vector and float by float. Beyond
 * 32768 scales torch splits the sum over its threads, so that there is no one
 * answer; the order here stays the same. Source of the order: PyTorch,
 * ATen/native/cpu/SumKernel.cpp. */
enum {
    LANES = 8,
    VECTORS = 4,
    ROW = LANES * VECTORS,
    LEVELS = 4
};

static void add_lanes(float *to, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] += x[i];
    }
}

/* Bits by which the number of rows between two emptyings grows a level. */
static size_t level_power(size_t rows)
{
    size_t bits = 0;

    while (rows > 1 && (rows - 1) >> bits) {
        bits++;
    }
    return bits / LEVELS > 4 ? bits / LEVELS : 4;
}

/* Empties full levels upwards after `done` rows. */
static void carry(float acc[LEVELS][ROW], size_t done, size_t power)
{
    const size_t mask = ((size_t)1 << power) - 1;

    for (size_t j = 1; j < LEVELS; j++) {
        add_lanes(acc[j], acc[j - 1], ROW);
        memset(acc[j - 1], 0, sizeof(acc[j - 1]));
        if (done & mask << j * power) {
            return;
        }
    }
}

/* The sum of `rows` rows, lane by lane, in acc[0]. */
static void cascade(float acc[LEVELS][ROW], const float *x, size_t rows)
{
    const size_t power = level_power(rows);
    const size_t step = (size_t)1 << power;

    for (size_t i = 0; i < rows; i++) {
        add_lanes(acc[0], x + i * ROW, ROW);
        if ((i + 1) % step == 0) {
            carry(acc, i + 1, power);
        }
    }
    for (size_t j = 1; j < LEVELS; j++) {
        add_lanes(acc[0], acc[j], ROW);
    }
}

static float mean(const float *x, size_t n)
{
    const size_t rows = n / ROW;
    const size_t vectors = n / LANES;
    float acc[LEVELS][ROW] = {{0}};
    float sum = 0;

    cascade(acc, x, rows);
    for (size_t v = rows * VECTORS; v < vectors; v++) {
        add_lanes(acc[0], x + v * LANES, LANES);
    }
    for (size_t v = 1; v < VECTORS; v++) {
        add_lanes(acc[0], acc[0] + v * LANES, LANES);
    }
    for (size_t i = vectors * LANES; i < n; i++) {
        sum += x[i];
    }
    for (size_t i = 0; i < LANES; i++) {
        sum += acc[0][i];
    }
    return sum / (float)n;
}

/* One block of n <= 256 scales. */
static void quantize_block(const float *absmax, size_t n, float offset,
                           uint8_t *q, float *outer)
{
    float top = 0;
    float divisor;
    float inverse;

    for (size_t i = 0; i < n; i++) {
        const float d = fabsf(absmax[i] - offset);

        top = d > top ? d : top;
    }
    divisor = top > QL_SMALLEST_SCALE ? top : QL_SMALLEST_SCALE;
    inverse = 1 / divisor;
    for (size_t i = 0; i < n; i++) {
        q[i] = ql_map8_nearest(ql_dynamic_map, (absmax[i] - offset) * inverse);
    }
    *outer = n < QL_NESTED_BLOCK ? divisor : top;
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
