/* The prompt is read in passes of many tokens, then token by token what was
 * written; keys and values of both stay in a cache. */
#include "qlora/generate.h"

#include <math.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/fail.h"
#include "src/base/rng.h"
#include "src/gen/sampler.h"
#include "src/model/run.h"

enum {
    MAX_TEXT = 1 << 28,
    BATCH = 256 /* tokens of a pass over the prompt */
};

void ql_generate_options_init(ql_generate_options *opt)
{
    *opt = (ql_generate_options){
        .max_new_tokens = 128, .temperature = 0.7, .top_p = 0.9, .seed = 42};
}

/* One call of ql_generate. */
typedef struct writer {
    ql_model *m;
    const ql_tokenizer *tok;
    const ql_generate_options *opt;
    ql_run *run;
    ql_cache cache;
    int32_t *ids; /* [limit] prompt, then what was generated */
    size_t n, prompt, limit;
    float *logits; /* [V] */
    ql_candidate *scratch;
    size_t shown; /* bytes of the new text already handed out */
} writer;

static ql_status check_options(const ql_generate_options *o)
{
    if (!(o->temperature >= 0) || !(o->temperature <= 100)) {
        QL_FAIL(QL_EINVAL, "temperature %g: give a number from 0 to 100",
                o->temperature);
    }
    if (!(o->top_p > 0) || !(o->top_p <= 1)) {
        QL_FAIL(QL_EINVAL, "top-p %g: give a number above 0, at most 1",
                o->top_p);
    }
    if (o->max_new_tokens == 0) {
        QL_FAIL(QL_EINVAL, "max-new-tokens must be at least 1");
    }
    return QL_OK;
}

/* Checks the prompt's ids and makes room for the new ones. */
static ql_status take_prompt(writer *w, const char *prompt)
{
    const size_t most = w->m->config.max_position;
    int32_t *ids = NULL;

    QL_TRY(ql_tokenizer_encode(w->tok, prompt, strlen(prompt), true, &ids,
                               &w->prompt));
    w->ids = ids;
    w->n = w->prompt;
    if (w->n == 0) {
        QL_FAIL(QL_EINVAL, "the prompt is empty and the model has no token to "
                           "begin with; give some text");
    }
    if (w->n >= most) {
        QL_FAIL(QL_EINVAL,
                "the prompt has %zu tokens, but the model was made for %zu, "
                "new ones included; shorten it",
                w->n, most);
    }
    for (size_t i = 0; i < w->n; i++) {
        if ((size_t)ids[i] >= w->m->config.V) {
            QL_FAIL(QL_EMISMATCH,
                    "token id %d is beyond the model's vocabulary of %zu; the "
                    "tokenizer belongs to another model",
                    (int)ids[i], w->m->config.V);
        }
    }
    w->limit = w->opt->max_new_tokens < most - w->n
                   ? w->n + w->opt->max_new_tokens
                   : most;
    ids = ql_realloc(QL_TAG_DATA, w->ids, w->limit, sizeof(*ids));
    if (!ids) {
        return QL_ENOMEM;
    }
    w->ids = ids;
    return QL_OK;
}

static ql_status prepare(writer *w)
{
    const size_t V = w->m->config.V;
    const size_t batch = w->prompt < BATCH ? w->prompt : BATCH;
    const ql_run_options opt = {
        .max_tokens = batch, .max_length = batch, .max_sequences = 1};

    QL_TRY(ql_cache_init(&w->cache, &w->m->config, w->limit, batch));
    QL_TRY(ql_run_open(&w->run, w->m, &opt));

    w->logits = ql_alloc(QL_TAG_WORK, V, sizeof(*w->logits));
    w->scratch = ql_alloc(QL_TAG_WORK, V, sizeof(*w->scratch));
    return w->logits && w->scratch ? QL_OK : QL_ENOMEM;
}

/* Appends the next token; *end is set at the end token. */
static ql_status next_token(writer *w, bool *end)
{
    const size_t read = w->cache.n;
    int32_t id;

    QL_TRY(
        ql_run_feed(w->run, &w->cache, w->ids + read, w->n - read, w->logits));
    for (size_t i = 0; i < w->m->config.V; i++) {
        if (!ql_tokenizer_token(w->tok, (int32_t)i)) {
            w->logits[i] = -INFINITY; /* rows that only pad the matrix */
        }
    }
    id = ql_sampler_draw(w->logits, w->m->config.V, w->opt,
                         ql_rng_unit(w->opt->seed, w->n), w->scratch);
    if (id < 0) {
        QL_FAIL(QL_ENUMERIC, "a logit after token %zu is not finite", w->n);
    }
    *end = id == ql_tokenizer_eos(w->tok);
    if (!*end) {
        w->ids[w->n++] = id;
    }
    return QL_OK;
}

