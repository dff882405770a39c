/* Operands of the NEON set in bf16: weights and activations, rounded. */
#include "quant/arm/parts_neon.h"
#include "quant/kernel_parts.h"

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
static void fetch_4bit(void *out, const ql_qtensor *w, size_t start, size_t n)
{
    const size_t e = w->first + start;
    const uint8_t *bytes = (const uint8_t *)w->data + e / 2;
    const size_t block = ql_quotient(e, w->block);
    ql_scales scales = ql_scales_from(w, block);
    size_t rest = (block + 1) * w->block - e; /* of the block */
    uint16_t *to = out;

    while (n > 0) {
        const size_t m = rest < n ? rest : n;

        fetch_bytes(to, bytes, m / 2,
                    table_of(w->code, ql_scales_next(&scales), w->round));
        to += m;
        bytes += m / 2;
        n -= m;
        rest = w->block;
    }
}

void ql_narrow_neonbf16(void *out, const float *x, size_t n)
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

void ql_fetch_neonbf16(void *out, const ql_qtensor *w, size_t start, size_t n)
{
    ql_fetch_by(out, w, start, n, fetch_4bit, ql_narrow_neonbf16,
                ql_decode_neon);
}
