/* Token by token: what is read goes through the model, its logits through the
 * sampler, and the token, as text, to the caller. */
#include <math.h>
#include <string.h>

#include "src/base/clock.h"
#include "src/base/fail.h"
#include "src/base/rng.h"
#include "src/gen/generator_parts.h"
#include "src/gen/shown.h"

/* One text. */
typedef struct writer {
    ql_generator *g;
    int32_t *ids; /* [limit] prompt, then what was written */
    size_t n, prompt, limit;
    uint64_t key; /* of random numbers */
    ql_shown shown;
    ql_generate_end end;
} writer;

static ql_status check_prompt(const ql_generator *g, const int32_t *ids,
                              size_t n)
{
    const size_t made_for = g->m->config.max_position;

    if (n == 0) {
        QL_FAIL(QL_EINVAL, "the prompt is empty and the model has no token to "
                           "begin with; give some text");
    }
    if (n >= made_for) {
        QL_FAIL(QL_EINVAL,
                "the prompt has %zu tokens, but the model was made for %zu, "
                "new ones included; shorten it",
                n, made_for);
    }
    if (n >= g->context) {
        QL_FAIL(QL_EINVAL,
                "the prompt has %zu tokens, but the context is to have %zu, "
                "new ones included; shorten it or allow more",
                n, g->context);
    }
    for (size_t i = 0; i < n; i++) {
        if ((size_t)ids[i] >= g->m->config.V) {
            QL_FAIL(QL_EMISMATCH,
                    "token id %d is beyond the model's vocabulary of %zu; the "
                    "tokenizer belongs to another model",
                    (int)ids[i], g->m->config.V);
        }
    }
    return QL_OK;
}

/* The prompt's ids, with room for the new ones. */
static ql_status take_prompt(writer *w, const int32_t *ids, size_t n)
{
    const size_t most = w->g->context;

    QL_TRY(check_prompt(w->g, ids, n));
    w->n = w->prompt = n;
    w->limit =
        w->g->o.max_new_tokens < most - n ? n + w->g->o.max_new_tokens : most;
    w->ids = ql_alloc(QL_TAG_DATA, w->limit, sizeof(*ids));
    if (!w->ids) {
        return QL_ENOMEM;
    }
    memcpy(w->ids, ids, n * sizeof(*ids));
    memset(w->g->sampler.seen, 0, w->g->sampler.V);
    for (size_t i = 0; i < n; i++) {
        w->g->sampler.seen[ids[i]] = 1;
    }
    return ql_shown_init(&w->shown, w->g->tok, &w->g->o, ids, n);
}

/* Texts of one prompt differ; the first one is that of the seed. */
static uint64_t key_of(const ql_generator *g)
{
    return g->texts == 0 ? g->o.seed : ql_rng_split(g->o.seed, g->texts);
}

/* Forgets what differs from the prompt; its last token is read in any case.
 * Returns how many tokens are left. */
static size_t reuse(const writer *w)
{
    ql_cache *c = &w->g->cache;
    size_t same = 0;

    while (same < c->n && same + 1 < w->prompt &&
           c->ids[same] == w->ids[same]) {
        same++;
    }
    return ql_cache_cut(c, same);
}

/* Reads what was not read yet, and appends the next token or sets w->end. */
static ql_status next_token(writer *w)
{
    ql_generator *g = w->g;
    const size_t read = g->cache.n;
    int32_t id;

    QL_TRY(
        ql_run_feed(g->run, &g->cache, w->ids + read, w->n - read, g->logits));
    for (size_t i = 0; i < g->ends.n_holes; i++) {
        g->logits[g->ends.holes[i]] = -INFINITY;
    }
    ql_sampler_penalize(&g->sampler, g->logits, g->o.repetition_penalty);
    id = ql_sampler_draw(&g->sampler, g->logits, &g->o,
                         ql_rng_unit(w->key, w->n));
    if (id < 0) {
        QL_FAIL(QL_ENUMERIC, "a logit after token %zu is not finite", w->n);
    }
    if (id == g->end || ql_ends_has(&g->ends, id)) {
        w->end = QL_END_TOKEN;
        return QL_OK;
    }
    g->sampler.seen[id] = 1;
    w->ids[w->n++] = id;
    w->end = w->n == w->limit ? QL_END_LENGTH : QL_END_NONE;
    return QL_OK;
}

static ql_status hand_out(const ql_generator *g, const char *piece, size_t len)
{
    if (len > 0 && g->out && !g->out(piece, len, g->user)) {
        QL_FAIL(QL_ECANCELLED, "stopped");
    }
    return QL_OK;
}

/* What the prompt has of the text; no stop text is looked for there. */
static ql_status show_opened(writer *w)
{
    const ql_generator *g = w->g;

    QL_TRY(ql_buf_puts(&w->shown.text, g->opens));
    w->shown.given = w->shown.text.len;
    return hand_out(g, g->opens, strlen(g->opens));
}

/* Hands out the new text as far as it is settled; at the end, all of it. */
static ql_status show(writer *w)
{
    const char *piece;
    size_t len;
    ql_status st;

    QL_TRY(ql_shown_take(&w->shown, w->ids, w->n, w->end != QL_END_NONE, &piece,
                         &len));
    w->end = w->shown.stopped ? QL_END_STOP : w->end;
    st = hand_out(w->g, piece, len);
    w->end = st == QL_OK ? w->end : QL_END_NONE;
    return st;
}

static ql_status write_text(writer *w, ql_generated *r)
{
    const double start = ql_now_s();
    double first = start;
    ql_status st = show_opened(w);

    while (st == QL_OK && w->end == QL_END_NONE) {
        st = next_token(w);
        first = first > start ? first : ql_now_s();
        st = st == QL_OK ? show(w) : st;
    }
    r->prompt_s = first - start;
    r->text_s = ql_now_s() - first;
    r->new_tokens = w->n - w->prompt;
    r->end = w->end;
    return st;
}

/* Hands over the text, complete or stopped; the status stays the same. */
static ql_status take_text(writer *w, ql_generated *r, ql_status st)
{
    if (st == QL_OK || st == QL_ECANCELLED) {
        r->text =
            ql_strndup(QL_TAG_TEXT, w->shown.text.data, w->shown.text.len);
        st = r->text ? st : QL_ENOMEM;
    }
    return st;
}

ql_status ql_generator_write(ql_generator *g, const int32_t *ids, size_t n,
                             ql_generated *r)
{
    writer w = {.g = g, .key = key_of(g)};
    ql_status st;

    g->texts++;
    QL_TRY_DONE(take_prompt(&w, ids, n));
    r->prompt_tokens = n;
    r->reused_tokens = reuse(&w);
    st = take_text(&w, r, write_text(&w, r));
    r->ids = r->text ? w.ids : NULL;
done:
    ql_shown_free(&w.shown);
    ql_free(g->ids);
    g->ids = w.ids;
    return st;
}
