#include "src/op/act.h"

#include "src/op/loops.h"

enum {
    PIECE = 8192 /* elements handed to a thread at a time */
};

static size_t piece_length(size_t n, size_t at)
{
    return n - at < PIECE ? n - at : PIECE;
}

void ql_swiglu_fwd(float *y, const float *g, const float *u, size_t n)
{
    const ql_loops *loops = ql_loops_get();

#pragma omp parallel for schedule(dynamic) if (n > PIECE)
    for (size_t i = 0; i < n; i += PIECE) {
        loops->swiglu_fwd(y + i, g + i, u + i, piece_length(n, i));
    }
}

void ql_swiglu_bwd(float *dg, float *du, const float *dy, const float *g,
                   const float *u, size_t n)
{
    const ql_loops *loops = ql_loops_get();

#pragma omp parallel for schedule(dynamic) if (n > PIECE)
    for (size_t i = 0; i < n; i += PIECE) {
        loops->swiglu_bwd(dg + i, du + i, dy + i, g + i, u + i,
                          piece_length(n, i));
    }
}
