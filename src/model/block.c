/* A block is a fixed sequence of ops. Scratch comes from the pass's arena and
 * is given back at the end of each function; nothing is allocated. */
#include "src/model/block.h"

#include <string.h>

#include "src/base/rng.h"
#include "src/op/act.h"
#include "src/op/norm.h"
#include "src/op/rope.h"
#include "src/op/vec.h"

/* Visits each array of a ql_saved with its size; what both the sum of bytes
 * and the taking of pieces walk over. */
typedef struct piece {
    float **slot;
    size_t n; /* floats */
} piece;

enum {
    PIECES = 12
};

static void list_pieces(piece *list, ql_saved *s, const ql_config *c, size_t T)
{
    const piece all[PIECES] = {
        {&s->rstd1, T},
        {&s->rstd2, T},
        {&s->n1, T * c->C},
        {&s->n2, T * c->C},
        {&s->mid, T * c->C},
        {&s->lse, T * c->H},
        {&s->q, T * c->H * c->D},
        {&s->o, T * c->H * c->D},
        {&s->k, T * c->KV * c->D},
        {&s->v, T * c->KV * c->D},
        {&s->gate, T * c->F},
        {&s->up, T * c->F},
    };

    memcpy(list, all, sizeof(all));
}

size_t ql_saved_bytes(const ql_config *c, size_t T, size_t r)
{
    ql_saved s;
    piece list[PIECES];
    size_t sum = QL_MODULES * ql_arena_piece(T * r, sizeof(float));

    list_pieces(list, &s, c, T);
    for (size_t i = 0; i < PIECES; i++) {
        sum += ql_arena_piece(list[i].n, sizeof(float));
    }
    return sum;
}

void ql_saved_take(ql_saved *s, ql_arena *arena, const ql_config *c, size_t T,
                   size_t r)
{
    piece list[PIECES];

    list_pieces(list, s, c, T);
    for (size_t i = 0; i < PIECES; i++) {
        *list[i].slot = ql_arena_take(arena, list[i].n, sizeof(float));
    }
    for (int m = 0; m < QL_MODULES; m++) {
        s->xa[m] = ql_arena_take(arena, T * r, sizeof(float));
    }
}

static size_t linear_work_bytes(const ql_layer *layer, size_t T)
{
    size_t most = 0;

    for (int m = 0; m < QL_MODULES; m++) {
        const size_t bytes = ql_linear_work_bytes(&layer->linear[m], T);

        most = bytes > most ? bytes : most;
    }
    return most;
}

size_t ql_block_scratch_bytes(const ql_config *c, const ql_layer *layer,
                              const ql_attention_shape *largest)
{
    const size_t T = largest->T;
    const size_t linear = linear_work_bytes(layer, T);
    const size_t attention = ql_attention_work_bytes(largest);
    const size_t wide = ql_arena_piece(T * c->F, sizeof(float));
    const size_t mlp = 3 * wide;
    const size_t heads = 2 * ql_arena_piece(T * c->H * c->D, sizeof(float)) +
                         2 * ql_arena_piece(T * c->KV * c->D, sizeof(float));

    return (mlp > heads ? mlp : heads) +
           ql_arena_piece(T * c->C, sizeof(float)) +
           ql_arena_piece(linear > attention ? linear : attention, 1);
}

static ql_drop drop_of(const ql_pass *pass, size_t layer, ql_module m)
{
    return (ql_drop){.p = pass->dropout,
                     .key = ql_rng_split(pass->key, layer * QL_MODULES + m),
                     .profile = pass->profile};
}

/* A block's view of its own call: what every step needs. */
typedef struct frame {
    const ql_pass *pass;
    const ql_layer *layer;
    size_t i;
    size_t T;
    void *work; /* for one linear or one attention */
} frame;

static frame open_frame(const ql_pass *pass, const ql_layer *layer, size_t i)
{
    const size_t linear = linear_work_bytes(layer, pass->shape.T);
    const size_t attention = ql_attention_work_bytes(&pass->shape);

    return (frame){
        .pass = pass,
        .layer = layer,
        .i = i,
        .T = pass->shape.T,
        .work = ql_arena_take(pass->scratch,
                              linear > attention ? linear : attention, 1),
    };
}

static float *take(const frame *f, size_t n)
{
    return ql_arena_take(f->pass->scratch, n, sizeof(float));
}

static void count_as(const frame *f, ql_work kind)
{
    ql_profile_mark(f->pass->profile, kind);
}

static void linear_fwd(const frame *f, ql_module m, float *y, bool add,
                       ql_saved *s, const float *x)
{
    ql_linear_fwd(y, add, s->xa[m], x, &f->layer->linear[m], f->T,
                  drop_of(f->pass, f->i, m), f->work);
}

static void linear_bwd(const frame *f, ql_module m, float *dx, bool add,
                       const float *dy, const ql_saved *s, const float *x)
{
    ql_linear_bwd(dx, add, dy, x, s->xa[m], &f->layer->linear[m], f->T,
                  drop_of(f->pass, f->i, m), f->work);
}

static void rotate(const frame *f, float *x, size_t heads, bool backward)
{
    const ql_config *c = f->pass->c;

    count_as(f, QL_WORK_ROPE);
    ql_rope_apply(x, f->pass->pos, f->pass->cos_table, f->pass->sin_table, f->T,
                  heads, c->D, c->rope.dim, backward);
}

