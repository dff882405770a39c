/* Passes over a batch. The memory of a run is one arena for what is kept
 * between forward and backward and one for scratch, both sized when the run is
 * opened.
 *
 * Kept are the inputs of all blocks, h[0] .. h[L], and the activations of the
 * last blocks, as many as opt says. The blocks before them share one more set,
 * which holds the activations of the block at work: after the forward those of
 * the last one that shares it; the forward of each earlier block is repeated
 * before its backward. */
#include "src/model/run.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "quant/qgemm.h"
#include "src/base/fail.h"
#include "src/model/block.h"
#include "src/op/embed.h"
#include "src/op/norm.h"
#include "src/op/vec.h"

/* cos and sin of one of the model's ropes. */
typedef struct table {
    double *inv_freq; /* [dim / 2] */
    float *cos, *sin; /* [max_length, dim / 2] */
    size_t length;    /* the sequence length they are made for */
} table;

struct ql_run {
    const ql_model *m;
    ql_run_options opt;
    size_t r; /* of the adapter in use */
    ql_arena kept, scratch;
    float **h;       /* [L + 1] inputs of the blocks; all the same when not
                        training */
    ql_saved *saved; /* [sets]: of the last blocks, then the shared one */
    float *norm;     /* [T, C] output of the last norm */
    float *stats;    /* of the last norm */
    float *dh;       /* [T, C] gradient on its way down */
    uint32_t *pos;   /* [T] */
    table tables[QL_ROPES];
    ql_stream *stream; /* NULL: all weights stay in memory */
};

/* Blocks that keep their activations. */
static size_t kept_layers(const ql_run *run)
{
    const size_t all = run->m->config.layers;

    return run->opt.keep_layers < all ? run->opt.keep_layers : all;
}

static size_t sets(const ql_run *run)
{
    const size_t n = kept_layers(run);

    return n < run->m->config.layers ? n + 1 : n;
}

static size_t streams(const ql_run *run)
{
    return run->opt.training ? run->m->config.layers + 1 : 1;
}

/* The largest shape that attention will see. */
static ql_attention_shape largest_shape(const ql_run *run, const size_t *start)
{
    const ql_config *c = &run->m->config;

    return (ql_attention_shape){.T = run->opt.max_tokens,
                                .H = c->H,
                                .KV = c->KV,
                                .D = c->D,
                                .start = start,
                                .sequences = 1,
                                .softcap = c->score_cap};
}

/* Elements of a rope's inv_freq, and of each of its tables. */
static size_t waves(const ql_run *run, int rope)
{
    return run->m->config.rope[rope].dim / 2;
}

static size_t kept_bytes(const ql_run *run)
{
    const ql_config *c = &run->m->config;
    const size_t T = run->opt.max_tokens;
    const size_t wide = ql_arena_piece(T * c->C, sizeof(float));
    const size_t stats = ql_norm_stats(&run->m->weights.final_norm, T);
    size_t bytes = (streams(run) + 2) * wide +
                   sets(run) * ql_saved_bytes(c, T, run->r) +
                   ql_arena_piece(stats, sizeof(float)) +
                   ql_arena_piece(T, sizeof(uint32_t));

    for (int i = 0; i < QL_ROPES; i++) {
        const size_t n = run->opt.max_length * waves(run, i);

        bytes += ql_arena_piece(waves(run, i), sizeof(double)) +
                 2 * ql_arena_piece(n, sizeof(float));
    }
    return bytes;
}

static size_t scratch_bytes(const ql_run *run)
{
    const size_t start[2] = {0, run->opt.max_tokens};
    const ql_config *c = &run->m->config;
    const ql_attention_shape shape = largest_shape(run, start);
    const size_t T = run->opt.max_tokens;
    const ql_linear linear = {.w = run->m->weights.head};
    const size_t loss = ql_loss_work_bytes(&linear, T);
    const ql_term term = {.w = &run->m->weights.head};
    const size_t head = ql_qgemm_work_bytes(&term, 1, T);
    size_t most = loss > head ? loss : head;

    for (size_t i = 0; i < c->layers; i++) {
        const size_t block =
            ql_block_scratch_bytes(c, &run->m->weights.layers[i], i, &shape);

        most = block > most ? block : most;
    }
    return ql_arena_piece(most, 1);
}

