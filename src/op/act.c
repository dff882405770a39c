#include "src/op/act.h"

#include "src/op/exp.h"

enum {
    PIECE = 8192 /* elements handed to a thread at a time */
};

void ql_swiglu_fwd(float *y, const float *g, const float *u, size_t n)
{
#pragma omp parallel for simd schedule(dynamic, PIECE) if (n > PIECE)
    for (size_t i = 0; i < n; i++) {
        y[i] = g[i] / (1 + ql_exp(-g[i])) * u[i];
    }
}

/* With s = 1 / (1 + e) and e = exp(-g), hence 1 - s = e s:
 *
 *   silu(g)  = g s
 *   silu'(g) = s + g s (1 - s) = s (1 + g e s)
 *
 * Below g = -80 e is held, or e s were inf * 0; s is no more than 2e-35 there
 * in either case. */
void ql_swiglu_bwd(float *dg, float *du, const float *dy, const float *g,
                   const float *u, size_t n)
{
#pragma omp parallel for simd schedule(dynamic, PIECE) if (n > PIECE)
    for (size_t i = 0; i < n; i++) {
        const float gate = g[i];
        const float up = u[i];
        const float d = dy[i];
        const float e = ql_exp(-(gate < -80.0F ? -80.0F : gate));
        const float s = 1 / (1 + e);

        dg[i] = d * up * (s * (1 + gate * (e * s)));
        du[i] = d * (gate * s);
    }
}