static void attention_fwd(const frame *f, ql_saved *s, const float *x)
{
    const ql_config *c = f->pass->c;

    count_as(f, QL_WORK_NORM);
    ql_rmsnorm_fwd(s->n1, s->rstd1, x, f->layer->attn_norm, f->T, c->C, c->eps);
    linear_fwd(f, QL_MODULE_Q, s->q, false, s, s->n1);
    linear_fwd(f, QL_MODULE_K, s->k, false, s, s->n1);
    linear_fwd(f, QL_MODULE_V, s->v, false, s, s->n1);
    rotate(f, s->q, c->H, false);
    rotate(f, s->k, c->KV, false);
    count_as(f, QL_WORK_ATTENTION);
    ql_attention_fwd(s->o, s->lse, s->q, s->k, s->v, &f->pass->shape, f->work);
    count_as(f, QL_WORK_OTHER);
    memcpy(s->mid, x, f->T * c->C * sizeof(float));
    linear_fwd(f, QL_MODULE_O, s->mid, true, s, s->o);
}

static void mlp_fwd(const frame *f, float *y, ql_saved *s)
{
    const ql_config *c = f->pass->c;
    float *act = take(f, f->T * c->F);

    count_as(f, QL_WORK_NORM);
    ql_rmsnorm_fwd(s->n2, s->rstd2, s->mid, f->layer->mlp_norm, f->T, c->C,
                   c->eps);
    linear_fwd(f, QL_MODULE_GATE, s->gate, false, s, s->n2);
    linear_fwd(f, QL_MODULE_UP, s->up, false, s, s->n2);
    count_as(f, QL_WORK_ACTIVATION);
    ql_swiglu_fwd(act, s->gate, s->up, f->T * c->F);
    count_as(f, QL_WORK_OTHER);
    if (y) {
        memcpy(y, s->mid, f->T * c->C * sizeof(float));
        linear_fwd(f, QL_MODULE_DOWN, y, true, s, act);
    } else {
        ql_linear_xa(s->xa[QL_MODULE_DOWN], act,
                     &f->layer->linear[QL_MODULE_DOWN], f->T,
                     drop_of(f->pass, f->i, QL_MODULE_DOWN), f->work);
    }
}

void ql_block_fwd(float *y, ql_saved *s, const float *x, const ql_layer *layer,
                  size_t i, const ql_pass *pass)
{
    const size_t mark = ql_arena_mark(pass->scratch);
    const frame f = open_frame(pass, layer, i);

    attention_fwd(&f, s, x);
    mlp_fwd(&f, y, s);
    count_as(&f, QL_WORK_OTHER);
    ql_arena_reset(pass->scratch, mark);
}

/* dy: gradient of the block's output; on return also that of mid. */
static void mlp_bwd(const frame *f, float *dy, const ql_saved *s)
{
    const ql_config *c = f->pass->c;
    const size_t mark = ql_arena_mark(f->pass->scratch);
    const size_t n = f->T * c->F;
    float *dn = take(f, f->T * c->C);
    float *act = take(f, n);
    float *dgate = take(f, n);
    float *dup = take(f, n);

    count_as(f, QL_WORK_ACTIVATION);
    ql_swiglu_fwd(act, s->gate, s->up, n);
    linear_bwd(f, QL_MODULE_DOWN, dgate, false, dy, s, act);
    count_as(f, QL_WORK_ACTIVATION);
    ql_swiglu_bwd(dgate, dup, dgate, s->gate, s->up, n);
    linear_bwd(f, QL_MODULE_GATE, dn, false, dgate, s, s->n2);
    linear_bwd(f, QL_MODULE_UP, dn, true, dup, s, s->n2);
    count_as(f, QL_WORK_NORM);
    ql_rmsnorm_bwd(dy, NULL, dn, s->mid, f->layer->mlp_norm, s->rstd2, f->T,
                   c->C);
    ql_arena_reset(f->pass->scratch, mark);
}

/* dy: gradient of mid; on return also that of x. */
static void attention_bwd(const frame *f, float *dy, const ql_saved *s,
                          const float *x, bool want_dx)
{
    const ql_config *c = f->pass->c;
    const size_t mark = ql_arena_mark(f->pass->scratch);
    const size_t wide = f->T * c->H * c->D;
    const size_t thin = f->T * c->KV * c->D;
    const ql_attention_kept kept = {
        .o = s->o, .lse = s->lse, .q = s->q, .k = s->k, .v = s->v};
    float *dn = take(f, f->T * c->C);
    float *dout = take(f, wide);
    float *dq = take(f, wide);
    float *dk = take(f, thin);
    float *dv = take(f, thin);

    linear_bwd(f, QL_MODULE_O, dout, false, dy, s, s->o);
    count_as(f, QL_WORK_ATTENTION);
    ql_attention_bwd(dq, dk, dv, dout, &kept, &f->pass->shape, f->work);
    rotate(f, dq, c->H, true);
    rotate(f, dk, c->KV, true);
    linear_bwd(f, QL_MODULE_Q, want_dx ? dn : NULL, false, dq, s, s->n1);
    linear_bwd(f, QL_MODULE_K, want_dx ? dn : NULL, true, dk, s, s->n1);
    linear_bwd(f, QL_MODULE_V, want_dx ? dn : NULL, true, dv, s, s->n1);
    if (want_dx) {
        count_as(f, QL_WORK_NORM);
        ql_rmsnorm_bwd(dy, NULL, dn, x, f->layer->attn_norm, s->rstd1, f->T,
                       c->C);
    }
    ql_arena_reset(f->pass->scratch, mark);
}

void ql_block_bwd(float *dy, const ql_saved *s, const float *x,
                  const ql_layer *layer, size_t i, bool want_dx,
                  const ql_pass *pass)
{
    const size_t mark = ql_arena_mark(pass->scratch);
    const frame f = open_frame(pass, layer, i);

    mlp_bwd(&f, dy, s);
    attention_bwd(&f, dy, s, x, want_dx);
    count_as(&f, QL_WORK_OTHER);
    ql_arena_reset(pass->scratch, mark);
}
