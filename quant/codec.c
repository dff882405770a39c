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
    size_t n; /* thresholds */
    float threshold[15];
    uint8_t code[16];
} scale_of_codes;

#define MID(a, b) (((a) + (b)) / 2)
#define T0 0.0052083334885537624F
#define T1 0.1666666716337204F
#define T2 0.25F
#define T3 0.3333333432674408F
#define T4 0.5F
#define T5 0.6666666865348816F

static const scale_of_codes scales[QL_CODEBOOK_COUNT] = {
    [QL_CODEBOOK_NF4] =
        {15,
         {-0.8480964004993439F, -0.6106329262256622F, -0.4599952697753906F,
          -0.33967943489551544F, -0.23460740596055984F, -0.13791173323988914F,
          -0.045525018125772476F, 0.03979014977812767F, 0.1202552504837513F,
          0.2035212516784668F, 0.2920137718319893F, 0.3893125355243683F,
          0.5016634166240692F, 0.6427869200706482F, 0.8614784181118011F},
         {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
    [QL_CODEBOOK_FP4] = {14,
                         {-MID(T5, 1.0F), -MID(T4, T5), -MID(T3, T4),
                          -MID(T2, T3), -MID(T1, T2), -MID(T0, T1),
                          -MID(0.0F, T0), MID(0.0F, T0), MID(T0, T1),
                          MID(T1, T2), MID(T2, T3), MID(T3, T4), MID(T4, T5),
                          MID(T5, 1.0F)},
                         {11, 10, 13, 12, 15, 14, 9, 0, 1, 6, 7, 4, 5, 2, 3}},
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
    for (size_t t = 0; t < s->n; t++) {
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
    /* below this the reciprocal is taken of it instead, as bitsandbytes does,
     * which keeps zeros from becoming NaN */
    static const float smallest = 1e-38F;

    for (size_t at = 0; at < n; at += block) {
        const size_t len = n - at < block ? n - at : block;
        const float top = largest(x + at, len);

        absmax[at / block] = top;
        quantize_block(packed + at / 2, x + at, len,
                       1 / (top > smallest ? top : smallest), &scales[book]);
    }
}

void ql_dequantize(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    ql_kernels_get()->decode(out, w, start, n);
}
