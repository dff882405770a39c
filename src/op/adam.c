#include "src/op/adam.h"

#include <math.h>

#include "quant/codebook.h"
#include "src/op/loops.h"

enum {
    ALIGN = 64
};

static size_t blocks_of(size_t n)
{
    return (n + QL_ADAM_BLOCK - 1) / QL_ADAM_BLOCK;
}

size_t ql_adam_state_bytes(size_t n, bool eight)
{
    const size_t moment =
        eight ? blocks_of(n) * sizeof(float) + n : n * sizeof(float);

    return (2 * moment + ALIGN - 1) / ALIGN * ALIGN;
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

static size_t update32(const update *u, float *p, float *g, float *state,
                       size_t n)
{
    return u->loops->adam(p, state, state + n, g, n, &u->factors);
}

static size_t update8(const update *u, float *p, float *g, float *state,
                      size_t n)
{
    const size_t blocks = blocks_of(n);
    uint8_t *codes = (uint8_t *)(state + 2 * blocks);
    size_t stayed = 0;

    for (size_t i = 0; i < blocks; i++) {
        const size_t at = i * QL_ADAM_BLOCK;
        const size_t len = n - at < QL_ADAM_BLOCK ? n - at : QL_ADAM_BLOCK;
        const ql_adam8_block b = {.cm = codes + at,
                                  .cv = codes + n + at,
                                  .am = state + i,
                                  .av = state + blocks + i};

        stayed += u->loops->adam8(p + at, &b, g + at, len, &u->maps->m,
                                  &u->maps->v, &u->factors);
    }
    return stayed;
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
        float *at = (float *)((char *)state + (e->at - piece->at));

        stayed += (e->eight ? update8 : update32)(&u, p + e->first,
                                                  g + e->first, at, e->n);
    }
    return stayed;
}
