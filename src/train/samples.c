#include "src/train/samples.h"

#include <math.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/clock.h"
#include "src/base/fail.h"
#include "src/base/json.h"
#include "src/gen/sampler.h"

enum {
    MAX_PROMPT = 256, /* tokens: longer ones are of little use to read */
    MAX_NEW = 64,
    MIN_NEW = 8,
    TEXT_PROMPT = 16, /* tokens of a text that are given */
    MAX_SECONDS = 10, /* for all prompts */
    MAX_TEXT = 1 << 20
};

static const char cut[] = " \xE2\x80\xA6"; /* an ellipsis */

/* Tokens of a record that are given. */
static size_t prompt_tokens(const ql_sample *r)
{
    size_t n = 1;

    while (n < r->n && !r->train[n]) {
        n++;
    }
    if (n > 1) {
        return n;
    }
    return r->n / 2 < TEXT_PROMPT ? r->n / 2 : TEXT_PROMPT;
}

/* Tokens from n on that are trained in one piece. */
static size_t answer_tokens(const ql_sample *r, size_t n)
{
    size_t end = n;

    while (end < r->n && r->train[end]) {
        end++;
    }
    return end - n;
}

/* The text that ids [from, n) add to those before. Owned: *text. */
static ql_status text_from(const ql_tokenizer *tok, const int32_t *ids,
                           size_t from, size_t n, bool more, char **text)
{
    ql_status st = QL_OK;
    char *all = NULL;
    char *old = NULL;
    size_t len;
    size_t same = 0;
    ql_buf b;

    ql_buf_init(&b, QL_TAG_MISC, MAX_TEXT);
    QL_TRY_DONE(ql_tokenizer_decode(tok, ids, n, true, &all, &len));
    QL_TRY_DONE(ql_tokenizer_decode(tok, ids, from, true, &old, &len));
    while (old[same] && old[same] == all[same]) {
        same++;
    }
    while (same > 0 && ((unsigned char)all[same] & 0xC0) == 0x80) {
        same--; /* within a character */
    }
    same += strspn(all + same, " \n");
    QL_TRY_DONE(ql_buf_puts(&b, all + same));
    QL_TRY_DONE(ql_buf_puts(&b, more ? cut : ""));
    *text = ql_buf_take(&b, NULL);
    st = *text ? QL_OK : QL_ENOMEM;
done:
    ql_free(all);
    ql_free(old);
    ql_buf_free(&b);
    return st;
}

static ql_status take(ql_sample_text *t, const ql_sample *r, size_t prompt,
                      const ql_tokenizer *tok)
{
    const size_t answer = answer_tokens(r, prompt);
    const size_t shown = answer < MAX_NEW ? answer : MAX_NEW;

    t->n = prompt;
    t->ids = ql_alloc(QL_TAG_MISC, prompt, sizeof(*t->ids));
    if (!t->ids) {
        return QL_ENOMEM;
    }
    memcpy(t->ids, r->ids, prompt * sizeof(*t->ids));
    QL_TRY(text_from(tok, r->ids, 0, prompt, false, &t->prompt));
    return text_from(tok, r->ids, prompt, prompt + shown, shown < answer,
                     &t->expected);
}

ql_status ql_samples_init(ql_samples *s, const ql_dataset *ds, size_t n,
                          const ql_tokenizer *tok, size_t max_tokens)
{
    ql_status st = QL_OK;

    *s = (ql_samples){.texts = ql_calloc(QL_TAG_MISC, n, sizeof(*s->texts))};
    if (!s->texts) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; st == QL_OK && s->n < n && i < ql_dataset_size(ds);
         i++) {
        const ql_sample r = ql_dataset_sample(ds, i);
        const size_t prompt = prompt_tokens(&r);

        if (prompt > 0 && prompt <= MAX_PROMPT &&
            prompt + MIN_NEW <= max_tokens) {
            st = take(&s->texts[s->n++], &r, prompt, tok);
        }
    }
    if (st != QL_OK) {
        ql_samples_free(s);
    }
    return st;
}

void ql_samples_free(ql_samples *s)
{
    for (size_t i = 0; i < s->n; i++) {
        ql_free(s->texts[i].ids);
        ql_free(s->texts[i].prompt);
        ql_free(s->texts[i].expected);
        ql_free(s->texts[i].before);
        ql_free(s->texts[i].after);
    }
    ql_free(s->texts);
    *s = (ql_samples){0};
}

