/* The loops of one instruction set. This file is compiled once for each, with
 * other flags; the name of the table, of the set and what it needs come from
 * the command line (src/meson.build).
 *
 * Sums and maxima run in a fixed number of lanes, which a compiler keeps in
 * vector registers of any width without having to reorder anything. Nothing is
 * contracted to fused operations, so that all sets give the same bits. */
#include "src/op/loops.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/cpu.h"
#include "quant/half.h"
#include "src/base/rng.h"
#include "src/op/exp.h"
#include "src/op/gelu.h"
#include "src/op/tanh.h"

enum {
    LANES = 16,     /* of a sum */
    MAX_LANES = 32, /* of a maximum */
    WIDE = 32,      /* of a sum in f32 */
    AHEAD = 8,      /* rows that are brought nearer before they are read */
    LINE = 16,      /* floats in a cache line */
    PIECE = 512,    /* elements kept in cache between exp and sum */
    BLOCK = 256,    /* most parameters of adam8 */
    NUMBERS = 256   /* random numbers made at a time */
};

static double sum_lanes(const double *lane)
{
    double four[4];

    for (size_t j = 0; j < 4; j++) {
        four[j] = (lane[j] + lane[j + 8]) + (lane[j + 4] + lane[j + 12]);
    }
    return (four[0] + four[2]) + (four[1] + four[3]);
}

/* a unless b is as large, or a is NaN. */
static inline float larger(float a, float b)
{
    return a > b ? a : b;
}

static float max_lanes(const float *lane)
{
    float eight[8];

    for (size_t j = 0; j < 8; j++) {
        eight[j] = larger(larger(lane[j], lane[j + 8]),
                          larger(lane[j + 16], lane[j + 24]));
    }
    for (size_t j = 1; j < 8; j++) {
        eight[0] = larger(eight[j], eight[0]);
    }
    return eight[0];
}

static float max(const float *x, size_t n)
{
    float lane[MAX_LANES];
    size_t i = 0;

    for (size_t j = 0; j < MAX_LANES; j++) {
        lane[j] = -INFINITY;
    }
    for (; i + MAX_LANES <= n; i += MAX_LANES) {
#pragma omp simd
        for (size_t j = 0; j < MAX_LANES; j++) {
            lane[j] = larger(x[i + j], lane[j]);
        }
    }
    for (size_t j = 0; i < n; i++, j++) {
        lane[j] = larger(x[i], lane[j]);
    }
    return max_lanes(lane);
}

static double sum(const float *x, size_t n)
{
    double lane[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
#pragma omp simd
        for (size_t j = 0; j < LANES; j++) {
            lane[j] += (double)x[i + j];
        }
    }
    for (size_t j = 0; i < n; i++, j++) {
        lane[j] += (double)x[i];
    }
    return sum_lanes(lane);
}

static double exp_sum(float *x, size_t n, float shift)
{
    double total = 0;

    for (size_t i = 0; i < n; i += PIECE) {
        const size_t m = n - i < PIECE ? n - i : PIECE;
        float *piece = x + i;

#pragma omp simd
        for (size_t j = 0; j < m; j++) {
            piece[j] = ql_exp(piece[j] - shift);
        }
        total += sum(piece, m);
    }
    return total;
}

static void scale(float *x, size_t n, float by)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        x[i] *= by;
    }
}

static void add(float *y, const float *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}

static double dot(const float *a, const float *b, size_t n)
{
    double lane[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
#pragma omp simd
        for (size_t j = 0; j < LANES; j++) {
            lane[j] += (double)a[i + j] * (double)b[i + j];
        }
    }
    for (size_t j = 0; i < n; i++, j++) {
        lane[j] += (double)a[i] * (double)b[i];
    }
    return sum_lanes(lane);
}

static float sum_wide(const float *lane)
{
    float eight[8];

    for (size_t j = 0; j < 8; j++) {
        eight[j] = (lane[j] + lane[j + 16]) + (lane[j + 8] + lane[j + 24]);
    }
    return ((eight[0] + eight[4]) + (eight[2] + eight[6])) +
           ((eight[1] + eight[5]) + (eight[3] + eight[7]));
}

