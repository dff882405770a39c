/* The first half of a block. Where the heads of q and k have a norm, what is
 * kept of them is what goes into it, and the rest is repeated for the backward:
 * it costs little beside the products. */
#include <assert.h>
#include <string.h>

#include "src/model/block_parts.h"
#include "src/op/heads.h"
#include "src/op/vec.h"

static size_t wide(const ql_config *c, size_t T)
{
    return T * c->H * c->D;
}

static size_t thin(const ql_config *c, size_t T)
{
    return T * c->KV * c->D;
}

static bool fused(const ql_config *c)
{
    return c->arch->qkv != QL_QKV_APART;
}

static size_t fused_size(const ql_config *c, size_t T)
{
    return fused(c) ? wide(c, T) + 2 * thin(c, T) : 0;
}

size_t ql_frame_attention_bytes(const ql_config *c, size_t T)
{
    const size_t size = sizeof(float);
    const bool normed = ql_config_norm(c, QL_NORM_Q) > 0;
    const size_t q = ql_arena_piece(wide(c, T), size);
    const size_t k = ql_arena_piece(thin(c, T), size);
    const size_t join = ql_config_norm(c, QL_NORM_ATTN_OUT) > 0;
    const size_t pair = q + k; /* q and k behind their norms */

    return (1 + join) * ql_arena_piece(T * c->C, size) + 2 * q + 2 * k +
           (normed ? pair : 0) + ql_arena_piece(fused_size(c, T), size);
}

static ql_heads heads_of(const ql_frame *f)
{
    return (ql_heads){.T = f->T,
                      .H = f->c->H,
                      .KV = f->c->KV,
                      .D = f->c->D,
                      .by_head = f->c->arch->qkv == QL_QKV_BY_HEAD};
}

/* q, k and v of what comes into the half. */
static void project(const ql_frame *f, ql_saved *s, const float *x)
{
    const size_t mark = ql_arena_mark(f->pass->scratch);

    if (fused(f->c)) {
        float *qkv = ql_frame_take(f, fused_size(f->c, f->T));

        ql_frame_linear_fwd(f, QL_MODULE_Q, qkv, false, s, x);
        ql_heads_split(s->q, s->k, s->v, qkv, heads_of(f));
    } else {
        ql_frame_linears_fwd(f, QL_MODULE_Q, 3,
                             (float *const[]){s->q, s->k, s->v}, s, x);
    }
    ql_arena_reset(f->pass->scratch, mark);
}

static void rotate(const ql_frame *f, float *x, size_t heads, bool backward)
{
    const ql_config *c = f->c;
    const int rope = c->layer[f->i].rope;

    if (rope >= 0) {
        const ql_turns *turns = &f->pass->turns[rope];

        ql_frame_count(f, QL_WORK_ROPE);
        ql_rope_apply(x, f->pass->pos, turns->cos, turns->sin, f->T, heads,
                      c->D, c->rope[rope].dim, backward);
    }
}

/* Rows of a norm over heads: one for each head, or for all together. */
static size_t norm_rows(const ql_frame *f, size_t heads)
{
    return f->c->arch->wide_qk_norm ? f->T : f->T * heads;
}

/* x, the heads of q or k, behind their norm: in scratch; or x itself. */
static float *normed(const ql_frame *f, ql_norm_place place, const ql_saved *s,
                     float *x, size_t heads)
{
    float *y = x;

    if (ql_frame_has_norm(f, place)) {
        y = ql_frame_take(f, f->T * heads * f->c->D);
        ql_frame_count(f, QL_WORK_NORM);
        ql_norm_fwd(y, s->stats[place], x, &f->layer->norm[place],
                    norm_rows(f, heads));
    }
    return y;
}

/* dx, the gradient behind the norm of heads, becomes that before it. y is the
 * scratch of normed, x what went in. */
static float *normed_bwd(const ql_frame *f, ql_norm_place place, float *dx,
                         float *y, const ql_saved *s, const float *x,
                         size_t heads)
{
    const size_t n = f->T * heads * f->c->D;

    if (!ql_frame_has_norm(f, place)) {
        return dx;
    }
    ql_frame_count(f, QL_WORK_NORM);
    memset(y, 0, n * sizeof *y);
    ql_norm_bwd(y, dx, x, s->stats[place], &f->layer->norm[place],
                norm_rows(f, heads));
    return y;
}

/* Adds rows of the batch to those of the past; returns all. */
static const float *join_past(const ql_frame *f, float *past, const float *x)
{
    const size_t before = thin(f->c, f->past->n);

    memcpy(past + before, x, thin(f->c, f->T) * sizeof *x);
    return past;
}

