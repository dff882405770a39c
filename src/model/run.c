/* The memory of a run is one arena for what is kept between forward and
 * backward and one for scratch, both sized when the run is opened.
 *
 * Kept are the inputs of all blocks, h[0] .. h[L], unless inputs.h has them,
 * and the activations of the last blocks, as many as opt says. The blocks
 * before them share one more set, which holds the activations of the block at
 * work: after the forward those of the last one that shares it; the forward of
 * each earlier block is repeated before its backward. That of a norm needs what
 * goes into it, so that where one is behind the feed-forward layer the product
 * before it would be repeated for nothing else: the first of these blocks, as
 * many as opt says, have a place of their own for what it gives. */
#include "src/model/run.h"

#include "src/base/fail.h"
#include "src/model/run_parts.h"
#include "src/op/dora.h"

size_t ql_run_kept_layers(const ql_run *run)
{
    const size_t all = run->m->config.layers;

    if (run->opt.bf16_inputs) {
        return 0;
    }
    return run->opt.keep_layers < all ? run->opt.keep_layers : all;
}

size_t ql_run_kept_outputs(const ql_run *run)
{
    const ql_config *c = &run->m->config;
    const size_t shared = c->layers - ql_run_kept_layers(run);
    const size_t repeated = shared > 0 ? shared - 1 : 0;
    const size_t n = run->opt.keep_outputs;

    if (run->opt.bf16_inputs || ql_config_norm(c, QL_NORM_MLP_OUT) == 0) {
        return 0;
    }
    return n < repeated ? n : repeated;
}

/* Floats that the norm behind a feed-forward layer keeps. */
static size_t output_stats(const ql_run *run)
{
    return ql_norm_stats(&run->m->weights.layers[0].norm[QL_NORM_MLP_OUT],
                         run->opt.max_tokens);
}

static size_t outputs_bytes(const ql_run *run)
{
    const size_t each = run->opt.max_tokens * run->m->config.C;

    return ql_run_kept_outputs(run) *
           (ql_arena_piece(each, sizeof(float)) +
            ql_arena_piece(output_stats(run), sizeof(float)));
}

static ql_inputs_options inputs_options(const ql_run *run)
{
    const ql_config *c = &run->m->config;
    const size_t n = run->opt.spill_layers;

    return (ql_inputs_options){.layers = c->layers,
                               .elements = run->opt.max_tokens * c->C,
                               .spilled = n < c->layers ? n : c->layers,
                               .bf16 = run->opt.bf16_inputs,
                               .dir = run->opt.spill_dir};
}

static bool are_apart(const ql_run *run)
{
    const ql_inputs_options opt = inputs_options(run);

    return run->opt.training && ql_inputs_apart(&opt);
}

static size_t sets(const ql_run *run)
{
    const size_t n = ql_run_kept_layers(run);

    return n < run->m->config.layers ? n + 1 : n;
}

/* Size of saved set i: that of one of the last blocks, or the shared one. */
static ql_saved_size size_of(const ql_run *run, size_t i)
{
    const ql_layer *layers = run->m->weights.layers;
    const size_t n = ql_run_kept_layers(run);
    const size_t shared = run->m->config.layers - n;
    const size_t T = run->opt.max_tokens;

    return i < n ? ql_saved_size_of(layers + shared + i, 1, T)
                 : ql_saved_size_of(layers, shared, T);
}

static size_t streams(const ql_run *run)
{
    return run->opt.training && !are_apart(run) ? run->m->config.layers + 1 : 1;
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
                                .softcap = c->score_cap,
                                .both_ways = c->arch->classifier};
}

/* Elements of a rope's inv_freq, and of each row of its tables. */
static size_t waves(const ql_run *run, int rope)
{
    return run->m->config.rope[rope].dim / 2;
}

/* Rows of those tables: one for each position, or for each token where each
 * sequence may have positions of its own. */
static size_t rows_of(const ql_run *run, int rope)
{
    const size_t T = run->opt.max_tokens;
    const size_t len = run->opt.max_length;
    bool own = false;

    for (int i = 0; i < QL_ROPES; i++) {
        const ql_rope_spec *spec = &run->m->config.rope[i];

        own = own || (spec->dim > 0 && ql_rope_phase(spec, len) != 0);
    }
    return own && waves(run, rope) > 0 && T > len ? T : len;
}

/* Floats that the norm of a classifier's embeddings keeps. */
static size_t raw_stats(const ql_run *run)
{
    return ql_norm_stats(&run->m->weights.embed_norm, run->opt.max_tokens);
}

