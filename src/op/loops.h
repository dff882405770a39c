/* The inner loops of a training step, for each instruction set. They are plain
 * C in one file, loops_set.c, which is compiled once for each set.
 *
 * All sets give the same bits, except that of two NaNs either may come out.
 * Sums are taken in double where nothing else is said, in an order that depends
 * on n only. Arrays need no alignment. n may be 0. A loop runs in the calling
 * thread alone. */
#ifndef QL_OP_LOOPS_H
#define QL_OP_LOOPS_H

#include <stddef.h>
#include <stdint.h>

#include "quant/map8.h"
#include "src/op/act.h"

/* Largest x[i], i < n; NaN is passed over; -inf when nothing is left. */
typedef float ql_max_loop(const float *x, size_t n);

/* x[i] = exp(x[i] - shift), as exp.h has it; returns their sum. */
typedef double ql_exp_loop(float *x, size_t n, float shift);

/* x[i] *= by. */
typedef void ql_scale_loop(float *x, size_t n, float by);

/* y[i] += x[i]. */
typedef void ql_add_loop(float *y, const float *x, size_t n);

/* y[i] = x[i], of bf16. */
typedef void ql_widen_loop(float *y, const uint16_t *x, size_t n);

/* y[i] = x[i] to the nearest bf16, ties to even. */
typedef void ql_narrow_loop(uint16_t *y, const float *x, size_t n);

/* Sum of x[i]. */
typedef double ql_sum_loop(const float *x, size_t n);

/* Sum of a[i] b[i]; each product is exact. */
typedef double ql_dot_loop(const float *a, const float *b, size_t n);

/* y[i] = sum of x[i ldx + j] q[j], j < n, for i < rows; in f32. */
typedef void ql_dots_loop(float *y, const float *x, size_t ldx, size_t rows,
                          const float *q, size_t n);

/* y[j] += sum of p[i] x[i ldx + j], i < rows, for j < n; in f32, in order. */
typedef void ql_mix_loop(float *y, const float *x, size_t ldx, size_t rows,
                         const float *p, size_t n);

/* Sum of x[i]^2; each square is exact. */
typedef double ql_sumsq_loop(const float *x, size_t n);

/* The forward of softmax for a block of scores: x[i] = exp(x[i] - shift), as
 * exp.h has it for weights; returns their sum, taken in f32. */
typedef float ql_softmax_fwd_loop(float *x, size_t n, float shift);

/* The backward of softmax for one key, with exp as in the forward and ds =
 * dout v^T at first; i counts queries:
 *
 *   p[i]  = exp(p[i] - lse[i])
 *   ds[i] = p[i] (ds[i] - delta[i]) */
typedef void ql_softmax_bwd_loop(float *p, float *ds, size_t n,
                                 const float *lse, const float *delta);

/* x[i] = cap tanh(x[i] / cap). */
typedef void ql_softcap_loop(float *x, size_t n, float cap);

/* softmax_bwd through a soft cap; p holds the scores before it:
 *
 *   p[i]  = exp(cap tanh(p[i] / cap) - lse[i])
 *   ds[i] = p[i] (ds[i] - delta[i]) tanh'(p[i] / cap) */
typedef void ql_softcap_bwd_loop(float *p, float *ds, size_t n,
                                 const float *lse, const float *delta,
                                 float cap);

/* The gradient of a loss through a soft cap; x holds capped logits before it:
 *
 *   x[i] = by exp(x[i] - shift) (1 - (x[i] / cap)^2) */
typedef void ql_softcap_loss_loop(float *x, size_t n, float shift, float by,
                                  float cap);

/* y[i] = w[i] (x[i] rstd); y may be x. */
typedef void ql_norm_fwd_loop(float *y, const float *x, const float *w,
                              size_t n, float rstd);

/* Sum of dy[i] w[i] x[i]; dy w is rounded, its product with x exact. */
typedef double ql_norm_dot_loop(const float *dy, const float *w, const float *x,
                                size_t n);

/* dx[i] += rstd (dy[i] w[i] - x[i] back). */
typedef void ql_norm_bwd_loop(float *dx, const float *dy, const float *x,
                              const float *w, size_t n, float rstd, float back);

/* dw[i] += dy[i] (x[i] rstd), added in double. */
typedef void ql_norm_dw_loop(double *dw, const float *dy, const float *x,
                             size_t n, float rstd);

/* y[i] = w[i] ((x[i] - mean) rstd) + b[i]; y may be x. */
typedef void ql_layernorm_fwd_loop(float *y, const float *x, const float *w,
                                   const float *b, size_t n, float mean,
                                   float rstd);

/* dx[i] += rstd (dy[i] w[i] - shift - (x[i] - mean) back). */
typedef void ql_layernorm_bwd_loop(float *dx, const float *dy, const float *x,
                                   const float *w, size_t n, float mean,
                                   float rstd, float shift, float back);

/* dw[i] += dy[i] ((x[i] - mean) rstd), db[i] += dy[i], added in double. */
typedef void ql_layernorm_dw_loop(double *dw, double *db, const float *dy,
                                  const float *x, size_t n, float mean,
                                  float rstd);