/* True for "<0x0A>" and the like. */
static bool is_byte(const char *token)
{
    return strlen(token) == 6 && memcmp(token, "<0x", 3) == 0;
}

/* Tokens whose text no further token can change: a run of bytes at the end,
 * across tokens that have no text, is a character or not as it goes on. */
static ql_status settled(const writer *w, size_t *n)
{
    *n = w->n;
    while (*n > w->prompt) {
        const int32_t *last = &w->ids[*n - 1];
        char *text;
        size_t len;

        QL_TRY(ql_tokenizer_decode(w->tok, last, 1, true, &text, &len));
        ql_free(text);
        if (len > 0 && !is_byte(ql_tokenizer_token(w->tok, *last))) {
            break;
        }
        (*n)--;
    }
    return QL_OK;
}

/* Length of text without a character that is not complete yet. */
static size_t complete(const char *text, size_t len)
{
    static const char partial[] = "\xEF\xBF\xBD";

    while (len >= 3 && memcmp(text + len - 3, partial, 3) == 0) {
        len -= 3;
    }
    return len;
}

/* Bytes of whole characters at the start that two texts share. */
static size_t shared(const char *a, const char *b)
{
    size_t n = 0;

    while (a[n] && a[n] == b[n]) {
        n++;
    }
    while (n > 0 && ((unsigned char)b[n] & 0xC0) == 0x80) {
        n--;
    }
    return n;
}

/* Hands out the new text as far as it is settled; at the end, all of it. */
static ql_status show(writer *w, bool last, ql_generate_fn *out, void *user,
                      ql_buf *text)
{
    ql_status st = QL_OK;
    char *all = NULL;
    char *old = NULL;
    size_t n = w->n;
    size_t len;
    size_t skip;
    size_t end;

    if (!last) {
        QL_TRY_DONE(settled(w, &n));
    }
    QL_TRY_DONE(ql_tokenizer_decode(w->tok, w->ids, n, true, &all, &len));
    QL_TRY_DONE(
        ql_tokenizer_decode(w->tok, w->ids, w->prompt, true, &old, &skip));
    end = last ? len : complete(all, len);
    skip = shared(old, all) + w->shown;
    if (end > skip) {
        w->shown += end - skip;
        QL_TRY_DONE(ql_buf_append(text, all + skip, end - skip));
        if (out && !out(all + skip, end - skip, user)) {
            st = ql_fail(QL_ECANCELLED, "stopped");
        }
    }
done:
    ql_free(all);
    ql_free(old);
    return st;
}

static ql_status write_text(writer *w, ql_generate_fn *out, void *user,
                            ql_buf *text)
{
    bool end = false;

    while (!end && w->n < w->limit) {
        QL_TRY(next_token(w, &end));
        QL_TRY(show(w, end || w->n == w->limit, out, user, text));
    }
    return ql_buf_puts(text, "");
}

ql_status ql_generate(ql_model *model, const ql_tokenizer *tok,
                      const char *prompt, const ql_generate_options *opt,
                      ql_generate_fn *out, void *user, char **text)
{
    writer w = {.m = model, .tok = tok, .opt = opt};
    ql_status st;
    ql_buf b;

    ql_buf_init(&b, QL_TAG_TEXT, MAX_TEXT);
    if (text) {
        *text = NULL;
    }
    QL_TRY_DONE(check_options(opt));
    QL_TRY_DONE(take_prompt(&w, prompt));
    QL_TRY_DONE(prepare(&w));
    QL_TRY_DONE(write_text(&w, out, user, &b));
    if (text) {
        *text = ql_buf_take(&b, NULL);
        st = *text ? QL_OK : QL_ENOMEM;
    }
done:
    ql_run_close(&w.run);
    ql_cache_free(&w.cache);
    ql_free(w.ids);
    ql_free(w.logits);
    ql_free(w.scratch);
    ql_buf_free(&b);
    return st;
}
