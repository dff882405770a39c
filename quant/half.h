/* bf16 and f16 to and from f32: exact one way, nearest with ties to even the
 * other way. Signalling NaNs come out quiet, as the instructions do it, so
 * that scalar and vector code agree to the bit. */
#ifndef QL_QUANT_HALF_H
#define QL_QUANT_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t ql_f32_bits(float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof(u));
    return u;
}

static inline float ql_f32_from_bits(uint32_t u)
{
    float x;

    memcpy(&x, &u, sizeof(x));
    return x;
}

static inline float ql_bf16_to_f32(uint16_t h)
{
    return ql_f32_from_bits((uint32_t)h << 16);
}

static inline uint16_t ql_f32_to_bf16(float x)
{
    const uint32_t u = ql_f32_bits(x);

    if ((u & 0x7fffffff) > 0x7f800000) {
        return (uint16_t)(u >> 16 | 0x40);
    }
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static inline float ql_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    const uint32_t rest = h & 0x7fff;

    if (rest > 0x7c00) {
        return ql_f32_from_bits(sign | 0x7fc00000 | (rest & 0x1ff) << 13);
    }
    if (rest == 0x7c00) {
        return ql_f32_from_bits(sign | 0x7f800000);
    }
    if (rest < 0x400) { /* zero or subnormal: a multiple of 2^-24 */
        return ql_f32_from_bits(sign | ql_f32_bits((float)rest * 0x1p-24f));
    }
    return ql_f32_from_bits(sign | ((rest << 13) + (112u << 23)));
}

static inline uint16_t ql_f32_to_f16(float x)
{
    const uint32_t u = ql_f32_bits(x);
    const uint32_t sign = u >> 16 & 0x8000;
    const uint32_t rest = u & 0x7fffffff;

    if (rest > 0x7f800000) {
        return (uint16_t)(sign | 0x7e00 | (rest >> 13 & 0x1ff));
    }
    if (rest >= 0x47800000) { /* 2^16 and above */
        return (uint16_t)(sign | 0x7c00);
    }
    if (rest < 0x38800000) {
        /* Below 2^-14 the spacing is 2^-24, which is that of f32 just above
         * one half: the addition rounds. */
        return (uint16_t)(sign | (ql_f32_bits(ql_f32_from_bits(rest) + 0.5f) -
                                  ql_f32_bits(0.5f)));
    }
    return (uint16_t)(sign |
                      (rest - (112u << 23) + 0xfff + (rest >> 13 & 1)) >> 13);
}

#endif
