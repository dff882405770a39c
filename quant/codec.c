/* Quantization works on one block at a time: its largest magnitude, then the
 * code of each element by counting the thresholds below it. The count is a
 * plain loop over the block for each threshold, which compilers vectorize; it
 * gives the lower of two codes on a tie. */
#include "quant/codec.h"

#include <math.h>

#include "quant/kernels.h"

enum {
    CHUNK = 64
}; /* elements coded at a time */

/* The thresholds between neighbouring values, ascending, and the code of each
 * interval. Source: midpoints (c[i] + c[i+1]) / 2 in f32, as bitsandbytes'
 * decision trees have them. */
typedef struct scale_of_codes {
    float threshold[15];
    uint8_t code[16];
} scale_of_codes;

static const scale_of_codes scales[QL_CODEBOOK_COUNT] = {
    [QL_CODEBOOK_NF4] = {{-0.848096371F, -0.610632896F, -0.45999527F,
                          -0.33967942F, -0.234607399F, -0.137911737F,
                          -0.0455250181F, 0.0397901498F, 0.120255247F,
                          0.203521252F, 0.292013764F, 0.389312536F,
                          0.501663446F, 0.64278692F, 0.861478448F},
                         {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
                          15}},
    /* what lies at zero or just below it is 0, just above it 8 */
    [QL_CODEBOOK_FP4] = {{-0.833333373F, -0.583333373F, -0.416666687F,
                          -0.291666687F, -0.208333343F, -0.0859375F,
                          -0.00260416674F, 0.0F, 0.00260416674F, 0.0859375F,
                          0.208333343F, 0.291666687F, 0.416666687F,
                          0.583333373F, 0.833333373F},
                         {11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2,
                          3}},
};

size_t ql_codec_packed_bytes(size_t n)
{
    return n / 2 + n % 2;
}

size_t ql_codec_blocks(size_t n, size_t block)
{
    return n / block + (n % block != 0);
}

static float largest(const float *x, size_t n)
{
    float top = 0;

    for (size_t i = 0; i < n; i++) {
        const float a = fabsf(x[i]);

        top = a > top ? a : top;
    }
    return top;
}

/* Codes of n <= CHUNK elements, one to a byte. */
static void find_codes(uint8_t *code, const float *x, size_t n, float inverse,
                       const scale_of_codes *s)
{
    float y[CHUNK];
    int32_t below[CHUNK];

    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] * inverse;
        below[i] = 0;
    }
    for (size_t t = 0; t < 15; t++) {
        for (size_t i = 0; i < n; i++) {
            below[i] += y[i] > s->threshold[t];
        }
    }
    for (size_t i = 0; i < n; i++) {
        code[i] = s->code[below[i]];
    }
}

/* Packs the codes of one block; it starts at a whole byte. */
static void quantize_block(uint8_t *packed, const float *x, size_t n,
                           float inverse, const scale_of_codes *s)
{
    uint8_t code[CHUNK];

    for (size_t at = 0; at < n; at += CHUNK) {
        const size_t len = n - at < CHUNK ? n - at : CHUNK;

        find_codes(code, x + at, len, inverse, s);
        for (size_t i = 0; i + 1 < len; i += 2) {
            packed[(at + i) / 2] = (uint8_t)(code[i] << 4 | code[i + 1]);
        }
        if (len % 2 != 0) {
            const float zero = 0;
            uint8_t pad;

            find_codes(&pad, &zero, 1, 1, s);
            packed[(at + len) / 2] = (uint8_t)(code[len - 1] << 4 | pad);
        }
    }
}

void ql_quantize_4bit(const float *x, size_t n, size_t block,
                      ql_codebook_id book, uint8_t *packed, float *absmax)
{
    for (size_t at = 0; at < n; at += block) {
        const size_t len = n - at < block ? n - at : block;
        const float top = largest(x + at, len);
        const float divisor = top > QL_SMALLEST_SCALE ? top : QL_SMALLEST_SCALE;

        absmax[at / block] = len < block ? divisor : top;
        quantize_block(packed + at / 2, x + at, len, 1 / divisor,
                       &scales[book]);
    }
}

void ql_dequantize(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    ql_kernels_get()->decode(out, w, start, n);
}
