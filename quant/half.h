/* bf16 and f16 to and from f32: exact one way, rounded to nearest even the
 * other. A NaN stays a NaN of the same sign (made quiet when narrowed); what
 * is too large becomes infinite. Needs the default rounding mode. */
#ifndef QL_QUANT_HALF_H
#define QL_QUANT_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t ql_f32_bits(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static inline float ql_f32_from_bits(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

static inline float ql_bf16_to_f32(uint16_t h)
{
    return ql_f32_from_bits((uint32_t)h << 16);
}

static inline uint16_t ql_f32_to_bf16(float x)
{
    const uint32_t bits = ql_f32_bits(x);

    if ((bits & 0x7fffffff) > 0x7f800000) {
        return (uint16_t)(bits >> 16 | 0x40);
    }
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float ql_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    const uint32_t mag = h & 0x7fff;

    if (mag >= 0x7c00) { /* infinite or NaN: the largest exponent stays one */
        return ql_f32_from_bits(sign | 0x7f800000 | mag << 13);
    }
    if (mag < 0x0400) { /* below 2^-14: a multiple of 2^-24 */
        return ql_f32_from_bits(sign | ql_f32_bits((float)mag * 0x1p-24F));
    }
    return ql_f32_from_bits(sign | ((mag << 13) + 0x38000000));
}

static inline uint16_t ql_f32_to_f16(float x)
{
    const uint32_t bits = ql_f32_bits(x);
    const uint32_t sign = bits >> 16 & 0x8000;
    const uint32_t mag = bits & 0x7fffffff;

    if (mag > 0x7f800000) {
        return (uint16_t)(sign | 0x7e00 | (mag >> 13 & 0x3ff));
    }
    if (mag >= 0x477ff000) { /* 65520, half way to 2^16, and beyond */
        return (uint16_t)(sign | 0x7c00);
    }
    if (mag < 0x38800000) {
        /* below 2^-14: beside 0.5 a float's last place is 2^-24, as here */
        const float sum = ql_f32_from_bits(mag) + 0.5F;

        return (uint16_t)(sign | (ql_f32_bits(sum) - 0x3f000000));
    }
    return (uint16_t)(sign |
                      (mag + 0xfff + (mag >> 13 & 1) - 0x38000000) >> 13);
}

#endif
