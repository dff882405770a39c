/* NEON: four lanes, 32 registers. */
#include "quant/arm/parts_neon.h"
#include "quant/cpu.h"
#include "quant/kernel_parts.h"

enum {
    MR = 8, /* 8 x 2 accumulators, 8 vectors of A, 2 of B: 26 registers */
    NR = 8,
    LANES = 4,
    FEW = 3
};

/* The lower halves of eight floats, and the upper ones. */
static uint16x8x2_t halves_of(float32x4_t front, float32x4_t back)
{
    return vuzpq_u16(vreinterpretq_u16_f32(front), vreinterpretq_u16_f32(back));
}

static uint8x16x2_t bytes_of(uint16x8_t front, uint16x8_t back)
{
    return vuzpq_u8(vreinterpretq_u8_u16(front), vreinterpretq_u8_u16(back));
}

/* The codes times a scale, rounded: their first bytes, second, and so on. */
static uint8x16x4_t table_of(const float *code, float scale, ql_round round)
{
    const uint16x8x2_t front =
        halves_of(ql_scaled_neon(code, scale, round),
                  ql_scaled_neon(code + 4, scale, round));
    const uint16x8x2_t back =
        halves_of(ql_scaled_neon(code + 8, scale, round),
                  ql_scaled_neon(code + 12, scale, round));
    const uint8x16x2_t lower = bytes_of(front.val[0], back.val[0]);
    const uint8x16x2_t upper = bytes_of(front.val[1], back.val[1]);

    return (uint8x16x4_t){
        {lower.val[0], lower.val[1], upper.val[0], upper.val[1]}};
}

/* Sixteen values. */
static void look_up(float *out, uint8x16x4_t table, uint8x16_t codes)
{
    const uint8x16x2_t low = ql_look_up_neon(table.val[0], table.val[1], codes);
    const uint8x16x2_t high =
        ql_look_up_neon(table.val[2], table.val[3], codes);

#pragma GCC unroll 2
    for (size_t i = 0; i < 2; i++) {
        const uint16x8x2_t x = vzipq_u16(vreinterpretq_u16_u8(low.val[i]),
                                         vreinterpretq_u16_u8(high.val[i]));

        vst1q_f32(out + 8 * i, vreinterpretq_f32_u16(x.val[0]));
        vst1q_f32(out + 8 * i + 4, vreinterpretq_f32_u16(x.val[1]));
    }
}

/* Sixteen bytes become 32 values. */
static void decode_sixteen(float *out, const uint8_t *bytes, uint8x16x4_t table)
{
    const uint8x16x2_t codes = ql_codes_neon(bytes);

    look_up(out, table, codes.val[0]);
    look_up(out + 16, table, codes.val[1]);
}

static void pairs(float *out, const uint8_t *bytes, size_t n,
                  const ql_qtensor *w, float scale)
{
    const uint8x16x4_t table = table_of(w->code, scale, w->round);
    const size_t whole = n / 16 * 16;

    for (size_t i = 0; i < whole; i += 16) {
        decode_sixteen(out + 2 * i, bytes + i, table);
    }
    if (whole < n) {
        uint8_t some[16] = {0};
        float value[32];

        memcpy(some, bytes + whole, n - whole);
        decode_sixteen(value, some, table);
        memcpy(out + 2 * whole, value, (n - whole) * 2 * sizeof(*out));
    }
}

static void decode_f16(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    const uint8_t *from = (const uint8_t *)w->data + (w->first + start) * 2;
    const size_t whole = n / 4 * 4;

    for (size_t i = 0; i < whole; i += 4) {
        const uint8x8_t x = vld1_u8(from + 2 * i);

        vst1q_f32(out + i, vcvt_f32_f16(vreinterpret_f16_u8(x)));
    }
    ql_decode_f16(out + whole, w, start + whole, n - whole);
}

void ql_decode_neon(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    ql_decode_by(out, w, start, n, pairs, decode_f16);
}

static void fetch(void *out, const ql_qtensor *w, size_t start, size_t n)
{
    ql_decode_neon(out, w, start, n);
}

/* Four cells of four rows become four vectors of the panel. */
void ql_turn_neon(uint32_t *panel, size_t width, const void *rows, size_t ld,
                  size_t cells)
{
    const uint32_t *at = rows;

    for (size_t p = 0; p < cells; p += 4, at += 4, panel += 4 * width) {
        const uint32x4x2_t even =
            vzipq_u32(vld1q_u32(at), vld1q_u32(at + 2 * ld));
        const uint32x4x2_t odd =
            vzipq_u32(vld1q_u32(at + ld), vld1q_u32(at + 3 * ld));
        const uint32x4x2_t front = vzipq_u32(even.val[0], odd.val[0]);
        const uint32x4x2_t back = vzipq_u32(even.val[1], odd.val[1]);

        vst1q_u32(panel, front.val[0]);
        vst1q_u32(panel + width, front.val[1]);
        vst1q_u32(panel + 2 * width, back.val[0]);
        vst1q_u32(panel + 3 * width, back.val[1]);
    }
}

