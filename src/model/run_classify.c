/* The head of a classifier, which sees the first token of each text:
 *
 *   p = tanh(Pooler x[first]);  z = Head p + bias */
#include <assert.h>
#include <string.h>

#include "src/base/rng.h"
#include "src/model/run_parts.h"
#include "src/op/classes.h"
#include "src/op/tanh.h"

/* What a pass over the head has in scratch. */
typedef struct top {
    size_t S, C, n;
    float *x, *p;   /* [S, C] first tokens; behind the pooler, then tanh */
    float *z;       /* [S, n] */
    float *d;       /* [S, C] gradient of p, then of x */
    int32_t *label; /* [S] */
    ql_linear_kept kept;
    void *work;
} top;

static size_t work_bytes(const ql_weights *w, size_t S)
{
    return ql_larger(ql_linear_work_bytes(&w->pooler, S),
                     ql_linear_work_bytes(&w->head, S));
}

size_t ql_run_classify_bytes(const ql_weights *w, size_t S)
{
    const size_t wide = ql_arena_piece(S * w->pooler.w.rows, sizeof(float));
    const bool dora = w->pooler.dora.m;

    return 3 * wide + ql_arena_piece(S * w->head.w.rows, sizeof(float)) +
           ql_arena_piece(S, sizeof(int32_t)) +
           ql_arena_piece(S * w->pooler.lora.r, sizeof(float)) +
           (dora ? wide : 0) + ql_arena_piece(work_bytes(w, S), 1);
}

static top open_top(ql_run *run, size_t S)
{
    const ql_weights *w = &run->m->weights;
    ql_arena *a = &run->scratch;
    top t = {.S = S, .C = w->pooler.w.rows, .n = w->head.w.rows};

    t.x = ql_arena_take(a, S * t.C, sizeof(float));
    t.p = ql_arena_take(a, S * t.C, sizeof(float));
    t.d = ql_arena_take(a, S * t.C, sizeof(float));
    t.z = ql_arena_take(a, S * t.n, sizeof(float));
    t.label = ql_arena_take(a, S, sizeof(int32_t));
    t.kept.xa = ql_arena_take(a, S * w->pooler.lora.r, sizeof(float));
    t.kept.u =
        w->pooler.dora.m ? ql_arena_take(a, S * t.C, sizeof(float)) : NULL;
    t.work = ql_arena_take(a, work_bytes(w, S), 1);
    return t;
}

/* Keys of blocks, head and noise are below. */
static ql_drop drop_of(const ql_run *run, const ql_pass *pass)
{
    return (ql_drop){
        .p = pass->dropout,
        .key = ql_rng_split(pass->key, run->m->config.layers * QL_MODULES + 2),
        .profile = pass->profile};
}

static const ql_linear_kept nothing = {0};

/* From run->norm to z. */
static void forward(const ql_run *run, const top *t, const ql_batch *b,
                    ql_drop drop)
{
    const ql_weights *w = &run->m->weights;

    for (size_t s = 0; s < t->S; s++) {
        memcpy(t->x + s * t->C, run->norm + b->start[s] * t->C,
               t->C * sizeof(float));
    }
    ql_linear_fwd(t->p, false, t->kept, t->x, &w->pooler, t->S, drop, t->work);
    for (size_t i = 0; i < t->S * t->C; i++) {
        t->p[i] = ql_tanh(t->p[i]);
    }
    ql_linear_fwd(t->z, false, nothing, t->p, &w->head, t->S,
                  (ql_drop){.profile = drop.profile}, t->work);
}

/* From the gradient of z, in its place, to that of run->norm, in run->dh. */
static void backward(ql_run *run, const top *t, const ql_batch *b, ql_drop drop)
{
    const ql_weights *w = &run->m->weights;

    ql_linear_bwd(t->d, false, t->z, t->p, nothing, &w->head, t->S,
                  (ql_drop){.profile = drop.profile}, t->work);
    for (size_t i = 0; i < t->S * t->C; i++) {
        t->d[i] *= 1 - t->p[i] * t->p[i];
    }
    ql_linear_bwd(t->p, false, t->d, t->x, t->kept, &w->pooler, t->S, drop,
                  t->work);
    memset(run->dh, 0, b->T * t->C * sizeof(float));
    for (size_t s = 0; s < t->S; s++) {
        memcpy(run->dh + b->start[s] * t->C, t->p + s * t->C,
               t->C * sizeof(float));
    }
}

void ql_run_classify(ql_run *run, const ql_batch *b, const ql_pass *pass,
                     const float *scale, ql_loss *sum)
{
    const size_t mark = ql_arena_mark(&run->scratch);
    const top t = open_top(run, b->sequences);
    const ql_drop drop = drop_of(run, pass);

    for (size_t s = 0; s < t.S; s++) {
        t.label[s] = b->target[b->start[s]];
        assert(t.label[s] >= 0 && (size_t)t.label[s] < t.n);
    }
    forward(run, &t, b, drop);
    ql_classes_loss(sum, scale ? t.z : NULL, t.z, t.label, t.S, t.n,
                    scale ? *scale : 0, run->table);
    if (scale) {
        backward(run, &t, b, drop);
    }
    ql_profile_mark(pass->profile, QL_WORK_OTHER);
    ql_arena_reset(&run->scratch, mark);
}

void ql_run_classes(ql_run *run, const ql_batch *batch, float *logits)
{
    const ql_pass pass = ql_run_begin(run, batch, NULL);
    const size_t mark = ql_arena_mark(&run->scratch);
    top t;

    ql_run_forward(run, batch, &pass, QL_STREAM_ROUND);
    t = open_top(run, batch->sequences);
    forward(run, &t, batch, drop_of(run, &pass));
    memcpy(logits, t.z, t.S * t.n * sizeof(float));
    ql_arena_reset(&run->scratch, mark);
}

void ql_run_count_classes(ql_run *run, size_t *table)
{
    run->table = table;
}
