/* What the NEON sets share. */
#ifndef QL_QUANT_PARTS_NEON_H
#define QL_QUANT_PARTS_NEON_H

#include <arm_neon.h>

#include "quant/kernels.h"

/* The decoder of the fp32 set. */
ql_decode_fn ql_decode_neon;

/* Operands in bf16. */
ql_fetch_fn ql_fetch_neonbf16;
ql_narrow_fn ql_narrow_neonbf16;

/* Turns a matrix round, four columns at a time. */
ql_pack_nt_fn ql_turn_neon;

static inline float32x4_t ql_round_bf16_neon(float32x4_t x)
{
    const uint32x4_t u = vreinterpretq_u32_f32(x);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
    const uint32x4_t near = vaddq_u32(u, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    const uint32x4_t quiet = vorrq_u32(u, vdupq_n_u32(0x400000));
    const uint32x4_t top = vbslq_u32(vceqq_f32(x, x), near, quiet);

    return vreinterpretq_f32_u32(vandq_u32(top, vdupq_n_u32(0xffff0000)));
}

/* Four entries of the table of codes times the scale, rounded. */
static inline float32x4_t ql_scaled_neon(const float *code, float scale,
                                         ql_round round)
{
    const float32x4_t x = vmulq_n_f32(vld1q_f32(code), scale);

    switch (round) {
    case QL_ROUND_BF16:
        return ql_round_bf16_neon(x);
    case QL_ROUND_F16:
        return vcvt_f32_f16(vcvt_f16_f32(x));
    case QL_ROUND_NONE:
        break;
    }
    return x;
}

/* The 32 codes of sixteen bytes. */
static inline uint8x16x2_t ql_codes_neon(const uint8_t *bytes)
{
    const uint8x16_t x = vld1q_u8(bytes);

    return vzipq_u8(vshrq_n_u8(x, 4), vandq_u8(x, vdupq_n_u8(15)));
}

/* Tables have entries of one byte, so wider ones are kept as their first
 * bytes, their second bytes and so on. This looks up two bytes of each. */
static inline uint8x16x2_t ql_look_up_neon(uint8x16_t first, uint8x16_t second,
                                           uint8x16_t codes)
{
    return vzipq_u8(vqtbl1q_u8(first, codes), vqtbl1q_u8(second, codes));
}

#endif
