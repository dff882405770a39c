/* Passes over a batch. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "src/base/rng.h"
#include "src/model/run_parts.h"
#include "src/op/vec.h"

/* The tables of a rope, when this batch needs other ones. */
static void prepare_table(ql_run *run, int rope, size_t longest)
{
    const ql_rope_spec *spec = &run->m->config.rope[rope];
    const size_t want =
        ql_rope_depends_on_length(spec) ? longest : run->opt.max_length;
    ql_run_table *t = &run->tables[rope];

    if (spec->dim > 0 && t->length != want) {
        const double factor = ql_rope_frequencies(t->inv_freq, spec, want);

        ql_rope_table(t->cos, t->sin, t->inv_freq, factor, spec->dim,
                      (ql_rope_range){0, want});
        t->length = want;
        t->phase = 0;
    }
}

/* True if positions are turned otherwise in some sequences than in others,
 * because the model turns by the length of a text. */
static bool turn_otherwise(const ql_run *run, const ql_batch *b)
{
    for (int i = 0; i < QL_ROPES; i++) {
        const ql_rope_spec *spec = &run->m->config.rope[i];

        for (size_t s = 1; spec->dim > 0 && s < b->sequences; s++) {
            const size_t len = b->start[s + 1] - b->start[s];

            if (ql_rope_phase(spec, len) !=
                ql_rope_phase(spec, b->start[1] - b->start[0])) {
                return true;
            }
        }
    }
    return false;
}

/* The tables of a rope with a row for each token, so that each sequence is
 * turned as it is by itself, whatever it shares the batch with. */
static void prepare_rows(ql_run *run, int rope, const ql_batch *b)
{
    const ql_rope_spec *spec = &run->m->config.rope[rope];
    const size_t half = spec->dim / 2;
    ql_run_table *t = &run->tables[rope];

    for (size_t s = 0; spec->dim > 0 && s < b->sequences; s++) {
        const size_t at = b->start[s];
        const size_t len = b->start[s + 1] - at;
        const double factor = ql_rope_frequencies(t->inv_freq, spec, len);

        ql_rope_table(t->cos + at * half, t->sin + at * half, t->inv_freq,
                      factor, spec->dim, (ql_rope_range){0, len});
    }
    t->length = 0;
    t->phase = 0;
}

static void prepare_positions(ql_run *run, const ql_batch *b)
{
    const bool each = turn_otherwise(run, b);
    size_t longest = 0;

    for (size_t s = 0; s < b->sequences; s++) {
        const size_t len = b->start[s + 1] - b->start[s];

        longest = len > longest ? len : longest;
        for (size_t t = 0; t < len; t++) {
            run->pos[b->start[s] + t] = (uint32_t)t;
        }
    }
    assert(longest <= run->opt.max_length);
    run->turn = each ? run->row : run->pos;
    for (int i = 0; i < QL_ROPES; i++) {
        if (each) {
            prepare_rows(run, i, b);
        } else {
            prepare_table(run, i, longest);
        }
    }
}

ql_pass ql_run_pass(ql_run *run, const ql_batch *b, const ql_run_train *train)
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
                  .softcap = c->score_cap,
                  .both_ways = c->arch->classifier},
        .pos = run->turn,
        .turns = {{run->tables[0].cos, run->tables[0].sin},
                  {run->tables[1].cos, run->tables[1].sin}},
        .dropout = train ? train->dropout : 0,
        .noise = train ? train->noise : 0,
        .key = train ? train->key : 0,
        .scratch = &run->scratch,
        .profile = run->opt.profile,
    };
}

ql_pass ql_run_begin(ql_run *run, const ql_batch *b, const ql_run_train *train)
{
    prepare_positions(run, b);
    return ql_run_pass(run, b, train);
}

static ql_saved saved_of(const ql_run *run, size_t layer)
{
    const size_t n = ql_run_kept_layers(run);
    const size_t first = run->m->config.layers - n;
    ql_saved s = run->saved[layer < first ? n : layer - first];

    if (layer < ql_run_kept_outputs(run)) {
        s.mlp = run->outputs[layer].mlp;
        s.stats[QL_NORM_MLP_OUT] = run->outputs[layer].stats;
        s.has_mlp = true;
    }
    return s;
}

/* Types of tokens, and the norm behind all that makes up an embedding x. */
static void embed_classifier(ql_run *run, const ql_batch *b, float *x)
{
    const ql_weights *w = &run->m->weights;

    for (size_t t = 0; t < b->T; t++) {
        run->type[t] = b->type ? b->type[t] : 0;
    }
    ql_embed_add(x, run->type, &w->types.w, b->T);
    ql_norm_fwd(run->h[0], run->raw_stats, x, &w->embed_norm, b->T);
}

