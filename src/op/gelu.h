/* The two forms of GELU with their slopes, in f32, written so that a compiler
 * turns loops over them into vector code: no branch, no table, no call.
 *
 *   gelu(x)  = x Phi(x)
 *   gelu'(x) = Phi(x) + x phi(x),   phi(x) = exp(-x^2 / 2) / sqrt(2 pi)
 *
 * Phi(-|x|) = exp(-x^2 / 2) t p(t) with t = 1 / (1 + 0.35 |x|), and Phi(x) =
 * 1 - Phi(-x). The polynomial p, of degree 8, has the smallest largest
 * relative error up to |x| = 14.5 (Remez): 3e-8.
 *
 *   gelu_tanh(x)  = x s,   s = 1 / (1 + exp(-w))
 *   gelu_tanh'(x) = s + x s (1 - s) w'
 *
 * with w = 2 sqrt(2 / pi) (x + 0.044715 x^3), for (1 + tanh(w / 2)) / 2 is
 * s. */
#ifndef QL_OP_GELU_H
#define QL_OP_GELU_H

#include "src/op/exp.h"

/* A value and the slope there. */
typedef struct ql_bent {
    float value, slope;
} ql_bent;

static inline ql_bent ql_gelu(float x)
{
    const float a = x < 0 ? -x : x;
    const float bell = ql_exp(-0.5F * x * x);
    const float t = 1 / (1 + 0.35F * a);
    float p = -0x1.ddb8eap-6F;

    p = p * t + 0x1.26f99cp-3F;
    p = p * t - 0x1.05fa98p-2F;
    p = p * t + 0x1.464942p-3F;
    p = p * t - 0x1.7c4eep-6F;
    p = p * t + 0x1.b057bep-4F;
    p = p * t + 0x1.eac9cp-4F;
    p = p * t + 0x1.1e70c2p-3F;
    p = p * t + 0x1.1df1c6p-3F;

    const float tail = bell * (t * p);
    const float phi = x < 0 ? tail : 1 - tail;

    return (ql_bent){x * phi, phi + x * (bell * 0x1.988454p-2F)};
}

static inline ql_bent ql_gelu_tanh(float x)
{
    const float twice = 0x1.988454p+0F; /* 2 sqrt(2 / pi) */
    /* Below -50, s is 0; beyond 1000, 1 - s is, and need not be multiplied by
     * more. */
    const float in = x < -50.0F ? -50.0F : x;
    const float square = in * in < 1e6F ? in * in : 1e6F;
    const float w = twice * in * (1 + 0.044715F * square);
    /* Below, s is no more than 2e-35 in any case, and e s not inf * 0. */
    const float e = ql_exp(-(w < -80.0F ? -80.0F : w));
    const float s = 1 / (1 + e);
    const float bend = twice * (1 + 3 * 0.044715F * square);

    return (ql_bent){in * s, s + in * (e * s) * (s * bend)};
}

#endif
