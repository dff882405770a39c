/* NEON with bf16 products: operands are rounded to bf16, two to a cell; sums
 * are in f32. The micro-kernel's instruction multiplies two rows of A by two
 * columns of B, two cells deep, into a square of C. So panels have an order of
 * their own: panel[p * NR + 2 * j] and the next are cells p and p + 1 of column
 * j, p even; a last cell without a second is at panel[p * NR + j]. */
#include "quant/arm/parts_neon.h"
#include "quant/cpu.h"
#include "quant/kernel_parts.h"

enum {
    MR = 8, /* 4 x 4 accumulators, 4 vectors of A, 1 of B: 21 registers */
    NR = 8,
    FEW = 3
};

/* Two cells of each of two rows that are ld cells apart. */
static uint32x4_t two_by_two(const uint32_t *at, size_t ld)
{
    return vcombine_u32(vld1_u32(at), vld1_u32(at + ld));
}

static void pack_nt(uint32_t *panel, size_t width, const void *rows, size_t ld,
                    size_t cells)
{
    const uint32_t *at = rows;
    size_t p = 0;

    for (; p + 2 <= cells; p += 2, at += 2, panel += 2 * width) {
        for (size_t j = 0; j < NR; j += 2) {
            vst1q_u32(panel + 2 * j, two_by_two(at + j * ld, ld));
        }
    }
    for (size_t j = 0; p < cells && j < NR; j++) {
        panel[j] = ql_cell(at, j * ld);
    }
}

/* Eight cells of a row and the next, which there may not be. */
static uint16x8x2_t cells_of(const uint16_t *row, size_t ld, bool has_next)
{
    return vzipq_u16(vld1q_u16(row),
                     has_next ? vld1q_u16(row + ld) : vdupq_n_u16(0));
}

static void pack_nn(uint32_t *panel, size_t width, const void *rows, size_t ld,
                    size_t depth)
{
    const uint16_t *row = rows;

    for (size_t p = 0; p < depth; p += 4, panel += 2 * width, row += 4 * ld) {
        const size_t left = depth - p;
        const uint16x8x2_t first = cells_of(row, ld, left > 1);

        if (left <= 2) {
            vst1q_u32(panel, vreinterpretq_u32_u16(first.val[0]));
            vst1q_u32(panel + 4, vreinterpretq_u32_u16(first.val[1]));
            return;
        }
        const uint16x8x2_t second = cells_of(row + 2 * ld, ld, left > 3);

#pragma GCC unroll 2
        for (size_t i = 0; i < 2; i++) {
            const uint32x4x2_t x =
                vzipq_u32(vreinterpretq_u32_u16(first.val[i]),
                          vreinterpretq_u32_u16(second.val[i]));

            vst1q_u32(panel + 8 * i, x.val[0]);
            vst1q_u32(panel + 8 * i + 4, x.val[1]);
        }
    }
}

static void fill_nn(uint32_t *panel, const ql_slab *s)
{
    ql_fill_nn_by(panel, s, sizeof(uint16_t), ql_fetch_neonbf16, pack_nn);
}

static float32x4_t multiply(float32x4_t sum, uint32x4_t a, uint32x4_t b)
{
    return vbfmmlaq_f32(sum, vreinterpretq_bf16_u32(a),
                        vreinterpretq_bf16_u32(b));
}

/* The last cell of each row, where there is no second: beside zeros. */
static void last_cells(float32x4_t sum[MR / 2][NR / 2], const uint32_t *x,
                       size_t lda, const uint32_t *panel)
{
#pragma GCC unroll 4
    for (size_t i = 0; i < MR / 2; i++) {
        const size_t at = 2 * i * lda;
        const uint32x4_t y = {ql_cell(x, at), 0, ql_cell(x, at + lda), 0};

#pragma GCC unroll 4
        for (size_t j = 0; j < NR / 2; j++) {
            const uint32x4_t z = {panel[2 * j], 0, panel[2 * j + 1], 0};

            sum[i][j] = multiply(sum[i][j], y, z);
        }
    }
}

/* Four elements of C (+)= x. */
static void put(float *c, bool add, float32x4_t x)
{
    vst1q_f32(c, add ? vaddq_f32(x, vld1q_f32(c)) : x);
}