/* What goes into the first block. Keys of blocks and head are below that of
 * the noise. */
static void embed(ql_run *run, const ql_batch *b, const ql_pass *pass)
{
    const ql_model *m = run->m;
    const ql_config *c = &m->config;
    float *x = c->arch->classifier ? run->raw : run->h[0];

    ql_embed_fwd(x, b->ids, &m->weights.embed, b->T, run->scratch.data);
    if (pass->noise > 0) {
        const float by = c->arch->scaled_apart ? c->embed_scale : 1;

        ql_embed_noise(x, b->start, b->sequences, c->C, by * pass->noise,
                       ql_rng_split(pass->key, c->layers * QL_MODULES + 1));
    }
    if (c->arch->names->position) {
        ql_embed_add(x, run->pos, &m->weights.position.w, b->T);
    }
    if (c->arch->classifier) {
        embed_classifier(run, b, x);
    }
}

/* Part i of the weights is needed now. */
static void enter(ql_run *run, size_t i, ql_stream_way way)
{
    ql_profile_mark(run->opt.profile, QL_WORK_PAGING);
    ql_stream_enter(run->stream, i, way);
    ql_profile_mark(run->opt.profile, QL_WORK_OTHER);
}

void ql_run_forward(ql_run *run, const ql_batch *b, const ql_pass *pass,
                    ql_stream_way way)
{
    const ql_model *m = run->m;
    const ql_config *c = &m->config;

    assert(b->T <= run->opt.max_tokens);
    ql_run_refresh_embed(run);
    embed(run, b, pass);
    for (size_t i = 0; i < c->layers; i++) {
        ql_saved s = saved_of(run, i);

        enter(run, i, way);
        ql_run_refresh(run, i);
        if (run->apart && way == QL_STREAM_UP) {
            ql_profile_mark(pass->profile, QL_WORK_PAGING);
            ql_inputs_put(&run->inputs, i, run->h[i], b->T * c->C);
            ql_profile_mark(pass->profile, QL_WORK_OTHER);
        }
        ql_block_fwd(run->h[i + 1], &s, run->h[i], &m->weights.layers[i], i,
                     pass);
    }
    ql_profile_mark(pass->profile, QL_WORK_NORM);
    if (m->weights.final_norm.w) {
        ql_norm_fwd(run->norm, run->stats, run->h[c->layers],
                    &m->weights.final_norm, b->T);
    } else {
        memcpy(run->norm, run->h[c->layers], b->T * c->C * sizeof(float));
    }
    ql_profile_mark(pass->profile, QL_WORK_OTHER);
    enter(run, c->layers, way);
    ql_run_refresh(run, c->layers);
}

/* The input of block i, as it was kept. */
static const float *input_of(ql_run *run, size_t i, size_t T)
{
    const float *x = run->h[i];

    if (run->apart && i < run->m->config.layers) {
        ql_profile_mark(run->opt.profile, QL_WORK_PAGING);
        x = ql_inputs_get(&run->inputs, i, T * run->m->config.C);
        ql_profile_mark(run->opt.profile, QL_WORK_OTHER);
    }
    return x;
}

/* The gradient of run->norm, in run->dh, becomes that of the last block. */
static void backward_norm(ql_run *run, const ql_pass *pass)
{
    const ql_model *m = run->m;
    const size_t n = pass->shape.T * m->config.C;

    memcpy(run->norm, run->dh, n * sizeof(float));
    memset(run->dh, 0, n * sizeof(float));
    ql_profile_mark(pass->profile, QL_WORK_NORM);
    ql_norm_bwd(run->dh, run->norm, run->h[m->config.layers], run->stats,
                &m->weights.final_norm, pass->shape.T);
}

/* From the gradient of the first block's input, in run->dh. */
static void backward_embed(ql_run *run, const ql_batch *b)
{
    const ql_weights *w = &run->m->weights;
    float *dx = run->dh;

    if (!run->whole_way) {
        return;
    }
    if (w->embed_norm.w) {
        dx = run->norm;
        memset(dx, 0, b->T * w->embed_norm.C * sizeof(float));
        ql_norm_bwd(dx, run->dh, run->raw, run->raw_stats, &w->embed_norm,
                    b->T);
    }
    if (ql_embed_trained(&w->embed)) {
        ql_embed_bwd(dx, b->ids, &w->embed, b->T, run->scratch.data);
    }
    if (ql_embed_trained(&w->position)) {
        ql_embed_bwd(dx, (const int32_t *)run->pos, &w->position, b->T,
                     run->scratch.data);
    }
    if (ql_embed_trained(&w->types)) {
        ql_embed_bwd(dx, (const int32_t *)run->type, &w->types, b->T,
                     run->scratch.data);
    }
}

