/* Blockwise 4-bit quantization. The code of an element is found by counting
 * the midpoints between neighbouring codes that lie strictly below it: that is
 * the nearest code with ties to the lower, has no branch, and compilers turn
 * it into vector compares. Integer counts and one f32 product an element:
 * every compiler and instruction set gives the same bytes. */
#include "quant/codec.h"

#include "quant/half.h"
#include "quant/kernels.h"

enum {
    CHUNK = 256,   /* elements ranked at a time: stays in L1 */
    MIDPOINTS = 15 /* between 16 codes */
};

/* The codes in the order of their values. FP4 has two zeros: what lies at zero
 * or just below it becomes 0, what lies just above it 8, as in bitsandbytes'
 * portable backend. Entry 7 is the zero of both books. */
static const uint8_t ascending[QL_CODEBOOK_COUNT][16] = {
    [QL_CODEBOOK_NF4] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    [QL_CODEBOOK_FP4] = {11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3},
};

enum {
    ZERO_RANK = 7
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

/* rank[i] = number of midpoints below x[i] * inverse */
static void rank_run(uint8_t *restrict rank, const float *restrict x, size_t n,
                     float inverse, const float *restrict mid)
{
    for (size_t i = 0; i < n; i++) {
        const float y = x[i] * inverse;
        int32_t below = 0;

        for (size_t j = 0; j < MIDPOINTS; j++) {
            below += y > mid[j];
        }
        rank[i] = (uint8_t)below;
    }
}

static void pack_run(uint8_t *packed, uint8_t *rank, size_t n,
                     const uint8_t *order)
{
    if (n % 2) {
        rank[n] = ZERO_RANK;
    }
    for (size_t i = 0; i < n; i += 2) {
        packed[i / 2] = (uint8_t)(order[rank[i]] << 4 | order[rank[i + 1]]);
    }
}

void ql_quantize_4bit(const float *x, size_t n, size_t block,
                      ql_codebook_id book, uint8_t *packed, float *absmax)
{
    float mid[MIDPOINTS];
    uint8_t rank[CHUNK];

    find_midpoints(mid, book);
    for (size_t start = 0; start < n; start += block) {
        const size_t end = n - start < block ? n : start + block;
        const float top = max_abs(x + start, end - start);
        const float scale = top > QL_SMALLEST_SCALE ? top : QL_SMALLEST_SCALE;
        const float inverse = 1 / scale;

        absmax[start / block] = end - start < block ? scale : top;
        for (size_t i = start; i < end; i += CHUNK) {
            const size_t run = end - i < CHUNK ? end - i : CHUNK;

            rank_run(rank, x + i, run, inverse, mid);
            pack_run(packed + i / 2, rank, run, ascending[book]);
        }
    }
}

void ql_dequantize(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    ql_kernels_get()->decode(out, w, start, n);
}
