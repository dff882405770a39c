/* tanh in f32, by the exponential of exp.h, without a branch:
 *
 *   tanh(x)  = (1 - e) / (1 + e),  e = exp(-2 x), for x >= 0; it is odd
 *   tanh'(x) = 4 e / (1 + e)^2
 *
 * with 1 - e made from e^r - 1, so that nothing cancels near 0. Error of tanh
 * below 3 ulp, of its derivative below 5, which stays at 2e-17 where it is
 * less. NaN gives NaN. */
#ifndef QL_OP_TANH_H
#define QL_OP_TANH_H

#include <math.h>

#include "src/op/exp.h"

typedef struct ql_tanh_parts {
    float value, slope;
} ql_tanh_parts;

static inline ql_tanh_parts ql_tanh_split(float x)
{
    const float twice = -2 * fabsf(x);
    /* Below -40 the result is 1 in any case. */
    const ql_exp_parts p = ql_exp_split(twice < -40.0F ? -40.0F : twice);
    const float power = ql_exp_float((p.biased - 127) << 23);
    const float less = power * p.tail + (power - 1); /* e - 1 */
    const float below = 2 + less;
    const float e = power + power * p.tail;

    return (ql_tanh_parts){copysignf(less / below, x), 4 * e / (below * below)};
}

static inline float ql_tanh(float x)
{
    return ql_tanh_split(x).value;
}

#endif