static void dots(float *y, const float *x, size_t ldx, size_t rows,
                 const float *q, size_t n)
{
    for (size_t r = 0; r < rows; r++, x += ldx) {
        float lane[WIDE] = {0};
        float rest = 0;
        size_t i = 0;

        for (size_t j = 0; r + AHEAD < rows && j < n; j += LINE) {
            __builtin_prefetch(x + AHEAD * ldx + j);
        }
        /* What is left has a sum of its own, so that lanes stay in
         * registers. */
        for (; i + WIDE <= n; i += WIDE) {
#pragma omp simd
            for (size_t j = 0; j < WIDE; j++) {
                lane[j] += x[i + j] * q[i + j];
            }
        }
        for (; i < n; i++) {
            rest += x[i] * q[i];
        }
        y[r] = sum_wide(lane) + rest;
    }
}

static void mix(float *y, const float *x, size_t ldx, size_t rows,
                const float *p, size_t n)
{
    size_t i = 0;

    for (; i + WIDE <= n; i += WIDE) {
        float lane[WIDE];

        memcpy(lane, y + i, sizeof lane);
        for (size_t r = 0; r < rows; r++) {
            const float *row = x + r * ldx + i;
            const float by = p[r];

#pragma omp simd
            for (size_t j = 0; j < WIDE; j++) {
                lane[j] += by * row[j];
            }
        }
        memcpy(y + i, lane, sizeof lane);
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = i; j < n; j++) {
            y[j] += p[r] * x[r * ldx + j];
        }
    }
}

static double sumsq(const float *x, size_t n)
{
    double lane[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
#pragma omp simd
        for (size_t j = 0; j < LANES; j++) {
            const double e = (double)x[i + j];

            lane[j] += e * e;
        }
    }
    for (size_t j = 0; i < n; i++, j++) {
        lane[j] += (double)x[i] * (double)x[i];
    }
    return sum_lanes(lane);
}

static float sum_floats(const float *lane)
{
    float four[4];

    for (size_t j = 0; j < 4; j++) {
        four[j] = (lane[j] + lane[j + 8]) + (lane[j + 4] + lane[j + 12]);
    }
    return (four[0] + four[2]) + (four[1] + four[3]);
}

static float softmax_fwd(float *x, size_t n, float shift)
{
    float lane[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
#pragma omp simd
        for (size_t j = 0; j < LANES; j++) {
            const float e = ql_exp_weight(x[i + j] - shift);

            x[i + j] = e;
            lane[j] += e;
        }
    }
    for (size_t j = 0; i < n; i++, j++) {
        x[i] = ql_exp_weight(x[i] - shift);
        lane[j] += x[i];
    }
    return sum_floats(lane);
}

static void softmax_bwd(float *p, float *ds, size_t n, const float *lse,
                        const float *delta)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float e = ql_exp_weight(p[i] - lse[i]);

        p[i] = e;
        ds[i] = e * (ds[i] - delta[i]);
    }
}

static void softcap(float *x, size_t n, float cap)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        x[i] = cap * ql_tanh(x[i] / cap);
    }
}

static void softcap_bwd(float *p, float *ds, size_t n, const float *lse,
                        const float *delta, float cap)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const ql_tanh_parts t = ql_tanh_split(p[i] / cap);
        const float e = ql_exp_weight(cap * t.value - lse[i]);

        p[i] = e;
        ds[i] = e * (ds[i] - delta[i]) * t.slope;
    }
}

static void softcap_loss(float *x, size_t n, float shift, float by, float cap)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float part = x[i] / cap;

        x[i] = by * ql_exp(x[i] - shift) * (1 - part * part);
    }
}

static void norm_fwd(float *y, const float *x, const float *w, size_t n,
                     float rstd)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        y[i] = w[i] * (x[i] * rstd);
    }
}

static double norm_dot(const float *dy, const float *w, const float *x,
                       size_t n)
{
    double lane[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
#pragma omp simd
        for (size_t j = 0; j < LANES; j++) {
            lane[j] += (double)(dy[i + j] * w[i + j]) * (double)x[i + j];
        }
    }
    for (size_t j = 0; i < n; i++, j++) {
        lane[j] += (double)(dy[i] * w[i]) * (double)x[i];
    }
    return sum_lanes(lane);
}

static void norm_bwd(float *dx, const float *dy, const float *x, const float *w,
                     size_t n, float rstd, float back)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        dx[i] += rstd * (dy[i] * w[i] - x[i] * back);
    }
}