/* Turns the pairs x[i], x[i + half], i < half:
 *
 *   x' [i]        = x[i] c[i] - x[i + half] s[i]
 *   x' [i + half] = x[i + half] c[i] + x[i] s[i]
 *
 * sign is 1, or -1 to turn back. */
typedef void ql_rotate_loop(float *x, const float *c, const float *s,
                            size_t half, float sign);

/* y[i] = f(g[i]) u[i], or f(g[i]) where u is NULL, with an activation f of
 * act.h; y may be g or u. Error below 3 ulp, for silu and gelu_tanh; where
 * g[i] is so low that |y[i]| is less than 1e-30 of u[i], it may be 0. That of
 * gelu, and of gelu_tanh below 0, is below 3 ulp of g[i]. */
typedef void ql_act_fwd_loop(float *y, const float *g, const float *u,
                             size_t n);

/* dg[i] = dy[i] u[i] f'(g[i]), du[i] = dy[i] f(g[i]), or only dg[i] = dy[i]
 * f'(g[i]) where u is NULL; dg may be g or dy, du may be u or dy. Error of du
 * as above, that of dg below 8 roundings of the terms of f'. */
typedef void ql_act_bwd_loop(float *dg, float *du, const float *dy,
                             const float *g, const float *u, size_t n);

/* The numbers of an optimizer step; see adam.h. */
typedef struct ql_adam_factors {
    float b1, b2, c1, c2; /* c1 = 1 - b1, c2 = 1 - b2 */
    float clip;           /* on the gradient */
    float keep;           /* 1 - lr wd */
    float rate;           /* lr / (1 - b1^t) */
    float root;           /* 1 / sqrt(1 - b2^t) */
    float eps;
} ql_adam_factors;

/* One step for n parameters, n < 2^32:
 *
 *   m[i] = b1 m[i] + c1 (clip g[i])
 *   v[i] = b2 v[i] + c2 (clip g[i])^2
 *   p[i] = keep p[i] - rate m[i] / (sqrt(v[i]) root + eps)
 *
 * A p[i] that would not be finite, or whose v[i] is not, stays. Returns how
 * many stayed. g[i] receives the old p[i]. */
typedef size_t ql_adam_loop(float *p, float *m, float *v, float *g, size_t n,
                            const ql_adam_factors *f);

/* The same, with moments in blocks of 8 bits: of n <= 256 parameters, one
 * block.
 *
 *   m[i] = map_m[cm[i]] am        and v likewise; then as above, and
 *   am   = max |m[i]|
 *   cm[i] = code of m[i] / am     that of 0 where am is 0 */
typedef struct ql_adam8_block {
    uint8_t *cm, *cv; /* [n] codes */
    float *am, *av;   /* [1] scales */
} ql_adam8_block;

typedef size_t ql_adam8_loop(float *p, const ql_adam8_block *b, float *g,
                             size_t n, const ql_map8 *map_m,
                             const ql_map8 *map_v, const ql_adam_factors *f);

/* y[i] = x[i] keep where element first + i of the mask of key is kept, else 0;
 * first is even. Elements 2 k and 2 k + 1 take the lower and the upper half of
 * number k of key, and are kept unless it is below drop_below. y may be x. */
typedef void ql_dropout_loop(float *y, const float *x, size_t n, size_t first,
                             uint64_t key, uint32_t drop_below, float keep);

typedef struct ql_loops {
    const char *name;  /* "generic", "avx2", "avx512" */
    uint32_t cpu_need; /* capability bits of quant/cpu.h, all required */
    ql_max_loop *max;
    ql_exp_loop *exp;
    ql_scale_loop *scale;
    ql_add_loop *add;
    ql_sum_loop *sum;
    ql_dot_loop *dot;
    ql_dots_loop *dots;
    ql_mix_loop *mix;
    ql_sumsq_loop *sumsq;
    ql_softmax_fwd_loop *softmax_fwd;
    ql_softmax_bwd_loop *softmax_bwd;
    ql_softcap_loop *softcap;
    ql_softcap_bwd_loop *softcap_bwd;
    ql_softcap_loss_loop *softcap_loss;
    ql_norm_fwd_loop *norm_fwd;
    ql_norm_dot_loop *norm_dot;
    ql_norm_bwd_loop *norm_bwd;
    ql_norm_dw_loop *norm_dw;
    ql_layernorm_fwd_loop *layernorm_fwd;
    ql_layernorm_bwd_loop *layernorm_bwd;
    ql_layernorm_dw_loop *layernorm_dw;
    ql_rotate_loop *rotate;
    ql_act_fwd_loop *act_fwd[QL_ACTS];
    ql_act_bwd_loop *act_bwd[QL_ACTS];
    ql_widen_loop *widen;
    ql_narrow_loop *narrow;
    ql_adam_loop *adam;
    ql_adam8_loop *adam8;
    ql_dropout_loop *dropout;
} ql_loops;

/* All sets of this build, weakest first; n receives their number. */
const ql_loops *const *ql_loops_list(size_t *n);

/* The strongest set that needs no more than the kernels in use do: one choice
 * of an instruction set holds for both. */
const ql_loops *ql_loops_get(void);

#endif
