/* The prompt is read in passes of many tokens, then token by token what was
 * written; keys and values of both stay in a cache. */
#include <string.h>

#include "src/base/fail.h"
#include "src/base/utf8_check.h"
#include "src/gen/chat_prompt.h"
#include "src/gen/generator_parts.h"
#include "src/text/chat_end.h"

enum {
    BATCH = 256 /* tokens of a pass over the prompt */
};

void ql_generate_options_init(ql_generate_options *opt)
{
    *opt = (ql_generate_options){.max_new_tokens = 128,
                                 .temperature = 0.7,
                                 .top_p = 0.9,
                                 .seed = 42,
                                 .repetition_penalty = 1};
}

static ql_status check_model(const ql_model *m)
{
    if (m->config.arch->classifier) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: the model is a classifier and writes no text; it tells "
                "the class of one (--prompt)",
                m->dir);
    }
    return QL_OK;
}

static ql_status check_options(const ql_generate_options *o)
{
    QL_TRY(ql_sampler_check(o));
    if (o->max_new_tokens == 0) {
        QL_FAIL(QL_EINVAL, "max-new-tokens must be at least 1");
    }
    for (size_t i = 0; i < o->n_stop; i++) {
        if (!*o->stop[i] || !ql_utf8_valid(o->stop[i], strlen(o->stop[i]))) {
            QL_FAIL(QL_EINVAL, "stop text %zu %s", i + 1,
                    *o->stop[i] ? "is not UTF-8" : "is empty");
        }
    }
    return QL_OK;
}

/* Between passes over a long prompt. */
static bool go_on(void *user)
{
    const ql_generator *g = user;

    return !g->out || g->out("", 0, g->user);
}

static ql_status open_passes(ql_generator *g)
{
    const size_t batch = g->context < BATCH ? g->context : BATCH;
    const ql_run_options opt = {.max_tokens = batch,
                                .max_length = batch,
                                .max_sequences = 1,
                                .go_on = go_on,
                                .user = g};

    QL_TRY(ql_cache_init(&g->cache, &g->m->config, g->context, batch));
    return ql_run_open(&g->run, g->m, &opt);
}

ql_status ql_generator_open(ql_generator **out, ql_model *model,
                            const ql_tokenizer *tok,
                            const ql_generate_options *opt)
{
    const size_t V = model->config.V;
    ql_generator *g = ql_calloc(QL_TAG_MISC, 1, sizeof(*g));
    ql_status st;

    *out = NULL;
    if (!g) {
        return QL_ENOMEM;
    }
    g->m = model;
    g->tok = tok;
    g->o = *opt;
    g->context =
        opt->max_context > 0 ? opt->max_context : model->config.max_position;
    QL_TRY_DONE(check_model(model));
    QL_TRY_DONE(check_options(opt));
    QL_TRY_DONE(ql_ends_init(&g->ends, model, tok));
    QL_TRY_DONE(ql_sampler_init(&g->sampler, V));
    QL_TRY_DONE(open_passes(g));
    g->logits = ql_alloc(QL_TAG_WORK, V, sizeof(*g->logits));
    QL_TRY_DONE(g->logits ? QL_OK : QL_ENOMEM);
    *out = g;
    g = NULL;
done:
    ql_generator_close(&g);
    return st;
}

void ql_generator_close(ql_generator **g)
{
    if (*g) {
        ql_run_close(&(*g)->run);
        ql_cache_free(&(*g)->cache);
        ql_styles_close(&(*g)->styles);
        ql_ends_free(&(*g)->ends);
        ql_sampler_free(&(*g)->sampler);
        ql_free((*g)->logits);
        ql_free((*g)->ids);
        ql_free(*g);
    }
    *g = NULL;
}

void ql_generator_forget(ql_generator *g)
{
    ql_cache_cut(&g->cache, 0);
}

static ql_status open_template(ql_generator *g)
{
    const ql_chat *chat = &g->styles.chat;

    QL_TRY(ql_styles_open(&g->styles, g->tok, g->o.chat_template, g->o.date));
    return ql_chat_end_find(&g->chat_end, chat->plain, chat->tokens, g->tok);
}

ql_status ql_generator_open_chat(ql_generator *g, bool *has)
{
    if (!g->styles.plain.chat) {
        const ql_status st = open_template(g);

        if (st != QL_OK) {
            ql_styles_close(&g->styles);
            return st;
        }
    }
    if (has) {
        *has = g->styles.chat.kind != QL_CHAT_DEFAULT;
    }
    return QL_OK;
}

static void begin(ql_generator *g, ql_generate_fn *out, void *user,
                  ql_generated *result)
{
    *result = (ql_generated){0};
    g->out = out;
    g->user = user;
    g->end = -1;
    g->opens = "";
}

ql_status ql_generator_continue(ql_generator *g, const char *prompt,
                                ql_generate_fn *out, void *user,
                                ql_generated *result)
{
    int32_t *ids = NULL;
    size_t n;
    ql_status st;

    begin(g, out, user, result);
    st = ql_tokenizer_encode(g->tok, prompt, strlen(prompt), true, &ids, &n);
    if (st == QL_OK) {
        st = ql_generator_write(g, ids, n, result);
    }
    ql_free(ids);
    return st;
}

ql_status ql_generator_answer(ql_generator *g, const char *json,
                              const char *what, ql_generate_fn *out, void *user,
                              ql_generated *result)
{
    int32_t *ids = NULL;
    size_t n;
    ql_status st;

    begin(g, out, user, result);
    QL_TRY(ql_generator_open_chat(g, NULL));
    g->end = g->chat_end;
    st = ql_chat_prompt(&g->styles, g->tok, json, what, &ids, &n, &g->opens);
    if (st == QL_OK) {
        st = ql_generator_write(g, ids, n, result);
        st = st == QL_EINVAL ? ql_fail_prefix(st, "%s: ", what) : st;
    }
    ql_free(ids);
    return st;
}

void ql_generator_memory(const ql_generator *g, ql_generate_memory *out)
{
    const ql_config *c = &g->m->config;
    const ql_run_options opt = {.max_tokens = g->cache.batch,
                                .max_length = g->cache.batch,
                                .max_sequences = 1};
    const ql_run_need need = ql_run_needs(g->m, &opt);
    ql_model_info info;

    ql_model_info_read(g->m, &info);
    *out = (ql_generate_memory){
        .weights = info.weight_bytes,
        .cache = ql_cache_bytes(c, g->cache.room, g->cache.batch),
        .cache_most = ql_cache_bytes(c, g->context, g->cache.batch),
        .work = need.kept + need.scratch +
                c->V * (2 * sizeof(float) + sizeof(ql_candidate) + 1),
        .context = g->context};
}

ql_status ql_generate(ql_model *model, const ql_tokenizer *tok,
                      const char *prompt, const ql_generate_options *opt,
                      ql_generate_fn *out, void *user, char **text)
{
    ql_generator *g = NULL;
    ql_generated r = {0};
    ql_status st = ql_generator_open(&g, model, tok, opt);

    if (st == QL_OK) {
        st = ql_generator_continue(g, prompt, out, user, &r);
    }
    if (st != QL_OK || !text) {
        ql_free(r.text);
        r.text = NULL;
    }
    if (text) {
        *text = r.text;
    }
    ql_generator_close(&g);
    return st;
}
