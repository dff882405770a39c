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
    NR = 8
};

static uint16x8_t round_eight(float32x4_t front, float32x4_t back)
{
    return vreinterpretq_u16_bf16(
        vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(front), back));
}

/* The codes times a scale, as bf16: their first bytes, their second. */
static uint8x16x2_t table_of(const float *code, float scale, ql_round round)
{
    const ql_round once = round == QL_ROUND_F16 ? round : QL_ROUND_NONE;
    const uint16x8_t front = round_eight(ql_scaled_neon(code, scale, once),
                                         ql_scaled_neon(code + 4, scale, once));
    const uint16x8_t back = round_eight(ql_scaled_neon(code + 8, scale, once),
                                        ql_scaled_neon(code + 12, scale, once));

    return vuzpq_u8(vreinterpretq_u8_u16(front), vreinterpretq_u8_u16(back));
}

/* Sixteen bytes become 32 values. */
static void fetch_sixteen(uint16_t *out, const uint8_t *bytes,
                          uint8x16x2_t table)
{
    const uint8x16x2_t codes = ql_codes_neon(bytes);

#pragma GCC unroll 2
    for (size_t i = 0; i < 2; i++) {
        const uint8x16x2_t x =
            ql_look_up_neon(table.val[0], table.val[1], codes.val[i]);

        vst1q_u16(out + 16 * i, vreinterpretq_u16_u8(x.val[0]));
        vst1q_u16(out + 16 * i + 8, vreinterpretq_u16_u8(x.val[1]));
    }
}

/* n bytes under one scale. */
static void fetch_bytes(uint16_t *out, const uint8_t *bytes, size_t n,
                        uint8x16x2_t table)
{
    const size_t whole = n / 16 * 16;

    for (size_t i = 0; i < whole; i += 16) {
        fetch_sixteen(out + 2 * i, bytes + i, table);
    }
    if (whole < n) {
        uint8_t some[16] = {0};
        uint16_t value[32];

        memcpy(some, bytes + whole, n - whole);
        fetch_sixteen(value, some, table);
        memcpy(out + 2 * whole, value, (n - whole) * 2 * sizeof(*out));
    }
}

/* A run between bytes. Blocks are even, so all pieces of it are. */
static void fetch_4bit(uint16_t *out, const ql_qtensor *w, size_t e, size_t n)
{
    const uint8_t *bytes = (const uint8_t *)w->data + e / 2;
    const size_t size = w->block;
    const size_t block = ql_quotient(e, size);
    ql_scales scales = ql_scales_from(w, block);
    size_t rest = (block + 1) * size - e; /* of the block */

    while (n > 0) {
        const size_t m = rest < n ? rest : n;

        fetch_bytes(out, bytes, m / 2,
                    table_of(w->code, ql_scales_at(&scales, 0), w->round));
        ql_scales_skip(&scales, 1);
        out += m;
        bytes += m / 2;
        n -= m;
        rest = size;
    }
}

static void narrow(void *out, const float *x, size_t n)
{
    const size_t whole = n / 8 * 8;
    uint16_t *to = out;

    for (size_t i = 0; i < whole; i += 8) {
        vst1q_u16(to + i, round_eight(vld1q_f32(x + i), vld1q_f32(x + i + 4)));
    }
    for (size_t i = whole; i < n; i++) {
        to[i] = ql_f32_to_bf16(x[i]);
    }
}

static void fetch(void *out, const ql_qtensor *w, size_t start, size_t n)
{
    const size_t e = w->first + start;
    const char *data = w->data;

    if (w->storage == QL_STORAGE_4BIT && e % 2 == 0 && n % 2 == 0) {
        fetch_4bit(out, w, e, n);
    } else if (w->storage == QL_STORAGE_BF16) {
        memcpy(out, data + e * 2, n * 2);
    } else if (w->storage == QL_STORAGE_F32) {
        narrow(out, (const void *)(data + e * 4), n);
    } else {
        ql_fetch_rounded(out, w, start, n, ql_decode_neon);
    }
}

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

/* Four elements of two rows of C (+)= two squares. */
static void put(float *c, size_t ldc, bool add, float32x4_t left,
                float32x4_t right)
{
    float32x4_t upper = vcombine_f32(vget_low_f32(left), vget_low_f32(right));
    float32x4_t lower = vcombine_f32(vget_high_f32(left), vget_high_f32(right));

    if (add) {
        upper = vaddq_f32(upper, vld1q_f32(c));
        lower = vaddq_f32(lower, vld1q_f32(c + ldc));
    }
    vst1q_f32(c, upper);
    vst1q_f32(c + ldc, lower);
}

static void ukr(float *c, size_t ldc, const void *a, size_t lda,
                const uint32_t *panel, size_t cells, bool add)
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
        float *to = c + 2 * i * ldc;

        put(to, ldc, add, sum[i][0], sum[i][1]);
        put(to + 4, ldc, add, sum[i][2], sum[i][3]);
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

const ql_kernels ql_kernels_neonbf16 = {
    .name = "neonbf16",
    .cpu_need = QL_CPU_NEON | QL_CPU_NEONBF16,
    .pair = 2,
    .lanes = NR,
    .tile = {MR, NR, ukr},
    .thin = {MR, NR, ukr}, /* as narrow as the pairs' usual rank */
    .decode = ql_decode_neon,
    .fetch = fetch,
    .narrow = narrow,
    .pack_nt = pack_nt,
    .pack_nn = pack_nn,
    .dot = dot,
};