/* s->o of q, k and of s->v, with the past if there is one. */
static void attend(const ql_frame *f, ql_saved *s, const float *q,
                   const float *k)
{
    const float *v = s->v;

    ql_frame_count(f, QL_WORK_ATTENTION);
    if (f->past) {
        assert(f->past->n + f->T <= f->past->room);
        k = join_past(f, f->past->k, k);
        v = join_past(f, f->past->v, v);
        f->past->n += f->T;
    }
    ql_attention_fwd(s->o, s->lse, q, k, v, &f->shape, f->work);
}

void ql_frame_attention_fwd(const ql_frame *f, ql_saved *s, const float *x,
                            bool want_mid)
{
    const size_t mark = ql_arena_mark(f->pass->scratch);
    const float *in = ql_frame_norm_fwd(f, QL_NORM_ATTN_IN, s->n1, s, x);
    float *q;
    float *k;

    project(f, s, in);
    q = normed(f, QL_NORM_Q, s, s->q, f->c->H);
    k = normed(f, QL_NORM_K, s, s->k, f->c->KV);
    rotate(f, q, f->c->H, false);
    rotate(f, k, f->c->KV, false);
    attend(f, s, q, k);
    if (want_mid || ql_frame_has_norm(f, QL_NORM_ATTN_OUT)) {
        ql_frame_join_fwd(f, QL_NORM_ATTN_OUT, s->mid, s->attn, s, x,
                          QL_MODULE_O, s->o);
    } else {
        ql_frame_linear_keep(f, QL_MODULE_O, s, s->o);
    }
    ql_arena_reset(f->pass->scratch, mark);
}

/* dx (written, or added to if add; NULL: not wanted) from the gradients of q, k
 * and v. */
static void project_bwd(const ql_frame *f, float *dx, bool add, const float *dq,
                        const float *dk, const float *dv, const ql_saved *s,
                        const float *x)
{
    if (fused(f->c)) {
        float *dqkv = ql_frame_take(f, fused_size(f->c, f->T));

        ql_heads_join(dqkv, dq, dk, dv, heads_of(f));
        ql_frame_linear_bwd(f, QL_MODULE_Q, dx, add, dqkv, s, x);
        return;
    }
    ql_frame_linear_bwd(f, QL_MODULE_Q, dx, add, dq, s, x);
    ql_frame_linear_bwd(f, QL_MODULE_K, dx, true, dk, s, x);
    ql_frame_linear_bwd(f, QL_MODULE_V, dx, true, dv, s, x);
}

/* The gradients of q, k and v, from that of what attention gives. */
typedef struct head_grads {
    float *q, *k, *v;
} head_grads;

static head_grads heads_bwd(const ql_frame *f, const float *dout,
                            const ql_saved *s)
{
    const ql_config *c = f->c;
    float *dq = ql_frame_take(f, wide(c, f->T));
    float *dk = ql_frame_take(f, thin(c, f->T));
    float *dv = ql_frame_take(f, thin(c, f->T));
    float *q = normed(f, QL_NORM_Q, s, s->q, c->H);
    float *k = normed(f, QL_NORM_K, s, s->k, c->KV);
    const ql_attention_kept kept = {
        .o = s->o, .lse = s->lse, .q = q, .k = k, .v = s->v};

    if (q != s->q) {
        rotate(f, q, c->H, false);
        rotate(f, k, c->KV, false);
    }
    ql_frame_count(f, QL_WORK_ATTENTION);
    ql_attention_bwd(dq, dk, dv, dout, &kept, &f->shape, f->work);
    rotate(f, dq, c->H, true);
    rotate(f, dk, c->KV, true);
    dq = normed_bwd(f, QL_NORM_Q, dq, q, s, s->q, c->H);
    dk = normed_bwd(f, QL_NORM_K, dk, k, s, s->k, c->KV);
    return (head_grads){dq, dk, dv};
}

void ql_frame_attention_bwd(const ql_frame *f, float *dy, const ql_saved *s,
                            const float *x, bool want_dx)
{
    const size_t mark = ql_arena_mark(f->pass->scratch);
    const bool norm = ql_frame_has_norm(f, QL_NORM_ATTN_IN);
    float *dn = norm ? ql_frame_take(f, f->T * f->c->C) : dy;
    float *dout = ql_frame_take(f, wide(f->c, f->T));
    head_grads d;

    ql_frame_join_bwd(f, QL_NORM_ATTN_OUT, dout, dy, s->attn, s, QL_MODULE_O,
                      s->o);
    d = heads_bwd(f, dout, s);
    project_bwd(f, want_dx ? dn : NULL, !norm, d.q, d.k, d.v, s,
                norm ? s->n1 : x);
    if (want_dx && norm) {
        ql_frame_norm_bwd(f, QL_NORM_ATTN_IN, dy, dn, s, x);
    }
    ql_arena_reset(f->pass->scratch, mark);
}
