#include "src/op/adam.h"

#include <math.h>

#include "quant/codebook.h"
#include "src/op/loops.h"

enum {
    ALIGN = 64,
    HALVES = 4 * QL_ADAM_BLOCK /* in bf16, updated at a time */
};

static size_t blocks_of(size_t n)
{
    return (n + QL_ADAM_BLOCK - 1) / QL_ADAM_BLOCK;
}

static size_t moment_bytes(size_t n, ql_moments moments)
{
    switch (moments) {
    case QL_MOMENTS_BF16:
        return n * sizeof(uint16_t);
    case QL_MOMENTS_8BIT:
        return blocks_of(n) * sizeof(float) + n;
    default:
        return n * sizeof(float);
    }
}

size_t ql_adam_state_bytes(size_t n, ql_moments moments)
{
    return (2 * moment_bytes(n, moments) + ALIGN - 1) / ALIGN * ALIGN;
}

void ql_adam_maps_init(ql_adam_maps *maps)
{
    ql_map8_init(&maps->m, ql_dynamic_map);
    ql_map8_init(&maps->v, ql_dynamic_map_unsigned);
}

/* The numbers of a step in f32, for a piece. */
static ql_adam_factors prepare(const ql_adam_step *s, const ql_adam_piece *e)
{
    const double t = (double)s->t;
    const double lr = s->lr * (double)e->rate;
    const double decay = e->plain ? 0 : s->weight_decay;

    return (ql_adam_factors){
        .b1 = (float)s->beta1,
        .b2 = (float)s->beta2,
        .c1 = (float)(1 - s->beta1),
        .c2 = (float)(1 - s->beta2),
        .clip = (float)s->clip,
        .keep = (float)(1 - lr * decay),
        .rate = (float)(lr / (1 - pow(s->beta1, t))),
        .root = (float)(1 / sqrt(1 - pow(s->beta2, t))),
        .eps = (float)s->eps,
    };
}

/* The update of a piece. */
typedef struct update {
    const ql_loops *loops;
    const ql_adam_maps *maps;
    ql_adam_factors factors;
} update;

/* Parameters [at, at + n) of a piece, all of them from p and g on; at is a
 * multiple of a block. state is that of the piece, of all parameters. */
typedef size_t update_fn(const update *u, float *p, float *g, void *state,
                         size_t all, size_t at, size_t n);

static size_t update32(const update *u, float *p, float *g, void *state,
                       size_t all, size_t at, size_t n)
{
    float *m = (float *)state + at;

    return u->loops->adam(p, m, m + all, g, n, &u->factors);
}

static size_t shorter(size_t n, size_t most)
{
    return n < most ? n : most;
}

static size_t update16(const update *u, float *p, float *g, void *state,
                       size_t all, size_t at, size_t n)
{
    uint16_t *narrow_m = (uint16_t *)state + at;
    uint16_t *narrow_v = narrow_m + all;
    float m[QL_ADAM_BLOCK];
    float v[QL_ADAM_BLOCK];
    size_t stayed = 0;

    for (size_t i = 0; i < n; i += QL_ADAM_BLOCK) {
        const size_t len = shorter(n - i, QL_ADAM_BLOCK);

        u->loops->widen(m, narrow_m + i, len);
        u->loops->widen(v, narrow_v + i, len);
        stayed += u->loops->adam(p + i, m, v, g + i, len, &u->factors);
        u->loops->narrow(narrow_m + i, m, len);
        u->loops->narrow(narrow_v + i, v, len);
    }
    return stayed;
}

static size_t update8(const update *u, float *p, float *g, void *state,
                      size_t all, size_t at, size_t n)
{
    const size_t blocks = blocks_of(all);
    float *scales = (float *)state + at / QL_ADAM_BLOCK;
    uint8_t *codes = (uint8_t *)((float *)state + 2 * blocks) + at;
    size_t stayed = 0;

    for (size_t i = 0; i < n; i += QL_ADAM_BLOCK) {
        const ql_adam8_block b = {.cm = codes + i,
                                  .cv = codes + all + i,
                                  .am = scales + i / QL_ADAM_BLOCK,
                                  .av = scales + blocks + i / QL_ADAM_BLOCK};

        stayed +=
            u->loops->adam8(p + i, &b, g + i, shorter(n - i, QL_ADAM_BLOCK),
                            &u->maps->m, &u->maps->v, &u->factors);
    }
    return stayed;
}

static update_fn *const updates[] = {
    [QL_MOMENTS_F32] = update32,
    [QL_MOMENTS_BF16] = update16,
    [QL_MOMENTS_8BIT] = update8,
};

/* A piece in bf16, some blocks at a time. */
static size_t update_half(const update *u, const ql_adam_piece *e, uint16_t *p,
                          uint16_t *g, void *state)
{
    float wide_p[HALVES];
    float wide_g[HALVES];
    size_t stayed = 0;

    for (size_t at = 0; at < e->n; at += HALVES) {
        const size_t n = shorter(e->n - at, HALVES);

        u->loops->widen(wide_p, p + at, n);
        u->loops->widen(wide_g, g + at, n);
        stayed += updates[e->moments](u, wide_p, wide_g, state, e->n, at, n);
        u->loops->narrow(p + at, wide_p, n);
        u->loops->narrow(g + at, wide_g, n);
    }
    return stayed;
}

static size_t update_piece(const update *u, const ql_adam_piece *e, float *p,
                           float *g, void *state)
{
    return e->half ? update_half(u, e, (uint16_t *)(void *)p,
                                 (uint16_t *)(void *)g, state)
                   : updates[e->moments](u, p, g, state, e->n, 0, e->n);
}

size_t ql_adam_update(float *p, float *g, void *state,
                      const ql_adam_piece *piece, size_t n,
                      const ql_adam_maps *maps, const ql_adam_step *s)
{
    const ql_loops *loops = ql_loops_get();
    size_t stayed = 0;

#pragma omp parallel for schedule(dynamic) if (n > 1) reduction(+ : stayed)
    for (size_t i = 0; i < n; i++) {
        const ql_adam_piece *e = &piece[i];
        const update u = {loops, maps, prepare(s, e)};

        stayed += update_piece(&u, e, p + e->first, g + e->first,
                               (char *)state + (e->at - piece->at));
    }
    return stayed;
}
