/* Passes over the next tokens of a text, behind those in a cache. The tables of
 * a run have only the rows of the tokens at hand then. */
#include <assert.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/model/run_parts.h"

static void prepare_table(ql_run *run, int rope, size_t length,
                          ql_rope_range range)
{
    const ql_rope_spec *spec = &run->m->config.rope[rope];
    const size_t phase = 1 + ql_rope_phase(spec, length);
    ql_run_table *t = &run->tables[rope];

    if (spec->dim == 0) {
        return;
    }
    if (t->phase != phase) {
        t->factor = ql_rope_frequencies(t->inv_freq, spec, length);
        t->phase = phase;
    }
    ql_rope_table(t->cos, t->sin, t->inv_freq, t->factor, spec->dim, range);
    t->length = 0;
}

/* One pass over tokens of a text that will have so many in the end. */
static ql_pass pass_over(ql_run *run, ql_cache *cache, const ql_batch *batch,
                         size_t length)
{
    const ql_rope_range range = {cache->n, batch->T};
    ql_pass pass = ql_run_pass(run, batch, NULL);

    for (int i = 0; i < QL_ROPES; i++) {
        prepare_table(run, i, length, range);
    }
    for (size_t t = 0; t < batch->T; t++) {
        run->pos[t] = (uint32_t)(cache->n + t);
    }
    pass.pos = run->row;
    pass.past = cache->past;
    ql_cache_shift(cache, batch->T);
    ql_run_forward(run, batch, &pass, QL_STREAM_ROUND);
    return pass;
}

/* Reads what cache->ids has from cache->n up to end. */
static ql_status feed_to(ql_run *run, ql_cache *cache, size_t end,
                         float *logits)
{
    const size_t C = run->m->config.C;
    size_t T;

    for (; cache->n < end; cache->n += T) {
        const size_t most = run->opt.max_tokens;
        size_t start[2] = {0};
        ql_batch batch = {
            .sequences = 1, .start = start, .ids = cache->ids + cache->n};
        ql_pass pass;

        if (run->opt.go_on && !run->opt.go_on(run->opt.user)) {
            QL_FAIL(QL_ECANCELLED, "stopped");
        }
        T = end - cache->n < most ? end - cache->n : most;
        start[1] = batch.T = T;
        pass = pass_over(run, cache, &batch, end);
        if (logits && cache->n + T == end) {
            memcpy(run->dh, run->norm + (T - 1) * C, C * sizeof(float));
            ql_run_head(run, &pass, 1, logits);
        }
    }
    return QL_OK;
}

/* Forgets keys that were turned otherwise than those of a text so long. */
static void keep_phase(ql_cache *cache, size_t length)
{
    for (int i = 0; i < QL_ROPES; i++) {
        const ql_rope_spec *spec = &cache->c->rope[i];
        const size_t phase = spec->dim > 0 ? ql_rope_phase(spec, length) : 0;

        if (cache->phase[i] != phase) {
            ql_cache_cut(cache, 0);
            cache->phase[i] = phase;
        }
    }
}

ql_status ql_run_feed(ql_run *run, ql_cache *cache, const int32_t *ids,
                      size_t n, float *logits)
{
    const size_t end = cache->n + n;

    assert(n > 0 && run->opt.max_length >= run->opt.max_tokens);
    assert(cache->batch >= run->opt.max_tokens);
    QL_TRY(ql_cache_reserve(cache, end));
    memcpy(cache->ids + cache->n, ids, n * sizeof(*ids));
    keep_phase(cache, end);
    return feed_to(run, cache, end, logits);
}
