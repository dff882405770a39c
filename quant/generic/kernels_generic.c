/* The portable sets: what every other set must agree with, kept as plain as
 * can be. The one in bf16 stands for what the bf16 instructions do. */
#include "quant/kernel_parts.h"
#include "quant/kernels.h"

enum {
    MR = 4,
    NR = 8,
    LANES = 8,
    FEW = 3
};

static void pairs(float *out, const uint8_t *bytes, size_t n,
                  const ql_qtensor *w, float scale)
{
    float value[16];

    for (size_t i = 0; i < 16; i++) {
        value[i] = ql_round_to(w->code[i] * scale, w->round);
    }
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = value[bytes[i] >> 4];
        out[2 * i + 1] = value[bytes[i] & 15];
    }
}

static void decode(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    ql_decode_by(out, w, start, n, pairs, ql_decode_f16);
}

static void fetch(void *out, const ql_qtensor *w, size_t start, size_t n)
{
    decode(out, w, start, n);
}

static void fetch_bf16(void *out, const ql_qtensor *w, size_t start, size_t n)
{
    ql_fetch_rounded(out, w, start, n, decode);
}

static void narrow_bf16(void *out, const float *x, size_t n)
{
    uint16_t *to = out;

    for (size_t i = 0; i < n; i++) {
        to[i] = ql_f32_to_bf16(x[i]);
    }
}

static void pack_nt(uint32_t *panel, size_t width, const void *rows, size_t ld,
                    size_t cells)
{
    for (size_t p = 0; p < cells; p++) {
        for (size_t j = 0; j < NR; j++) {
            panel[p * width + j] = ql_cell(rows, j * ld + p);
        }
    }
}

static void pack_nn(uint32_t *panel, size_t width, const void *rows, size_t ld,
                    size_t depth)
{
    for (size_t p = 0; p < depth; p++) {
        memcpy(panel + p * width, (const float *)rows + p * ld,
               width * sizeof(*panel));
    }
}

static void pack_nn_bf16(uint32_t *panel, size_t width, const void *rows,
                         size_t ld, size_t depth)
{
    const uint16_t *row = rows;

    for (size_t p = 0; p < depth; p += 2, row += 2 * ld) {
        for (size_t j = 0; j < width; j++) {
            *panel++ = ql_cell_of(row[j], p + 1 < depth ? row[ld + j] : 0);
        }
    }
}

static void fill_nn(uint32_t *panel, const ql_slab *s)
{
    ql_fill_nn_by(panel, s, sizeof(float), fetch, pack_nn);
}

static void fill_nn_bf16(uint32_t *panel, const ql_slab *s)
{
    ql_fill_nn_by(panel, s, sizeof(uint16_t), fetch_bf16, pack_nn_bf16);
}

static void put(float *c, size_t ldc, float sum[MR][NR], size_t rows, bool add)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < NR; j++) {
            c[i * ldc + j] = sum[i][j] + (add ? c[i * ldc + j] : 0);
        }
    }
}

static void ukr(float *c, size_t ldc, const void *a, size_t lda,
                const uint32_t *panel, size_t cells, size_t rows, bool add)
{
    float sum[MR][NR] = {{0}};

    for (size_t p = 0; p < cells; p++) {
        for (size_t i = 0; i < MR; i++) {
            const float x = ql_f32_from_bits(ql_cell(a, i * lda + p));

            for (size_t j = 0; j < NR; j++) {
                sum[i][j] += x * ql_f32_from_bits(panel[p * NR + j]);
            }
        }
    }
    put(c, ldc, sum, rows, add);
}

static float first(uint32_t cell)
{
    return ql_f32_from_bits(cell << 16);
}

static float second(uint32_t cell)
{
    return ql_f32_from_bits(cell & 0xffff0000);
}

static void ukr_bf16(float *c, size_t ldc, const void *a, size_t lda,
                     const uint32_t *panel, size_t cells, size_t rows, bool add)
{
    float sum[MR][NR] = {{0}};

    for (size_t p = 0; p < cells; p++) {
        for (size_t i = 0; i < MR; i++) {
            const uint32_t x = ql_cell(a, i * lda + p);

            for (size_t j = 0; j < NR; j++) {
                const uint32_t y = panel[p * NR + j];

                sum[i][j] += first(x) * first(y) + second(x) * second(y);
            }
        }
    }
    put(c, ldc, sum, rows, add);
}

static float sum_lanes(const float *lane)
{
    float sum = 0;

    for (size_t j = 0; j < LANES; j++) {
        sum += lane[j];
    }
    return sum;
}

/* Lanes let a compiler use vectors without changing the order of a sum. */
static inline float dot_of(const void *a, bool a_bf16, const void *b,
                           bool b_bf16, size_t n)
{
    float lane[LANES] = {0};
    size_t p = 0;

    for (; p + LANES <= n; p += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            lane[j] += ql_value(a, p + j, a_bf16) * ql_value(b, p + j, b_bf16);
        }
    }
    for (; p < n; p++) {
        lane[p % LANES] += ql_value(a, p, a_bf16) * ql_value(b, p, b_bf16);
    }
    return sum_lanes(lane);
}

static float dot(const void *a, const void *b, size_t n)
{
    return dot_of(a, false, b, false, n);
}

static float dot_bf16(const void *a, const void *b, size_t n)
{
    return dot_of(a, true, b, true, n);
}

static float dot_stored_bf16(const void *a, const void *b, size_t n)
{
    return dot_of(a, true, b, false, n);
}

static void dot4(float sum[][QL_DOT4_ROWS], const ql_dots *d)
{
    ql_dot4_fetched(sum, d, fetch, dot, 1);
}

static void dot4_bf16(float sum[][QL_DOT4_ROWS], const ql_dots *d)
{
    ql_dot4_fetched(sum, d, fetch_bf16, dot_bf16, 2);
}

const ql_kernels ql_kernels_generic = {
    .name = "generic",
    .cpu_need = 0,
    .pair = 1,
    .lanes = NR,
    .tile = {MR, NR, ukr},
    .cache = {256, 256, 512},
    .thin = {MR, NR, ukr},
    .decode = decode,
    .fetch = fetch,
    .narrow = ql_narrow_f32,
    .pack_nt = pack_nt,
    .pack_nn = pack_nn,
    .fill_nn = fill_nn,
    .turn = pack_nt,
    .dot = dot,
    .dot_bf16 = dot_stored_bf16,
    .few = FEW,
    .arrange = ql_narrow_f32,
    .dot4 = dot4,
};

const ql_kernels ql_kernels_generic_bf16 = {
    .name = "generic-bf16",
    .cpu_need = 0,
    .pair = 2,
    .lanes = NR,
    .tile = {MR, NR, ukr_bf16},
    .cache = {256, 256, 512},
    .thin = {MR, NR, ukr_bf16},
    .decode = decode,
    .fetch = fetch_bf16,
    .narrow = narrow_bf16,
    .pack_nt = pack_nt,
    .pack_nn = pack_nn_bf16,
    .fill_nn = fill_nn_bf16,
    .turn = pack_nt,
    .dot = dot_bf16,
    .dot_bf16 = dot_bf16,
    .few = FEW,
    .arrange = narrow_bf16,
    .dot4 = dot4_bf16,
};