static void norm_dw(double *dw, const float *dy, const float *x, size_t n,
                    float rstd)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        dw[i] += (double)(dy[i] * (x[i] * rstd));
    }
}

static void layernorm_fwd(float *y, const float *x, const float *w,
                          const float *b, size_t n, float mean, float rstd)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        y[i] = w[i] * ((x[i] - mean) * rstd) + b[i];
    }
}

static void layernorm_bwd(float *dx, const float *dy, const float *x,
                          const float *w, size_t n, float mean, float rstd,
                          float shift, float back)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        dx[i] += rstd * (dy[i] * w[i] - shift - (x[i] - mean) * back);
    }
}

static void layernorm_dw(double *dw, double *db, const float *dy,
                         const float *x, size_t n, float mean, float rstd)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        dw[i] += (double)(dy[i] * ((x[i] - mean) * rstd));
        db[i] += (double)dy[i];
    }
}

static void rotate(float *x, const float *c, const float *s, size_t half,
                   float sign)
{
    float *y = x + half;

#pragma omp simd
    for (size_t i = 0; i < half; i++) {
        const float turn = sign * s[i];
        const float a = x[i];
        const float b = y[i];

        x[i] = a * c[i] - b * turn;
        y[i] = b * c[i] + a * turn;
    }
}

/* The form of an activation's loops: f is known where they are inlined. */
typedef ql_bent bent_fn(float x);

static inline void bent_fwd(bent_fn *f, float *y, const float *g,
                            const float *u, size_t n)
{
    if (!u) {
#pragma omp simd
        for (size_t i = 0; i < n; i++) {
            y[i] = f(g[i]).value;
        }
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        y[i] = f(g[i]).value * u[i];
    }
}

static inline void bent_bwd(bent_fn *f, float *dg, float *du, const float *dy,
                            const float *g, const float *u, size_t n)
{
    if (!u) {
#pragma omp simd
        for (size_t i = 0; i < n; i++) {
            dg[i] = dy[i] * f(g[i]).slope;
        }
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const ql_bent at = f(g[i]);
        const float up = u[i];
        const float d = dy[i];

        dg[i] = d * up * at.slope;
        du[i] = d * at.value;
    }
}

/* With s = 1 / (1 + e) and e = exp(-g), hence 1 - s = e s:
 *
 *   silu(g)  = g s
 *   silu'(g) = s + g s (1 - s) = s (1 + g e s)
 *
 * Below g = -80 e is held, or e s were inf * 0; s is no more than 2e-35 there
 * in either case. */
static inline ql_bent silu(float g)
{
    const float e = ql_exp(-(g < -80.0F ? -80.0F : g));
    const float s = 1 / (1 + e);

    return (ql_bent){g * s, s * (1 + g * (e * s))};
}

static inline ql_bent silu_value(float g)
{
    return (ql_bent){.value = g / (1 + ql_exp(-g))};
}

static void silu_fwd(float *y, const float *g, const float *u, size_t n)
{
    bent_fwd(silu_value, y, g, u, n);
}

static void silu_bwd(float *dg, float *du, const float *dy, const float *g,
                     const float *u, size_t n)
{
    bent_bwd(silu, dg, du, dy, g, u, n);
}

static void gelu_fwd(float *y, const float *g, const float *u, size_t n)
{
    bent_fwd(ql_gelu, y, g, u, n);
}

static void gelu_bwd(float *dg, float *du, const float *dy, const float *g,
                     const float *u, size_t n)
{
    bent_bwd(ql_gelu, dg, du, dy, g, u, n);
}

static void gelu_tanh_fwd(float *y, const float *g, const float *u, size_t n)
{
    bent_fwd(ql_gelu_tanh, y, g, u, n);
}

static void gelu_tanh_bwd(float *dg, float *du, const float *dy, const float *g,
                          const float *u, size_t n)
{
    bent_bwd(ql_gelu_tanh, dg, du, dy, g, u, n);
}

static void widen(float *y, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = ql_bf16_to_f32(x[i]);
    }
}

static void narrow(uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = ql_f32_to_bf16(x[i]);
    }
}