static void take_all(ql_run *run)
{
    const ql_config *c = &run->m->config;
    const size_t T = run->opt.max_tokens;
    const size_t stats = ql_norm_stats(&run->m->weights.final_norm, T);
    ql_arena *a = &run->kept;

    for (size_t i = 0; i <= c->layers; i++) {
        run->h[i] = i < streams(run) ? ql_arena_take(a, T * c->C, sizeof(float))
                                     : run->h[0];
    }
    for (size_t i = 0; i < sets(run); i++) {
        ql_saved_take(&run->saved[i], a, c, T, run->r);
    }
    run->norm = ql_arena_take(a, T * c->C, sizeof(float));
    run->dh = ql_arena_take(a, T * c->C, sizeof(float));
    run->stats = ql_arena_take(a, stats, sizeof(float));
    run->pos = ql_arena_take(a, T, sizeof(uint32_t));
    for (int i = 0; i < QL_ROPES; i++) {
        const size_t n = run->opt.max_length * waves(run, i);
        table *t = &run->tables[i];

        t->inv_freq = ql_arena_take(a, waves(run, i), sizeof(double));
        t->cos = ql_arena_take(a, n, sizeof(float));
        t->sin = ql_arena_take(a, n, sizeof(float));
    }
}

/* Rank of the adapter on the model, 0 without one. */
static size_t adapter_rank(const ql_model *m)
{
    size_t r = 0;

    for (size_t i = 0; i < m->weights.n_layers; i++) {
        for (int j = 0; j < QL_MODULES; j++) {
            const size_t here = m->weights.layers[i].linear[j].lora.r;

            r = here > r ? here : r;
        }
    }
    return r;
}

ql_run_need ql_run_needs(const ql_model *m, const ql_run_options *opt, size_t r)
{
    const ql_run run = {.m = m, .opt = *opt, .r = r};

    return (ql_run_need){kept_bytes(&run), scratch_bytes(&run)};
}

ql_status ql_run_open(ql_run **out, const ql_model *m,
                      const ql_run_options *opt)
{
    ql_status st = QL_OK;
    ql_run *run = ql_calloc(QL_TAG_MISC, 1, sizeof(*run));

    *out = NULL;
    if (!run) {
        return QL_ENOMEM;
    }
    *run = (ql_run){.m = m, .opt = *opt, .r = adapter_rank(m)};
    run->h = ql_calloc(QL_TAG_MISC, m->config.layers + 1, sizeof(*run->h));
    run->saved = ql_calloc(QL_TAG_MISC, m->config.layers, sizeof(*run->saved));
    if (!run->h || !run->saved) {
        st = QL_ENOMEM;
        goto done;
    }
    QL_TRY_DONE(ql_arena_init(&run->kept, QL_TAG_ACTIV, kept_bytes(run)));
    QL_TRY_DONE(ql_arena_init(&run->scratch, QL_TAG_WORK, scratch_bytes(run)));
    take_all(run);
    QL_TRY_DONE(
        ql_stream_open(&run->stream, &m->weights,
                       opt->weight_memory > 0 ? opt->weight_memory : SIZE_MAX));
    *out = run;
    run = NULL;
done:
    ql_run_close(&run);
    return st;
}

void ql_run_close(ql_run **run)
{
    if (*run) {
        ql_stream_close(&(*run)->stream);
        ql_arena_free(&(*run)->kept);
        ql_arena_free(&(*run)->scratch);
        ql_free((*run)->h);
        ql_free((*run)->saved);
        ql_free(*run);
    }
    *run = NULL;
}

/* The tables of a rope, when this batch needs other ones. */
static void prepare_table(ql_run *run, int rope, size_t longest)
{
    const ql_rope_spec *spec = &run->m->config.rope[rope];
    const size_t want =
        ql_rope_depends_on_length(spec) ? longest : run->opt.max_length;
    table *t = &run->tables[rope];

    if (spec->dim > 0 && t->length != want) {
        const double factor = ql_rope_frequencies(t->inv_freq, spec, want);

        ql_rope_table(t->cos, t->sin, t->inv_freq, factor, spec->dim, want);
        t->length = want;
    }
}

static void prepare_positions(ql_run *run, const ql_batch *b)
{
    size_t longest = 0;

    for (size_t s = 0; s < b->sequences; s++) {
        const size_t len = b->start[s + 1] - b->start[s];

        longest = len > longest ? len : longest;
        for (size_t t = 0; t < len; t++) {
            run->pos[b->start[s] + t] = (uint32_t)t;
        }
    }
    assert(longest <= run->opt.max_length);
    for (int i = 0; i < QL_ROPES; i++) {
        prepare_table(run, i, longest);
    }
}

static ql_pass make_pass(ql_run *run, const ql_batch *b,
                         const ql_run_train *train)
{
    const ql_config *c = &run->m->config;

    return (ql_pass){
        .c = c,
        .shape = {.T = b->T,
                  .H = c->H,
                  .KV = c->KV,
                  .D = c->D,
                  .start = b->start,
                  .sequences = b->sequences,
                  .scale = c->score_scale,
                  .softcap = c->score_cap},
        .pos = run->pos,
        .turns = {{run->tables[0].cos, run->tables[0].sin},
                  {run->tables[1].cos, run->tables[1].sin}},
        .dropout = train ? train->dropout : 0,
        .key = train ? train->key : 0,
        .scratch = &run->scratch,
        .profile = run->opt.profile,
    };
}