/* What writing needs. */
typedef struct writer {
    ql_run *run;
    const ql_tokenizer *tok;
    size_t V;
    size_t max_tokens;
    float *logits; /* [V] */
    int32_t *ids;  /* [max_tokens] */
} writer;

/* The likeliest token after n; -1 when a logit is not finite. */
static int32_t next_token(const writer *w, size_t n)
{
    const size_t start[2] = {0, n};
    const size_t row = n - 1;
    const ql_batch batch = {
        .T = n, .sequences = 1, .start = start, .ids = w->ids};

    ql_run_logits(w->run, &batch, &row, 1, w->logits);
    for (size_t i = 0; i < w->V; i++) {
        if (!ql_tokenizer_token(w->tok, (int32_t)i)) {
            w->logits[i] = -INFINITY; /* rows that only pad the matrix */
        }
    }
    return ql_sampler_greedy(w->logits, w->V);
}

static ql_status write_one(const writer *w, const ql_sample_text *t,
                           double deadline, char **text)
{
    const size_t limit =
        t->n + MAX_NEW < w->max_tokens ? t->n + MAX_NEW : w->max_tokens;
    size_t n = t->n;

    memcpy(w->ids, t->ids, n * sizeof(*w->ids));
    while (n < limit && ql_now_s() < deadline) {
        const int32_t id = next_token(w, n);

        if (id < 0) {
            QL_FAIL(QL_ENUMERIC, "a logit is not finite");
        }
        if (id == ql_tokenizer_eos(w->tok)) {
            return text_from(w->tok, w->ids, t->n, n, false, text);
        }
        w->ids[n++] = id;
    }
    return text_from(w->tok, w->ids, t->n, n, true, text);
}

ql_status ql_samples_write(ql_samples *s, ql_run *run, size_t V,
                           const ql_tokenizer *tok, size_t max_tokens,
                           bool after)
{
    writer w = {.run = run,
                .tok = tok,
                .V = V,
                .max_tokens = max_tokens,
                .logits = ql_alloc(QL_TAG_WORK, V, sizeof(float)),
                .ids = ql_alloc(QL_TAG_WORK, max_tokens, sizeof(int32_t))};
    const double started = ql_now_s();
    ql_status st = w.logits && w.ids ? QL_OK : QL_ENOMEM;

    for (size_t i = 0; st == QL_OK && i < s->n; i++) {
        ql_sample_text *t = &s->texts[i];
        char **text = after ? &t->after : &t->before;

        ql_free(*text);
        *text = NULL;
        st = write_one(&w, t,
                       started + MAX_SECONDS * (double)(i + 1) / (double)s->n,
                       text);
    }
    ql_free(w.logits);
    ql_free(w.ids);
    return st;
}

static json_t *text_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

ql_status ql_samples_save(const ql_samples *s, const char *path)
{
    json_t *list = json_array();
    json_t *root = json_pack("{s:o}", "samples", list);
    ql_status st = root ? QL_OK : QL_ENOMEM;

    for (size_t i = 0; st == QL_OK && i < s->n; i++) {
        const ql_sample_text *t = &s->texts[i];
        json_t *one =
            json_pack("{s:o, s:o, s:o, s:o}", "prompt", text_or_null(t->prompt),
                      "expected", text_or_null(t->expected), "before",
                      text_or_null(t->before), "after", text_or_null(t->after));

        st = json_array_append_new(list, one) == 0 ? QL_OK : QL_ENOMEM;
    }
    if (st == QL_OK) {
        st = ql_json_save(root, true, path);
    }
    json_decref(root);
    return st;
}

static ql_status load_one(ql_sample_text *t, const json_t *o, const char *where)
{
    const char *prompt = "";
    const char *before = NULL;

    QL_TRY(ql_json_string(o, "prompt", where, &prompt));
    QL_TRY(ql_json_string(o, "before", where, &before));
    if (before && strcmp(prompt, t->prompt) == 0) {
        ql_free(t->before);
        t->before = ql_strdup(QL_TAG_MISC, before);
        return t->before ? QL_OK : QL_ENOMEM;
    }
    return QL_OK;
}

ql_status ql_samples_load(ql_samples *s, const char *path)
{
    json_t *root = NULL;
    ql_status st;

    QL_TRY(ql_json_load(&root, path, MAX_TEXT));
    st = QL_OK;
    for (size_t i = 0; st == QL_OK && i < s->n; i++) {
        st =
            load_one(&s->texts[i],
                     json_array_get(json_object_get(root, "samples"), i), path);
    }
    json_decref(root);
    return st;
}