static size_t adam(float *p, float *m, float *v, float *g, size_t n,
                   const ql_adam_factors *f)
{
    const ql_adam_factors k = *f; /* nothing that is written is a factor */
    uint32_t stayed = 0;

#pragma omp simd reduction(+ : stayed)
    for (size_t i = 0; i < n; i++) {
        const float gi = g[i] * k.clip;
        const float mi = k.b1 * m[i] + k.c1 * gi;
        const float vi = k.b2 * v[i] + k.c2 * gi * gi;
        const float old = p[i];
        const float next =
            k.keep * old - k.rate * mi / (sqrtf(vi) * k.root + k.eps);
        const uint32_t bad = !(fabsf(next) <= FLT_MAX && vi <= FLT_MAX);

        m[i] = mi;
        v[i] = vi;
        g[i] = old;
        p[i] = bad ? old : next;
        stayed += bad;
    }
    return stayed;
}

/* The scale of a block, and its numbers divided by it: none is beyond -1 or 1.
 * There is a NaN only where a parameter stayed; it becomes 0. */
static float normalize(float *x, size_t n)
{
    float size[BLOCK];
    float top;
    float by;

#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        size[i] = fabsf(x[i]);
    }
    top = max(size, n);
    by = top > 0 ? top : 1;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float y = x[i] / by;

        x[i] = y == y ? y : 0;
    }
    return top;
}

static void encode(uint8_t *code, const float *x, size_t n, const ql_map8 *map)
{
    for (size_t i = 0; i < n; i++) {
        code[i] = ql_map8_code(map, x[i]);
    }
}

static size_t adam8(float *p, const ql_adam8_block *b, float *g, size_t n,
                    const ql_map8 *map_m, const ql_map8 *map_v,
                    const ql_adam_factors *f)
{
    float m[BLOCK];
    float v[BLOCK];
    size_t stayed;

    for (size_t i = 0; i < n; i++) {
        m[i] = map_m->value[b->cm[i]];
        v[i] = map_v->value[b->cv[i]];
    }
    scale(m, n, *b->am);
    scale(v, n, *b->av);
    stayed = adam(p, m, v, g, n, f);
    *b->am = normalize(m, n);
    *b->av = normalize(v, n);
    encode(b->cm, m, n, map_m);
    encode(b->cv, v, n, map_v);
    return stayed;
}

static void dropout(float *y, const float *x, size_t n, size_t first,
                    uint64_t key, uint32_t drop_below, float keep)
{
    uint64_t number[NUMBERS];
    uint32_t half[2 * NUMBERS];

    for (size_t i = 0; i < n; i += 2 * NUMBERS) {
        const size_t m = n - i < 2 * NUMBERS ? n - i : 2 * NUMBERS;
        const uint64_t from = (first + i) / 2;

        for (size_t j = 0; j < (m + 1) / 2; j++) {
            number[j] = ql_rng_at(key, from + j);
        }
        memcpy(half, number, (m + 1) / 2 * sizeof number[0]);
#pragma omp simd
        for (size_t j = 0; j < m; j++) {
            const float kept = x[i + j] * keep;

            y[i + j] = half[j] < drop_below ? 0 : kept;
        }
    }
}

const ql_loops QL_LOOPS = {
    .name = QL_LOOPS_NAME,
    .cpu_need = QL_LOOPS_NEED,
    .max = max,
    .exp = exp_sum,
    .scale = scale,
    .add = add,
    .sum = sum,
    .dot = dot,
    .dots = dots,
    .mix = mix,
    .sumsq = sumsq,
    .softmax_fwd = softmax_fwd,
    .softmax_bwd = softmax_bwd,
    .softcap = softcap,
    .softcap_bwd = softcap_bwd,
    .softcap_loss = softcap_loss,
    .norm_fwd = norm_fwd,
    .norm_dot = norm_dot,
    .norm_bwd = norm_bwd,
    .norm_dw = norm_dw,
    .layernorm_fwd = layernorm_fwd,
    .layernorm_bwd = layernorm_bwd,
    .layernorm_dw = layernorm_dw,
    .rotate = rotate,
    .act_fwd = {[QL_ACT_SILU] = silu_fwd,
                [QL_ACT_GELU] = gelu_fwd,
                [QL_ACT_GELU_TANH] = gelu_tanh_fwd},
    .act_bwd = {[QL_ACT_SILU] = silu_bwd,
                [QL_ACT_GELU] = gelu_bwd,
                [QL_ACT_GELU_TANH] = gelu_tanh_bwd},
    .widen = widen,
    .narrow = narrow,
    .adam = adam,
    .adam8 = adam8,
    .dropout = dropout,
};