/* Eight elements of two rows of C (+)= four squares, or of the first only. */
static void put_rows(float *c, size_t ldc, size_t rows, bool add,
                     const float32x4_t sum[NR / 2])
{
#pragma GCC unroll 2
    for (size_t j = 0; j < 2; j++, c += 4) {
        const float32x4_t x = sum[2 * j];
        const float32x4_t y = sum[2 * j + 1];

        put(c, add, vcombine_f32(vget_low_f32(x), vget_low_f32(y)));
        if (rows > 1) {
            put(c + ldc, add, vcombine_f32(vget_high_f32(x), vget_high_f32(y)));
        }
    }
}

static void ukr(float *c, size_t ldc, const void *a, size_t lda,
                const uint32_t *panel, size_t cells, size_t rows, bool add)
{
    const uint32_t *x = a;
    float32x4_t sum[MR / 2][NR / 2] = {{{0}}};
    size_t p = 0;

    for (; p + 2 <= cells; p += 2, panel += 2 * NR) {
        uint32x4_t y[MR / 2];

#pragma GCC unroll 4
        for (size_t i = 0; i < MR / 2; i++) {
            y[i] = two_by_two(x + 2 * i * lda + p, lda);
        }
#pragma GCC unroll 4
        for (size_t j = 0; j < NR / 2; j++) {
            const uint32x4_t z = vld1q_u32(panel + 4 * j);

#pragma GCC unroll 4
            for (size_t i = 0; i < MR / 2; i++) {
                sum[i][j] = multiply(sum[i][j], y[i], z);
            }
        }
    }
    if (p < cells) {
        last_cells(sum, x + p, lda, panel);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < MR / 2; i++) {
        if (2 * i < rows) {
            put_rows(c + 2 * i * ldc, ldc, rows - 2 * i, add, sum[i]);
        }
    }
}

static float32x4_t dot_step(float32x4_t sum, const uint16_t *x,
                            const uint16_t *y)
{
    return vbfdotq_f32(sum, vreinterpretq_bf16_u16(vld1q_u16(x)),
                       vreinterpretq_bf16_u16(vld1q_u16(y)));
}

static float dot(const void *a, const void *b, size_t n)
{
    const uint16_t *x = a;
    const uint16_t *y = b;
    float32x4_t sum[4] = {{0}};
    float tail = 0;
    size_t p = 0;

    for (; p + 32 <= n; p += 32) {
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) {
            sum[i] = dot_step(sum[i], x + p + 8 * i, y + p + 8 * i);
        }
    }
    for (; p < n; p++) {
        tail += ql_bf16_to_f32(x[p]) * ql_bf16_to_f32(y[p]);
    }
    return vaddvq_f32(vaddq_f32(vaddq_f32(sum[0], sum[1]),
                                vaddq_f32(sum[2], sum[3]))) +
           tail;
}

static void turn(uint32_t *panel, size_t width, const void *rows, size_t ld,
                 size_t cells)
{
    ql_turn_neon(panel, width, rows, ld, cells);
    ql_turn_neon(panel + 4, width, (const uint32_t *)rows + 4 * ld, ld, cells);
}

static void dot4(float sum[][QL_DOT4_ROWS], const ql_dots *d)
{
    ql_dot4_fetched(sum, d, ql_fetch_neonbf16, dot, 2);
}

const ql_kernels ql_kernels_neonbf16 = {
    .name = "neonbf16",
    .cpu_need = QL_CPU_NEON | QL_CPU_NEONBF16,
    .pair = 2,
    .lanes = NR,
    .tile = {MR, NR, ukr},
    .cache = {256, 256, 512},
    .thin = {MR, NR, ukr}, /* as narrow as the pairs' usual rank */
    .decode = ql_decode_neon,
    .fetch = ql_fetch_neonbf16,
    .narrow = ql_narrow_neonbf16,
    .pack_nt = pack_nt,
    .pack_nn = pack_nn,
    .fill_nn = fill_nn,
    .turn = turn,
    .dot = dot,
    .dot_bf16 = dot,
    .few = FEW,
    .arrange = ql_narrow_neonbf16,
    .dot4 = dot4,
};
