/* Activations of a feed-forward layer, gated by a second input or not.
 *
 *   y = f(g) u   or   y = f(g)
 *
 *   silu(g)      = g / (1 + exp(-g))
 *   gelu(g)      = g Phi(g),  Phi(g) = (1 + erf(g / sqrt 2)) / 2
 *   gelu_tanh(g) = g (1 + tanh(z)) / 2,  z = sqrt(2 / pi) (g + 0.044715 g^3)
 *
 * Source: Hendrycks, Gimpel: Gaussian Error Linear Units, 2016; Shazeer: GLU
 * Variants Improve Transformer, 2020. */
#ifndef QL_OP_ACT_H
#define QL_OP_ACT_H

#include <stddef.h>

typedef enum ql_act {
    QL_ACT_SILU,
    QL_ACT_GELU,
    QL_ACT_GELU_TANH,
    QL_ACTS
} ql_act;

/* A layer's inputs, T rows of F. Rows of g, and of u, lie ld apart, so that
 * both can be columns of one matrix. */
typedef struct ql_act_rows {
    size_t T, F, ld;
} ql_act_rows;

/*   y  [T, F]  written; where ld is F, it may be g or u
 *   g  rows    read
 *   u  rows    read; NULL: not gated
 * Threads: splits rows. */
void ql_act_fwd(ql_act act, float *y, const float *g, const float *u,
                ql_act_rows rows);

/*   dg  rows    written; where ld is F, it may be g or dy
 *   du  rows    written; where ld is F, it may be u or dy; NULL if u is
 *   dy  [T, F]  read
 *   g, u        as in the forward
 * Threads: splits rows. */
void ql_act_bwd(ql_act act, float *dg, float *du, const float *dy,
                const float *g, const float *u, ql_act_rows rows);

#endif
