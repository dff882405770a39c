/* What both halves of a block share. */
#include "src/model/block_parts.h"

#include <string.h>

#include "src/base/rng.h"
#include "src/op/vec.h"

float *ql_frame_take(const ql_frame *f, size_t n)
{
    return ql_arena_take(f->pass->scratch, n, sizeof(float));
}

void ql_frame_count(const ql_frame *f, ql_work kind)
{
    ql_profile_mark(f->pass->profile, kind);
}

bool ql_frame_has_norm(const ql_frame *f, ql_norm_place place)
{
    return f->layer->norm[place].w != NULL;
}

static ql_drop drop_of(const ql_frame *f, ql_module m)
{
    return (ql_drop){
        .p = f->pass->dropout,
        .key = ql_rng_split(f->pass->key, f->i * QL_MODULES + m),
        .profile = f->pass->profile,
    };
}

void ql_frame_linear_fwd(const ql_frame *f, ql_module m, float *y, bool add,
                         ql_saved *s, const float *x)
{
    ql_linear_fwd(y, add, s->linear[m], x, &f->layer->linear[m], f->T,
                  drop_of(f, m), f->work);
}

void ql_frame_linears_fwd(const ql_frame *f, ql_module first, size_t n,
                          float *const *y, ql_saved *s, const float *x)
{
    ql_linear_call calls[QL_LINEAR_CALLS];

    for (size_t i = 0; i < n; i++) {
        const ql_module m = first + i;

        calls[i] = (ql_linear_call){&f->layer->linear[m], y[i], s->linear[m],
                                    drop_of(f, m)};
    }
    ql_linear_fwd_calls(calls, n, x, f->T, f->work);
}

void ql_frame_linear_keep(const ql_frame *f, ql_module m, ql_saved *s,
                          const float *x)
{
    ql_linear_keep(s->linear[m], x, &f->layer->linear[m], f->T, drop_of(f, m),
                   f->work);
}

void ql_frame_linear_bwd(const ql_frame *f, ql_module m, float *dx, bool add,
                         const float *dy, const ql_saved *s, const float *x)
{
    ql_linear_bwd(dx, add, dy, x, s->linear[m], &f->layer->linear[m], f->T,
                  drop_of(f, m), f->work);
}

const float *ql_frame_norm_fwd(const ql_frame *f, ql_norm_place place, float *y,
                               ql_saved *s, const float *x)
{
    if (!ql_frame_has_norm(f, place)) {
        return x;
    }
    ql_frame_count(f, QL_WORK_NORM);
    ql_norm_fwd(y, s->stats[place], x, &f->layer->norm[place], f->T);
    return y;
}

void ql_frame_norm_bwd(const ql_frame *f, ql_norm_place place, float *dx,
                       const float *dy, const ql_saved *s, const float *x)
{
    ql_frame_count(f, QL_WORK_NORM);
    ql_norm_bwd(dx, dy, x, s->stats[place], &f->layer->norm[place], f->T);
}

void ql_frame_join_fwd(const ql_frame *f, ql_norm_place place, float *out,
                       float *raw, ql_saved *s, const float *x, ql_module m,
                       const float *in)
{
    const size_t n = f->T * f->c->C;
    const bool normed = ql_frame_has_norm(f, place);
    const bool of_sum = !normed || f->c->arch->norm_of_sum;
    float *sum = normed ? raw : out;

    ql_frame_count(f, QL_WORK_OTHER);
    if (of_sum) {
        memcpy(sum, x, n * sizeof *sum);
    }
    ql_frame_linear_fwd(f, m, sum, of_sum, s, in);
    if (normed) {
        ql_frame_norm_fwd(f, place, out, s, raw);
    }
    if (!of_sum) {
        ql_frame_count(f, QL_WORK_OTHER);
        ql_vec_add(out, x, n);
    }
}

void ql_frame_join_bwd(const ql_frame *f, ql_norm_place place, float *din,
                       float *dy, const float *raw, const ql_saved *s,
                       ql_module m, const float *in)
{
    const size_t n = f->T * f->c->C;
    const size_t mark = ql_arena_mark(f->pass->scratch);
    float *draw = dy;

    if (ql_frame_has_norm(f, place)) {
        draw = ql_frame_take(f, n);
        memset(draw, 0, n * sizeof *draw);
        ql_frame_norm_bwd(f, place, draw, dy, s, raw);
        if (f->c->arch->norm_of_sum) {
            memcpy(dy, draw, n * sizeof *dy);
        }
    }
    ql_frame_linear_bwd(f, m, din, false, draw, s, in);
    ql_arena_reset(f->pass->scratch, mark);
}