/* From the gradient of run->norm, in run->dh, down to what is trained
 * lowest. */
static void backward(ql_run *run, const ql_batch *b, const ql_pass *pass)
{
    const ql_model *m = run->m;
    const ql_config *c = &m->config;
    const size_t shared = c->layers - ql_run_kept_layers(run);

    if (run->lowest == c->layers && !m->weights.final_norm.dw) {
        return;
    }
    if (m->weights.final_norm.w) {
        backward_norm(run, pass);
    }
    for (size_t i = c->layers; i-- > run->lowest;) {
        const ql_layer *layer = &m->weights.layers[i];
        const float *x = input_of(run, i, b->T);
        ql_saved s = saved_of(run, i);

        enter(run, i, QL_STREAM_DOWN);
        if (i + 1 < shared) {
            ql_block_fwd(NULL, &s, x, layer, i, pass);
        }
        ql_block_bwd(run->dh, &s, x, layer, i,
                     i > run->lowest || run->whole_way ||
                         layer->norm[QL_NORM_ATTN_IN].dw,
                     pass);
    }
    backward_embed(run, b);
}

/* Dropout before the head's pair: a key beside those of the blocks. */
static ql_drop head_drop(const ql_run *run, const ql_pass *pass)
{
    return (ql_drop){
        .p = pass->dropout,
        .key = ql_rng_split(pass->key, run->m->config.layers * QL_MODULES),
        .profile = pass->profile};
}

void ql_run_loss(ql_run *run, const ql_batch *batch, const ql_run_train *train,
                 ql_loss *sum)
{
    const ql_pass pass = ql_run_begin(run, batch, train);

    ql_run_forward(run, batch, &pass, train ? QL_STREAM_UP : QL_STREAM_ROUND);
    if (run->m->config.arch->classifier) {
        ql_run_classify(run, batch, &pass, train ? &train->scale : NULL, sum);
    } else {
        ql_loss_head(sum, train ? run->dh : NULL, run->norm, batch->target,
                     &run->m->weights.head, run->m->config.logit_cap, batch->T,
                     train ? train->scale : 0, head_drop(run, &pass),
                     run->scratch.data);
    }
    ql_profile_mark(run->opt.profile, QL_WORK_OTHER);
    if (train) {
        backward(run, batch, &pass);
    }
}

/* Pieces of scratch behind which the head's products work: [xa][u]. */
static size_t head_piece(const ql_linear *head, size_t T)
{
    return ql_arena_piece(T * head->lora.r, sizeof(float));
}

static size_t head_scaled(const ql_linear *head, size_t T)
{
    return head->dora.m ? ql_arena_piece(T * head->w.rows, sizeof(float)) : 0;
}

size_t ql_run_head_bytes(const ql_linear *head, size_t T)
{
    return head_piece(head, T) + head_scaled(head, T) +
           ql_linear_fwd_work_bytes(head, T);
}

void ql_run_head(ql_run *run, const ql_pass *pass, size_t n, float *logits)
{
    const ql_linear *head = &run->m->weights.head;
    char *work = run->scratch.data;
    char *u = work + head_piece(head, n);
    const ql_linear_kept kept = {(float *)(void *)work, (float *)(void *)u};

    ql_linear_fwd(logits, false, kept, run->dh, head, n, head_drop(run, pass),
                  u + head_scaled(head, n));
    if (run->m->config.logit_cap > 0) {
        ql_vec_softcap(logits, n * head->w.rows, run->m->config.logit_cap);
    }
}

void ql_run_logits(ql_run *run, const ql_batch *batch, const size_t *rows,
                   size_t n, float *logits)
{
    const size_t C = run->m->config.C;
    const ql_pass pass = ql_run_begin(run, batch, NULL);

    ql_run_forward(run, batch, &pass, QL_STREAM_ROUND);
    for (size_t i = 0; i < n; i++) {
        memcpy(run->dh + i * C, run->norm + rows[i] * C, C * sizeof(float));
    }
    ql_run_head(run, &pass, n, logits);
}

ql_stream_use ql_run_streamed(ql_run *run)
{
    return ql_stream_used(run->stream);
}

ql_status ql_run_check(ql_run *run)
{
    return ql_inputs_check(&run->inputs);
}

size_t ql_run_bad_block(ql_run *run, const ql_batch *batch)
{
    const size_t layers = run->m->config.layers;
    const size_t n = batch->T * run->m->config.C;
    size_t i = 0;

    while (i <= layers &&
           isfinite(ql_vec_sumsq(input_of(run, i, batch->T), n))) {
        i++;
    }
    return i <= layers ? i : SIZE_MAX;
}
