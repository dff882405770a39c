/* What a block keeps, and its two halves in order. */
#include "src/model/block.h"

#include <string.h>

#include "src/model/block_parts.h"
#include "src/op/vec.h"

/* Visits each array of a ql_saved with its size; what both the sum of bytes
 * and the taking of pieces walk over. */
typedef struct piece {
    float **slot;
    size_t n; /* floats; 0: an array without use */
} piece;

enum {
    ARRAYS = 12,
    PIECES = ARRAYS + QL_NORMS + 2 * QL_MODULES
};

/* Floats that the norm at a place keeps. */
static size_t stats_of(const ql_config *c, ql_norm_place place, size_t T)
{
    const size_t heads = c->arch->wide_qk_norm ? 1
                         : place == QL_NORM_Q  ? c->H
                         : place == QL_NORM_K  ? c->KV
                                               : 1;
    const size_t each = c->arch->layer_norm ? 2 : 1;

    return ql_config_norm(c, place) > 0 ? T * heads * each : 0;
}

/* n where there is a norm at that place. */
static size_t where(const ql_config *c, ql_norm_place place, size_t n)
{
    return ql_config_norm(c, place) > 0 ? n : 0;
}

ql_saved_size ql_saved_size_of(const ql_layer *layers, size_t n, size_t T)
{
    ql_saved_size size = {.T = T};

    for (size_t i = 0; i < n; i++) {
        for (int m = 0; m < QL_MODULES; m++) {
            const ql_linear *lin = &layers[i].linear[m];

            size.r[m] = lin->lora.r > size.r[m] ? lin->lora.r : size.r[m];
            size.dora[m] |= lin->dora.m != NULL;
        }
    }
    return size;
}

static void list_pieces(piece *list, ql_saved *s, const ql_config *c,
                        const ql_saved_size *size)
{
    const size_t T = size->T;
    const size_t wide = T * c->C;
    const size_t q = T * c->H * c->D;
    const size_t k = T * c->KV * c->D;
    const bool gated = ql_config_gated(c);
    const bool fused = ql_config_fused_gate(c);
    const piece arrays[ARRAYS] = {
        {&s->n1, where(c, QL_NORM_ATTN_IN, wide)},
        {&s->n2, where(c, QL_NORM_MLP_IN, wide)},
        {&s->attn, where(c, QL_NORM_ATTN_OUT, wide)},
        {&s->mlp, where(c, QL_NORM_MLP_OUT, wide)},
        {&s->mid, wide},
        {&s->lse, T * c->H},
        {&s->q, q},
        {&s->o, q},
        {&s->k, k},
        {&s->v, k},
        {&s->gate, gated ? T * c->F * (fused ? 2 : 1) : 0},
        {&s->up, fused ? 0 : T * c->F},
    };

    memcpy(list, arrays, sizeof(arrays));
    for (int p = 0; p < QL_NORMS; p++) {
        list[ARRAYS + p] =
            (piece){&s->stats[p], stats_of(c, (ql_norm_place)p, T)};
    }
    for (int m = 0; m < QL_MODULES; m++) {
        size_t out;
        size_t in;
        piece *kept = list + ARRAYS + QL_NORMS + 2 * m;

        ql_config_module(c, (ql_module)m, &out, &in);
        kept[0] = (piece){&s->linear[m].xa, T * size->r[m]};
        kept[1] = (piece){&s->linear[m].u, size->dora[m] ? T * out : 0};
    }
}

size_t ql_saved_bytes(const ql_config *c, const ql_saved_size *size)
{
    ql_saved s;
    piece list[PIECES];
    size_t sum = 0;

    list_pieces(list, &s, c, size);
    for (size_t i = 0; i < PIECES; i++) {
        sum += ql_arena_piece(list[i].n, sizeof(float));
    }
    return sum;
}

void ql_saved_take(ql_saved *s, ql_arena *arena, const ql_config *c,
                   const ql_saved_size *size)
{
    piece list[PIECES];

    list_pieces(list, s, c, size);
    for (size_t i = 0; i < PIECES; i++) {
        *list[i].slot = ql_arena_take(arena, list[i].n, sizeof(float));
    }
}

