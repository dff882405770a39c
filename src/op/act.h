/* The gated activation of a feed-forward layer (SwiGLU).
 *
 *   y = silu(g) u,   silu(g) = g / (1 + exp(-g))
 *
 * Source: Shazeer, GLU Variants Improve Transformer, 2020. */
#ifndef QL_OP_ACT_H
#define QL_OP_ACT_H

#include <stddef.h>

/*   y     [n]  written; may be g or u
 *   g, u  [n]  read
 * Threads: splits n. */
void ql_swiglu_fwd(float *y, const float *g, const float *u, size_t n);

/*   dg, du  [n]  written; dg may be g or dy, du may be u or dy
 *   dy, g, u [n] read
 * Threads: splits n. */
void ql_swiglu_bwd(float *dg, float *du, const float *dy, const float *g,
                   const float *u, size_t n);

#endif
