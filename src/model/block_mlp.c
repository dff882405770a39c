/* The second half of a block. What the activation gives is not kept but
 * repeated for the backward. */
#include "src/model/block_parts.h"

/* The activation's inputs as it is called. */
typedef struct inputs {
    const float *g, *u;
    ql_act_rows rows;
} inputs;

static inputs inputs_of(const ql_frame *f, const ql_saved *s)
{
    const size_t F = f->c->F;

    if (!ql_config_gated(f->c)) {
        return (inputs){s->up, NULL, {f->T, F, F}};
    }
    if (ql_config_fused_gate(f->c)) {
        return (inputs){s->gate, s->gate + F, {f->T, F, 2 * F}};
    }
    return (inputs){s->gate, s->up, {f->T, F, F}};
}

/* Floats of a row of what comes out of the first projection. */
static size_t first_width(const ql_config *c)
{
    return ql_config_fused_gate(c) ? 2 * c->F : c->F;
}

size_t ql_frame_mlp_bytes(const ql_config *c, size_t T)
{
    const size_t size = sizeof(float);
    const size_t norm = ql_config_norm(c, QL_NORM_MLP_IN) > 0;
    const size_t join = ql_config_norm(c, QL_NORM_MLP_OUT) > 0;

    return (norm + join) * ql_arena_piece(T * c->C, size) +
           ql_arena_piece(T * first_width(c), size) +
           ql_arena_piece(T * c->F, size);
}

/* What the norm before this half is of. */
static const float *source(const ql_frame *f, const ql_saved *s, const float *x)
{
    return f->c->parallel ? x : s->mid;
}

static void activate(const ql_frame *f, float *act, const ql_saved *s)
{
    const inputs in = inputs_of(f, s);

    ql_frame_count(f, QL_WORK_ACTIVATION);
    ql_act_fwd(f->c->act, act, in.g, in.u, in.rows);
}

/* What the activation is of, from what comes into the half. */
static void project(const ql_frame *f, ql_saved *s, const float *x)
{
    if (!ql_config_gated(f->c)) {
        ql_frame_linear_fwd(f, QL_MODULE_UP, s->up, false, s, x);
    } else if (ql_config_fused_gate(f->c)) {
        ql_frame_linear_fwd(f, QL_MODULE_GATE, s->gate, false, s, x);
    } else {
        ql_frame_linears_fwd(f, QL_MODULE_GATE, 2,
                             (float *const[]){s->gate, s->up}, s, x);
    }
}

void ql_frame_mlp_fwd(const ql_frame *f, float *y, ql_saved *s, const float *x)
{
    const size_t mark = ql_arena_mark(f->pass->scratch);
    const bool normed = ql_frame_has_norm(f, QL_NORM_MLP_OUT);
    float *act = ql_frame_take(f, f->T * f->c->F);
    const float *in =
        ql_frame_norm_fwd(f, QL_NORM_MLP_IN, s->n2, s, source(f, s, x));

    project(f, s, in);
    activate(f, act, s);
    if (!y && (!normed || s->has_mlp)) {
        ql_frame_linear_keep(f, QL_MODULE_DOWN, s, act);
    } else {
        ql_frame_join_fwd(f, QL_NORM_MLP_OUT,
                          y ? y : ql_frame_take(f, f->T * f->c->C), s->mlp, s,
                          s->mid, QL_MODULE_DOWN, act);
    }
    ql_arena_reset(f->pass->scratch, mark);
}

/* From the gradients of the first projections to dx. */
static void project_bwd(const ql_frame *f, float *dx, bool add, float *dg,
                        float *du, const ql_saved *s, const float *x)
{
    if (ql_config_gated(f->c)) {
        ql_frame_linear_bwd(f, QL_MODULE_GATE, dx, add, dg, s, x);
    }
    if (!ql_config_fused_gate(f->c)) {
        const bool gated = ql_config_gated(f->c);

        ql_frame_linear_bwd(f, QL_MODULE_UP, dx, add || gated, gated ? du : dg,
                            s, x);
    }
}

void ql_frame_mlp_bwd(const ql_frame *f, float *dx, float *dy,
                      const ql_saved *s, const float *x)
{
    const ql_config *c = f->c;
    const size_t mark = ql_arena_mark(f->pass->scratch);
    const bool norm = ql_frame_has_norm(f, QL_NORM_MLP_IN);
    const inputs in = inputs_of(f, s);
    float *dn = norm ? ql_frame_take(f, f->T * c->C) : dx;
    float *act = ql_frame_take(f, f->T * first_width(c));
    float *dact = ql_frame_take(f, f->T * c->F);
    float *dg = ql_config_fused_gate(c) ? act : dact;
    float *du = ql_config_fused_gate(c) ? act + c->F : act;

    activate(f, act, s);
    ql_frame_join_bwd(f, QL_NORM_MLP_OUT, dact, dy, s->mlp, s, QL_MODULE_DOWN,
                      act);
    ql_frame_count(f, QL_WORK_ACTIVATION);
    ql_act_bwd(c->act, dg, in.u ? du : NULL, dact, in.g, in.u, in.rows);
    project_bwd(f, dn, !norm, dg, du, s, norm ? s->n2 : source(f, s, x));
    if (norm) {
        ql_frame_norm_bwd(f, QL_NORM_MLP_IN, dx, dn, s, source(f, s, x));
    }
    ql_arena_reset(f->pass->scratch, mark);
}