static ql_attention_shape shape_of(const ql_config *c, size_t i,
                                   ql_attention_shape shape)
{
    shape.window = c->layer[i].window;
    return shape;
}

/* Bytes of work for n linear layers at once, where they are apart. */
static size_t calls_bytes(const ql_layer *layer, ql_module first, size_t n,
                          size_t T)
{
    ql_linear_call calls[QL_LINEAR_CALLS];

    for (size_t i = 0; i < n; i++) {
        calls[i] = (ql_linear_call){.lin = &layer->linear[first + i]};
        if (calls[i].lin->w.rows == 0) {
            return 0;
        }
    }
    return ql_linear_calls_bytes(calls, n, T);
}

/* Bytes of work for any linear layers or the attention. */
static size_t work_bytes(const ql_layer *layer, const ql_attention_shape *shape)
{
    size_t most = ql_attention_work_bytes(shape);

    most = ql_larger(most, calls_bytes(layer, QL_MODULE_Q, 3, shape->T));
    most = ql_larger(most, calls_bytes(layer, QL_MODULE_GATE, 2, shape->T));

    for (int m = 0; m < QL_MODULES; m++) {
        if (layer->linear[m].w.rows > 0) {
            most = ql_larger(most,
                             ql_linear_work_bytes(&layer->linear[m], shape->T));
        }
    }
    return most;
}

size_t ql_block_scratch_bytes(const ql_config *c, const ql_layer *layer,
                              size_t i, const ql_attention_shape *largest)
{
    const ql_attention_shape shape = shape_of(c, i, *largest);
    const size_t T = shape.T;
    const size_t attention = ql_frame_attention_bytes(c, T);
    const size_t mlp = ql_frame_mlp_bytes(c, T);
    const size_t side =
        c->parallel ? ql_arena_piece(T * c->C, sizeof(float)) : 0;

    return ql_arena_piece(work_bytes(layer, &shape), 1) + side +
           (attention > mlp ? attention : mlp);
}

static ql_frame open_frame(const ql_pass *pass, const ql_layer *layer, size_t i)
{
    ql_past *past = pass->past ? &pass->past[i] : NULL;
    ql_frame f = {
        .pass = pass,
        .c = pass->c,
        .layer = layer,
        .i = i,
        .T = pass->shape.T,
        .shape = shape_of(pass->c, i, pass->shape),
        .past = past,
    };

    f.shape.past = past ? past->n : 0;
    f.work = ql_arena_take(pass->scratch, work_bytes(layer, &f.shape), 1);
    return f;
}

void ql_block_fwd(float *y, ql_saved *s, const float *x, const ql_layer *layer,
                  size_t i, const ql_pass *pass)
{
    const size_t mark = ql_arena_mark(pass->scratch);
    const ql_frame f = open_frame(pass, layer, i);

    ql_frame_attention_fwd(&f, s, x, y || !f.c->parallel);
    ql_frame_mlp_fwd(&f, y, s, x);
    ql_frame_count(&f, QL_WORK_OTHER);
    ql_arena_reset(pass->scratch, mark);
}

void ql_block_bwd(float *dy, const ql_saved *s, const float *x,
                  const ql_layer *layer, size_t i, bool want_dx,
                  const ql_pass *pass)
{
    const size_t mark = ql_arena_mark(pass->scratch);
    const ql_frame f = open_frame(pass, layer, i);
    const size_t n = f.T * f.c->C;
    float *side = f.c->parallel ? ql_frame_take(&f, n) : dy;

    if (f.c->parallel) {
        memset(side, 0, n * sizeof *side);
    }
    ql_frame_mlp_bwd(&f, side, dy, s, x);
    ql_frame_attention_bwd(&f, dy, s, x, want_dx);
    if (f.c->parallel) {
        ql_vec_add(dy, side, n);
    }
    ql_frame_count(&f, QL_WORK_OTHER);
    ql_arena_reset(pass->scratch, mark);
}
