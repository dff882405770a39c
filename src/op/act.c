/* The loops stand in functions of their own: inside a parallel region the
 * compiler would reload every pointer at every element. */
#include "src/op/act.h"

#include "src/op/exp.h"

enum {
    PIECE = 8192 /* elements handed to a thread at a time */
};

static size_t piece_length(size_t n, size_t at)
{
    return n - at < PIECE ? n - at : PIECE;
}

static void forward(float *y, const float *g, const float *u, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        y[i] = g[i] / (1 + ql_exp(-g[i])) * u[i];
    }
}

void ql_swiglu_fwd(float *y, const float *g, const float *u, size_t n)
{
#pragma omp parallel for schedule(dynamic) if (n > PIECE)
    for (size_t i = 0; i < n; i += PIECE) {
        forward(y + i, g + i, u + i, piece_length(n, i));
    }
}

/* With s = 1 / (1 + e) and e = exp(-g), hence 1 - s = e s:
 *
 *   silu(g)  = g s
 *   silu'(g) = s + g s (1 - s) = s (1 + g e s)
 *
 * Below g = -80 e is held, or e s were inf * 0; s is no more than 2e-35 there
 * in either case. */
static void backward(float *dg, float *du, const float *dy, const float *g,
                     const float *u, size_t n)
{
#pragma omp simd
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

void ql_swiglu_bwd(float *dg, float *du, const float *dy, const float *g,
                   const float *u, size_t n)
{
#pragma omp parallel for schedule(dynamic) if (n > PIECE)
    for (size_t i = 0; i < n; i += PIECE) {
        backward(dg + i, du + i, dy + i, g + i, u + i, piece_length(n, i));
    }
}