static ql_saved *saved_of(const ql_run *run, size_t layer)
{
    const size_t n = kept_layers(run);
    const size_t first = run->m->config.layers - n;

    return &run->saved[layer < first ? n : layer - first];
}

/* Everything below the head; the output of the last norm is in run->norm. */
static void forward(ql_run *run, const ql_batch *b, const ql_pass *pass,
                    ql_stream_way way)
{
    const ql_model *m = run->m;
    const ql_config *c = &m->config;

    assert(b->T <= run->opt.max_tokens);
    ql_embed_fwd(run->h[0], b->ids, &m->weights.embed, c->embed_scale, b->T);
    for (size_t i = 0; i < c->layers; i++) {
        ql_stream_enter(run->stream, i, way);
        ql_block_fwd(run->h[i + 1], saved_of(run, i), run->h[i],
                     &m->weights.layers[i], i, pass);
    }
    ql_profile_mark(pass->profile, QL_WORK_NORM);
    ql_norm_fwd(run->norm, run->stats, run->h[c->layers],
                &m->weights.final_norm, b->T);
    ql_profile_mark(pass->profile, QL_WORK_OTHER);
    ql_stream_enter(run->stream, c->layers, way);
}

/* From the gradient of run->norm in dnorm down to the first block. */
static void backward(ql_run *run, const float *dnorm, const ql_pass *pass)
{
    const ql_model *m = run->m;
    const ql_config *c = &m->config;
    const size_t shared = c->layers - kept_layers(run);

    memset(run->dh, 0, pass->shape.T * c->C * sizeof(float));
    ql_profile_mark(pass->profile, QL_WORK_NORM);
    ql_norm_bwd(run->dh, NULL, NULL, dnorm, run->h[c->layers], run->stats,
                &m->weights.final_norm, pass->shape.T);
    for (size_t i = c->layers; i-- > 0;) {
        const ql_layer *layer = &m->weights.layers[i];
        ql_saved *s = saved_of(run, i);

        ql_stream_enter(run->stream, i, QL_STREAM_DOWN);
        if (i + 1 < shared) {
            ql_block_fwd(NULL, s, run->h[i], layer, i, pass);
        }
        ql_block_bwd(run->dh, s, run->h[i], layer, i, i > 0, pass);
    }
}

void ql_run_loss(ql_run *run, const ql_batch *batch, const ql_run_train *train,
                 ql_loss *sum)
{
    const ql_linear head = {.w = run->m->weights.head};
    const ql_drop drop = {.profile = run->opt.profile};
    ql_pass pass;
    const size_t mark = ql_arena_mark(&run->scratch);
    void *work;

    prepare_positions(run, batch);
    pass = make_pass(run, batch, train);
    forward(run, batch, &pass, train ? QL_STREAM_UP : QL_STREAM_ROUND);
    work = ql_arena_take(&run->scratch, run->scratch.size - mark, 1);
    ql_loss_head(sum, train ? run->dh : NULL, run->norm, batch->target, &head,
                 run->m->config.logit_cap, batch->T, train ? train->scale : 0,
                 drop, work);
    ql_profile_mark(run->opt.profile, QL_WORK_OTHER);
    ql_arena_reset(&run->scratch, mark);
    if (train) {
        memcpy(run->norm, run->dh, batch->T * run->m->config.C * sizeof(float));
        backward(run, run->norm, &pass);
    }
}

size_t ql_run_bad_block(const ql_run *run, const ql_batch *batch)
{
    const size_t layers = run->m->config.layers;
    const size_t n = batch->T * run->m->config.C;
    size_t i = 0;

    while (i <= layers && isfinite(ql_vec_sumsq(run->h[i], n))) {
        i++;
    }
    return i <= layers ? i : SIZE_MAX;
}

void ql_run_logits(ql_run *run, const ql_batch *batch, const size_t *rows,
                   size_t n, float *logits)
{
    const ql_qtensor *head = &run->m->weights.head;
    const ql_term term = {.in = run->dh, .w = head};
    const size_t C = head->cols;
    const ql_pass pass = make_pass(run, batch, NULL);

    prepare_positions(run, batch);
    forward(run, batch, &pass, QL_STREAM_ROUND);
    for (size_t i = 0; i < n; i++) {
        memcpy(run->dh + i * C, run->norm + rows[i] * C, C * sizeof(float));
    }
    ql_qgemm_fwd(logits, &term, 1, n, false, run->scratch.data);
    if (run->m->config.logit_cap > 0) {
        ql_vec_softcap(logits, n * head->rows, run->m->config.logit_cap);
    }
}

ql_stream_use ql_run_streamed(ql_run *run)
{
    return ql_stream_used(run->stream);
}
