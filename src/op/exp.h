/* e^x in f32, written so that a compiler turns loops over it into vector
 * code: no branch, no table, no call.
 *
 *   n = round(x / ln 2),  r = x - n ln 2,  |r| <= ln 2 / 2
 *   e^x = 2^n e^r,        e^r by a polynomial of degree 6
 *
 * The polynomial is 1 + r + r^2 q(r), with q such that its largest relative
 * error is smallest (Remez); in f32 this is 4e-9. Its terms are added up in
 * pairs: what a loop waits for is the way of one value, from step to step. ln 2
 * is taken in two parts, the upper one short enough that n times it is exact.
 * Error below 2 ulp for every x; results below 2^-126 are denormal, above the
 * largest float inf; NaN gives NaN. */
#ifndef QL_OP_EXP_H
#define QL_OP_EXP_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t ql_exp_bits(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float ql_exp_float(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/* x as n ln 2 + r: tail is e^r - 1, and biased has n + 254 in its low bits. */
typedef struct ql_exp_parts {
    float tail;
    uint32_t biased;
} ql_exp_parts;

/* For x from -104 to 89, beyond which it is of no use; NaN gives a tail of
 * NaN. */
static inline ql_exp_parts ql_exp_split(float x)
{
    /* 1.5 * 2^23 + 254: adding it rounds to an integer n, and leaves n + 254
     * in the low bits. */
    const float shift = 0x1.8001fcp23F;
    const float biased = x * 0x1.715476p+0F + shift;
    const float n = biased - shift;
    const float r = (x - n * 0x1.62e4p-1F) - n * 0x1.7f7d1cp-20F;
    const float square = r * r;
    const float low = 0x1.fffffcp-2F + 0x1.555492p-3F * r;
    const float high =
        0x1.5558f2p-5F + 0x1.1239d4p-7F * r + square * 0x1.6a244ep-10F;

    return (ql_exp_parts){r + square * (low + square * high),
                          ql_exp_bits(biased)};
}

static inline float ql_exp(float x)
{
    /* Beyond these the result is 0 or inf in any case; NaN passes both. */
    const float low = x < -104.0F ? -104.0F : x;
    const ql_exp_parts e = ql_exp_split(low > 89.0F ? 89.0F : low);
    /* 2^n in two factors, for n = -150 and n = 128 have no float of their own:
     * their exponents, 127 too large, add up to n + 254. */
    const uint32_t half = e.biased >> 1;
    const float q = (1 + e.tail) * ql_exp_float(half << 23);

    return q * ql_exp_float((e.biased - half) << 23);
}

/* The same for weights of a softmax, which are 1 at most but for roundings: a
 * little faster, for it is 0 below e^-87 and inf above e^88. */
static inline float ql_exp_weight(float x)
{
    const ql_exp_parts e = ql_exp_split(x);
    const float y = (1 + e.tail) * ql_exp_float((e.biased - 127) << 23);
    const float low = x < -87.0F ? 0 : y;

    return x > 88.0F ? INFINITY : low;
}

#endif
