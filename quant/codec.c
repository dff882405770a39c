/* Blockwise 4-bit quantization. The code of an element is found by counting
 * the midpoints between neighbouring codes that lie strictly below it: that is
 * the nearest code with ties to the lower, has no branch, and compilers turn
 * it into vector compares. Integer counts and one f32 product an element:
 * every compiler and instruction set gives the same bytes. */
#include "quant/codec.h"

#include "quant/half.h"
#include "quant/kernels.h"

enum {
    CHUNK = 256,   /* elements at a time: their ranks stay in L1 */
    MIDPOINTS = 15 /* between 16 codes */
};

/* The codes in the order of their values. The zero of both books is entry 7;
 * FP4's second one, 8, takes what is positive and rounds to zero, as the
 * reference's sort has it. */
static const uint8_t ascending[QL_CODEBOOK_COUNT][16] = {
    [QL_CODEBOOK_NF4] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    [QL_CODEBOOK_FP4] = {11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3},
};

enum {
    ZERO = 7
};

size_t ql_codec_packed_bytes(size_t n)
{
    return n / 2 + n % 2;
}

size_t ql_codec_blocks(size_t n, size_t block)
{
    return n / block + (n % block != 0);
}

/* Of finite floats: their bits without the sign are ordered as they are. */
static float max_abs(const float *x, size_t n)
{
    int32_t top = 0;

    for (size_t i = 0; i < n; i++) {
        const int32_t bits = (int32_t)(ql_f32_bits(x[i]) & 0x7fffffff);

        top = bits > top ? bits : top;
    }
    return ql_f32_from_bits((uint32_t)top);
}

static void find_midpoints(float *mid, ql_codebook_id book)
{
    const float *code = ql_codebooks[book];
    const uint8_t *order = ascending[book];

    for (size_t i = 0; i < MIDPOINTS; i++) {
        mid[i] = (code[order[i]] + code[order[i + 1]]) / 2;
    }
}

/* rank[i] = number of midpoints below x[i] * inverse, in whole words, as
 * narrower ones would have to be packed at every step. */
static void find_ranks(int32_t *restrict rank, const float *restrict x,
                       size_t n, float inverse, const float *restrict mid)
{
    for (size_t i = 0; i < n; i++) {
        const float y = x[i] * inverse;
        int32_t below = 0;

        for (size_t j = 0; j < MIDPOINTS; j++) {
            below += y > mid[j];
        }
        rank[i] = below;
    }
}

static void pack_ranks(uint8_t *restrict packed, const int32_t *restrict rank,
                       size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        packed[i] = (uint8_t)(rank[2 * i] << 4 | rank[2 * i + 1]);
    }
}

/* Pairs of ranks into pairs of codes. */
static void translate(uint8_t *packed, size_t n, const uint8_t *order)
{
    for (size_t i = 0; i < n; i++) {
        packed[i] =
            (uint8_t)(order[packed[i] >> 4] << 4 | order[packed[i] & 15]);
    }
}

float ql_block_scale(const float *x, size_t n, size_t block)
{
    const float top = max_abs(x, n);

    return n < block && top < QL_SMALLEST_SCALE ? QL_SMALLEST_SCALE : top;
}

void ql_quantize_4bit(const float *x, size_t n, size_t block,
                      ql_codebook_id book, uint8_t *packed, float *absmax)
{
    float mid[MIDPOINTS];
    int32_t rank[CHUNK + 1];

    find_midpoints(mid, book);
    for (size_t start = 0; start < n; start += block) {
        const size_t end = n - start < block ? n : start + block;
        const float top = ql_block_scale(x + start, end - start, block);
        const float inverse =
            1 / (top > QL_SMALLEST_SCALE ? top : QL_SMALLEST_SCALE);

        absmax[start / block] = top;
        for (size_t i = start; i < end; i += CHUNK) {
            const size_t run = end - i < CHUNK ? end - i : CHUNK;

            find_ranks(rank, x + i, run, inverse, mid);
            rank[run] = ZERO; /* fills a last odd nibble */
            pack_ranks(packed + i / 2, rank, run + run % 2);
        }
    }
    if (book != QL_CODEBOOK_NF4) { /* whose ranks are its codes */
        translate(packed, ql_codec_packed_bytes(n), ascending[book]);
    }
}

void ql_dequantize(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    ql_kernels_get()->decode(out, w, start, n);
}