static size_t kept_bytes(const ql_run *run)
{
    const ql_config *c = &run->m->config;
    const size_t T = run->opt.max_tokens;
    const size_t wide = ql_arena_piece(T * c->C, sizeof(float));
    const size_t stats = ql_norm_stats(&run->m->weights.final_norm, T);
    size_t bytes = (streams(run) + 2) * wide +
                   ql_arena_piece(stats, sizeof(float)) +
                   2 * ql_arena_piece(T, sizeof(uint32_t));

    if (are_apart(run)) {
        const ql_inputs_options in = inputs_options(run);

        bytes += ql_inputs_bytes(&in);
    }
    if (c->arch->classifier) {
        bytes += wide + ql_arena_piece(raw_stats(run), sizeof(float)) +
                 ql_arena_piece(T, sizeof(uint32_t));
    }
    for (size_t i = 0; i < sets(run); i++) {
        const ql_saved_size size = size_of(run, i);

        bytes += ql_saved_bytes(c, &size);
    }
    bytes += outputs_bytes(run);
    for (int i = 0; i < QL_ROPES; i++) {
        const size_t n = rows_of(run, i) * waves(run, i);

        bytes += ql_arena_piece(waves(run, i), sizeof(double)) +
                 2 * ql_arena_piece(n, sizeof(float));
    }
    return bytes;
}

/* Scratch of a linear layer in a run: with magnitudes, also for these. */
static size_t refresh_bytes(const ql_linear *lin)
{
    return lin->dora.m ? ql_dora_work_bytes(lin) : 0;
}

static size_t scratch_bytes(const ql_run *run)
{
    const size_t start[2] = {0, run->opt.max_tokens};
    const ql_config *c = &run->m->config;
    const ql_weights *w = &run->m->weights;
    const ql_attention_shape shape = largest_shape(run, start);
    const size_t T = run->opt.max_tokens;
    const size_t trained = run->opt.max_trained;
    const ql_linear embed = ql_embed_linear(&w->embed);
    size_t most = ql_loss_work_bytes(&w->head, trained > 0 ? trained : T);

    most = ql_larger(most, ql_run_head_bytes(&w->head, T));
    most = ql_larger(most, ql_embed_work_bytes(&w->embed, T));
    most = ql_larger(most, ql_embed_work_bytes(&w->position, T));
    most = ql_larger(most, ql_embed_work_bytes(&w->types, T));
    most = ql_larger(most, refresh_bytes(&w->head));
    most = ql_larger(most, refresh_bytes(&embed));
    if (c->arch->classifier) {
        most =
            ql_larger(most, ql_run_classify_bytes(w, run->opt.max_sequences));
        most = ql_larger(most, refresh_bytes(&w->pooler));
    }
    for (size_t i = 0; i < c->layers; i++) {
        most = ql_larger(most,
                         ql_block_scratch_bytes(c, &w->layers[i], i, &shape));
        for (int m = 0; m < QL_MODULES; m++) {
            most = ql_larger(most, refresh_bytes(&w->layers[i].linear[m]));
        }
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
        const ql_saved_size size = size_of(run, i);

        ql_saved_take(&run->saved[i], a, c, &size);
    }
    for (size_t i = 0; i < ql_run_kept_outputs(run); i++) {
        run->outputs[i].mlp = ql_arena_take(a, T * c->C, sizeof(float));
        run->outputs[i].stats =
            ql_arena_take(a, output_stats(run), sizeof(float));
    }
    run->norm = ql_arena_take(a, T * c->C, sizeof(float));
    run->dh = ql_arena_take(a, T * c->C, sizeof(float));
    run->stats = ql_arena_take(a, stats, sizeof(float));
    if (c->arch->classifier) {
        run->raw = ql_arena_take(a, T * c->C, sizeof(float));
        run->raw_stats = ql_arena_take(a, raw_stats(run), sizeof(float));
        run->type = ql_arena_take(a, T, sizeof(uint32_t));
    }
    run->pos = ql_arena_take(a, T, sizeof(uint32_t));
    run->row = ql_arena_take(a, T, sizeof(uint32_t));
    for (size_t t = 0; t < T; t++) {
        run->row[t] = (uint32_t)t;
    }
    for (int i = 0; i < QL_ROPES; i++) {
        const size_t n = rows_of(run, i) * waves(run, i);
        ql_run_table *t = &run->tables[i];

        t->inv_freq = ql_arena_take(a, waves(run, i), sizeof(double));
        t->cos = ql_arena_take(a, n, sizeof(float));
        t->sin = ql_arena_take(a, n, sizeof(float));
    }
}

/* What the adapter on the model asks for. */
static void look_at_adapter(ql_run *run)
{
    const ql_weights *w = &run->m->weights;

    run->lowest = w->n_layers;
    for (size_t i = w->n_layers; i-- > 0;) {
        for (int m = 0; m < QL_MODULES; m++) {
            const ql_linear *lin = &w->layers[i].linear[m];

            run->lowest = lin->lora.da || lin->trained ? i : run->lowest;
        }
        for (int p = 0; p < QL_NORMS; p++) {
            run->lowest = w->layers[i].norm[p].dw ? i : run->lowest;
        }
    }
    run->whole_way = ql_embed_trained(&w->embed) ||
                     ql_embed_trained(&w->position) ||
                     ql_embed_trained(&w->types) || w->embed_norm.dw;
    run->lowest = run->whole_way ? 0 : run->lowest;
}