static void pack_nn(uint32_t *panel, size_t width, const void *rows, size_t ld,
                    size_t depth)
{
    const uint32_t *row = rows;

    for (size_t p = 0; p < depth; p++, panel += width, row += ld) {
        for (size_t j = 0; j < width; j += 4) {
            vst1q_u32(panel + j, vld1q_u32(row + j));
        }
    }
}

static void fill_nn(uint32_t *panel, const ql_slab *s)
{
    ql_fill_nn_by(panel, s, sizeof(float), fetch, pack_nn);
}

/* One vector of C (+)= sum. */
static void put(float *c, bool add, float32x4_t sum)
{
    vst1q_f32(c, add ? vaddq_f32(sum, vld1q_f32(c)) : sum);
}

/* Four steps along the depth at a time, for vectors of A hold four cells of a
 * row; the rest one by one. */
static void ukr(float *c, size_t ldc, const void *a, size_t lda,
                const uint32_t *panel, size_t cells, size_t rows, bool add)
{
    const float *x = a;
    const float *b = (const float *)(const void *)panel;
    float32x4_t sum[MR][2] = {{{0}}};
    size_t p = 0;

    for (; p + 4 <= cells; p += 4) {
        float32x4_t y[MR];

#pragma GCC unroll 8
        for (size_t i = 0; i < MR; i++) {
            y[i] = vld1q_f32(x + i * lda + p);
        }
#pragma GCC unroll 4
        for (size_t q = 0; q < 4; q++, b += NR) {
            const float32x4_t b0 = vld1q_f32(b);
            const float32x4_t b1 = vld1q_f32(b + 4);

#pragma GCC unroll 8
            for (size_t i = 0; i < MR; i++) {
                sum[i][0] = vfmaq_n_f32(sum[i][0], b0, y[i][q]);
                sum[i][1] = vfmaq_n_f32(sum[i][1], b1, y[i][q]);
            }
        }
    }
    for (; p < cells; p++, b += NR) {
        const float32x4_t b0 = vld1q_f32(b);
        const float32x4_t b1 = vld1q_f32(b + 4);

#pragma GCC unroll 8
        for (size_t i = 0; i < MR; i++) {
            sum[i][0] = vfmaq_n_f32(sum[i][0], b0, x[i * lda + p]);
            sum[i][1] = vfmaq_n_f32(sum[i][1], b1, x[i * lda + p]);
        }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < MR; i++) {
        if (i < rows) {
            put(c + i * ldc, add, sum[i][0]);
            put(c + i * ldc + 4, add, sum[i][1]);
        }
    }
}

/* Four values, from value i on. */
static inline float32x4_t four(const void *x, size_t i, bool bf16)
{
    if (!bf16) {
        return vld1q_f32((const float *)x + i);
    }
    return vreinterpretq_f32_u32(
        vshll_n_u16(vld1_u16((const uint16_t *)x + i), 16));
}

static inline __attribute__((always_inline)) float
dot_of(const void *a, const float *b, size_t n, bool bf16)
{
    float32x4_t sum[4] = {{0}};
    float tail = 0;
    size_t p = 0;

    for (; p + 16 <= n; p += 16) {
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) {
            sum[i] = vfmaq_f32(sum[i], four(a, p + 4 * i, bf16),
                               vld1q_f32(b + p + 4 * i));
        }
    }
    for (; p < n; p++) {
        tail += ql_value(a, p, bf16) * b[p];
    }
    return vaddvq_f32(vaddq_f32(vaddq_f32(sum[0], sum[1]),
                                vaddq_f32(sum[2], sum[3]))) +
           tail;
}

static float dot(const void *a, const void *b, size_t n)
{
    return dot_of(a, b, n, false);
}

static float dot_bf16(const void *a, const void *b, size_t n)
{
    return dot_of(a, b, n, true);
}

static void dot4(float sum[][QL_DOT4_ROWS], const ql_dots *d)
{
    ql_dot4_fetched(sum, d, fetch, dot, 1);
}

const ql_kernels ql_kernels_neon = {
    .name = "neon",
    .cpu_need = QL_CPU_NEON,
    .pair = 1,
    .lanes = LANES,
    .tile = {MR, NR, ukr},
    .cache = {256, 256, 512},
    .thin = {MR, NR, ukr}, /* as narrow as the pairs' usual rank */
    .decode = ql_decode_neon,
    .fetch = fetch,
    .narrow = ql_narrow_f32,
    .pack_nt = ql_turn_neon,
    .pack_nn = pack_nn,
    .fill_nn = fill_nn,
    .turn = ql_turn_neon,
    .dot = dot,
    .dot_bf16 = dot_bf16,
    .few = FEW,
    .arrange = ql_narrow_f32,
    .dot4 = dot4,
};