/* Learned positions end. */
static ql_status check_length(const ql_model *m, size_t length)
{
    if (m->config.arch->names->position && length > m->config.max_position) {
        QL_FAIL(QL_EINVAL,
                "a sequence of %zu tokens, but the model has positions for "
                "%zu only; give --max-length %zu or less",
                length, m->config.max_position, m->config.max_position);
    }
    return QL_OK;
}

static void refresh(ql_run *run, const ql_linear *lin)
{
    const size_t mark = ql_arena_mark(&run->scratch);

    if (lin->dora.m) {
        ql_dora_refresh(
            lin, ql_arena_take(&run->scratch, ql_dora_work_bytes(lin), 1));
    }
    ql_arena_reset(&run->scratch, mark);
}

/* Once for a base, part by part: no more of it is in memory than one matrix
 * where there is a limit. */
static void prepare(ql_run *run, const ql_linear *lin)
{
    if (lin->dora.m) {
        ql_dora_prepare(lin);
        refresh(run, lin);
        if (run->opt.weight_memory > 0) {
            ql_stream_release(&run->m->weights, &lin->w);
        }
    }
}

/* Does something with each linear layer of part i of the weights. */
static void each_of(ql_run *run, size_t i,
                    void act(ql_run *run, const ql_linear *lin))
{
    const ql_weights *w = &run->m->weights;

    for (int m = 0; i < w->n_layers && m < QL_MODULES; m++) {
        act(run, &w->layers[i].linear[m]);
    }
    if (i == w->n_layers) {
        act(run, &w->head);
        act(run, &w->pooler);
    }
}

static void prepare_all(ql_run *run)
{
    const ql_weights *w = &run->m->weights;
    const ql_linear embed = ql_embed_linear(&w->embed);

    prepare(run, &embed);
    for (size_t i = 0; i <= w->n_layers; i++) {
        each_of(run, i, prepare);
    }
}

/* Only what is trained changes. */
static void refresh_trained(ql_run *run, const ql_linear *lin)
{
    if (lin->lora.da) {
        refresh(run, lin);
    }
}

void ql_run_refresh(ql_run *run, size_t i)
{
    each_of(run, i, refresh_trained);
}

void ql_run_refresh_embed(ql_run *run)
{
    const ql_linear embed = ql_embed_linear(&run->m->weights.embed);

    refresh_trained(run, &embed);
    if (run->stream && embed.dora.m) {
        ql_stream_release(&run->m->weights, &embed.w);
    }
}

ql_run_need ql_run_needs(const ql_model *m, const ql_run_options *opt)
{
    const ql_run run = {.m = m, .opt = *opt};
    const ql_inputs_options in = inputs_options(&run);
    const bool apart = are_apart(&run);

    return (ql_run_need){.kept = kept_bytes(&run) +
                                 (apart ? ql_inputs_buffers(&in) : 0),
                         .scratch = scratch_bytes(&run),
                         .file = apart ? ql_inputs_file(&in) : 0,
                         .outputs = ql_run_kept_outputs(&run)};
}

static ql_status open_inputs(ql_run *run)
{
    const ql_inputs_options in = inputs_options(run);

    run->apart = are_apart(run);
    return run->apart ? ql_inputs_init(&run->inputs, &in, &run->kept) : QL_OK;
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
    *run = (ql_run){.m = m, .opt = *opt};
    look_at_adapter(run);
    QL_TRY_DONE(check_length(m, opt->max_length));
    run->h = ql_calloc(QL_TAG_MISC, m->config.layers + 1, sizeof(*run->h));
    run->saved = ql_calloc(QL_TAG_MISC, m->config.layers, sizeof(*run->saved));
    run->outputs =
        ql_calloc(QL_TAG_MISC, m->config.layers, sizeof(*run->outputs));
    if (!run->h || !run->saved || !run->outputs) {
        st = QL_ENOMEM;
        goto done;
    }
    QL_TRY_DONE(ql_arena_init(&run->kept, QL_TAG_ACTIV, kept_bytes(run)));
    QL_TRY_DONE(ql_arena_init(&run->scratch, QL_TAG_WORK, scratch_bytes(run)));
    take_all(run);
    QL_TRY_DONE(open_inputs(run));
    prepare_all(run);
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
        ql_inputs_free(&(*run)->inputs);
        ql_arena_free(&(*run)->kept);
        ql_arena_free(&(*run)->scratch);
        ql_free((*run)->h);
        ql_free((*run)->saved);
        ql_free((*run)->outputs);
        ql_free(*run);
    }
    *run = NULL;
}
