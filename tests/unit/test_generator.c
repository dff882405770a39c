/* A generator: where texts end, what is read again, conversations, and the
 * sampler on vocabularies of real size against the plain definition. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/rng.h"
#include "src/gen/sampler.h"
#include "tests/check/check.h"
#include "tests/check/toy_folder.h"
#include "tests/check/toy_run.h"

enum {
    V = 3000,
    MOST_PIECES = 1 << 16
};

static const char prompt[] = "Once upon a time";
static ql_model *model;
static ql_tokenizer *tok;

static ql_generate_options greedy(size_t tokens)
{
    return (ql_generate_options){.max_new_tokens = tokens, .top_p = 1};
}

/* The sampler by its definition, in double, on all of a sorted vocabulary. */
typedef struct plain {
    double p;
    int32_t id;
} plain;

static int by_probability(const void *a, const void *b)
{
    const plain *x = a;
    const plain *y = b;

    if (x->p != y->p) {
        return x->p > y->p ? -1 : 1;
    }
    return x->id - y->id;
}

/* What is left of the distribution, in order; returns how many. */
static size_t plain_filter(plain *list, const float *logits,
                           const ql_generate_options *o)
{
    double whole = 0;
    double sum = 0;
    size_t n = V;
    size_t left = 0;

    for (size_t i = 0; i < V; i++) {
        list[i] = (plain){exp((double)logits[i] / o->temperature), (int32_t)i};
    }
    qsort(list, V, sizeof(*list), by_probability);
    n = o->top_k > 0 && o->top_k < V ? o->top_k : V;
    for (size_t i = 0; i < n; i++) {
        whole += list[i].p;
    }
    while (left < n && (left == 0 || sum < o->top_p * whole)) {
        sum += list[left++].p;
    }
    while (left > 1 && list[left - 1].p < o->min_p * list[0].p) {
        left--;
    }
    return left;
}

static double share(const plain *list, size_t from, size_t to)
{
    double sum = 0;

    for (size_t i = from; i < to; i++) {
        sum += list[i].p;
    }
    return sum;
}

static void check_draws(ql_sampler *s, const float *logits,
                        const ql_generate_options *o)
{
    plain list[V];
    const size_t n = plain_filter(list, logits, o);
    const double whole = share(list, 0, n);

    for (int i = 0; i < 40; i++) {
        const double u = ql_rng_unit(11, (uint64_t)i);
        const int32_t id = ql_sampler_draw(s, logits, o, u);
        size_t at = 0;
        double from;

        while (at < n && list[at].id != id) {
            at++;
        }
        assert_true(at < n);
        from = share(list, 0, at) / whole;
        assert_true(u > from - 1e-5);
        assert_true(u < from + list[at].p / whole + 1e-5);
    }
}

static void sampler__draws_as_its_definition_says(void **state)
{
    const double temperatures[] = {0.2, 1, 5, 100};
    ql_sampler s;
    float logits[V];

    (void)state;
    check_ok(ql_sampler_init(&s, V));
    for (uint64_t i = 0; i < 200; i++) {
        const uint64_t key = ql_rng_split(check_seed(), i);
        const float spread = i % 3 ? 8 : 0.1F;
        const ql_generate_options o = {
            .temperature = temperatures[ql_rng_below(key, 0, 4)],
            .top_k = i % 2 ? (size_t)ql_rng_below(key, 1, 60) : 0,
            .top_p = i % 4 ? 1 - ql_rng_unit(key, 2) * 0.9 : 1,
            .min_p = i % 5 ? 0 : ql_rng_unit(key, 3) * 0.2};

        for (size_t v = 0; v < V; v++) {
            logits[v] = spread * (float)(ql_rng_unit(key, 9 + v) * 2 - 1);
        }
        check_draws(&s, logits, &o);
    }
    ql_sampler_free(&s);
}

/* As RepetitionPenaltyLogitsProcessor: each token of the text once. */
static void sampler__penalizes_what_is_there(void **state)
{
    float logits[] = {3, -3, 0, 3, -3};
    const float want[] = {2, -4.5F, 0, 3, -3};
    ql_sampler s;

    (void)state;
    check_ok(ql_sampler_init(&s, 5));
    s.seen[0] = s.seen[1] = s.seen[2] = 1;
    ql_sampler_penalize(&s, logits, 1);
    ql_sampler_penalize(&s, logits, 0);
    ql_sampler_penalize(&s, logits, 1.5);
    assert_memory_equal(logits, want, sizeof(want));
    ql_sampler_free(&s);
}

/* What the callback received. */
typedef struct pieces {
    char text[MOST_PIECES];
    size_t len;
    size_t stop_at; /* bytes after which it says stop; 0: never */
} pieces;

static bool collect(const char *piece, size_t len, void *user)
{
    pieces *p = user;

    assert_true(p->len + len < sizeof(p->text));
    memcpy(p->text + p->len, piece, len);
    p->len += len;
    p->text[p->len] = '\0';
    return p->stop_at == 0 || p->len < p->stop_at;
}

/* One text of its own. Owned: ql_free(.text). */
static ql_generated once(ql_model *m, const char *text,
                         const ql_generate_options *o)
{
    static pieces p;
    ql_generator *g = NULL;
    ql_generated r;

    p = (pieces){.len = 0};
    check_ok(ql_generator_open(&g, m, tok, o));
    check_ok(ql_generator_continue(g, text, collect, &p, &r));
    assert_string_equal(p.text, r.text);
    ql_generator_close(&g);
    return r;
}

static void text__of_real_models_is_a_story(void **state)
{
    const ql_generate_options o = greedy(200);
    ql_generated r = once(model, prompt, &o);

    (void)state;
    assert_true(strlen(r.text) > 200);
    assert_int_equal(r.new_tokens, 200);
    assert_int_equal(r.end, QL_END_LENGTH);
    assert_non_null(strstr(r.text, " was "));
    ql_free(r.text);
}

/* A text ends before the first of the stop texts, wherever tokens end, and
 * nothing of it is ever handed out. */
static void text__ends_before_stop_texts(void **state)
{
    ql_generate_options o = greedy(120);
    ql_generated all = once(model, prompt, &o);
    const size_t len = strlen(all.text);

    (void)state;
    for (size_t at = 0; at + 12 < len; at += 29) {
        for (size_t n = 1; n < 12; n += 3) {
            char stop[16];
            const char *stops[] = {"never to be seen", stop};
            const char *first;
            ql_generated r;

            snprintf(stop, sizeof(stop), "%.*s", (int)n, all.text + at);
            first = strstr(all.text, stop);
            o.stop = stops;
            o.n_stop = 2;
            r = once(model, prompt, &o);
            assert_int_equal(r.end, QL_END_STOP);
            assert_int_equal(strlen(r.text), first - all.text);
            assert_memory_equal(r.text, all.text, strlen(r.text));
            ql_free(r.text);
        }
    }
    ql_free(all.text);
}

/* Every token of a list in generation_config.json ends a text, and that of the
 * tokenizer; a file that says nothing leaves it to config.json. */
static void text__ends_at_every_end_token(void **state)
{
    const char *dir = check_tmp_path("ends");
    const ql_generate_options o = greedy(60);
    ql_generated all = once(model, prompt, &o);
    char *copy = strdup(dir);
    char json[200];
    int32_t *ids;
    size_t n;
    ql_model *m = NULL;
    ql_generated r;

    (void)state;
    check_ok(
        ql_tokenizer_encode(tok, all.text, strlen(all.text), false, &ids, &n));
    toy_run_copy(ql_model_dir(model), copy);
    for (size_t i = 10; i < 50 && i < n; i += 8) {
        const char *before;

        snprintf(json, sizeof(json), "{\"eos_token_id\": [2, 511, %d]}",
                 (int)ids[i]);
        toy_write(copy, "generation_config.json", json);
        check_ok(ql_model_open(&m, copy, NULL));
        r = once(m, prompt, &o);
        before = strstr(all.text, r.text);
        assert_ptr_equal(before, all.text);
        assert_int_equal(r.end, QL_END_TOKEN);
        assert_true(r.new_tokens < 60);
        ql_free(r.text);
        ql_model_close(&m);
    }
    toy_write(copy, "generation_config.json", "{\"eos_token_id\": \"x\"}");
    check_ok(ql_model_open(&m, copy, NULL));
    check_fails(ql_generate(m, tok, prompt, &o, NULL, NULL, NULL), QL_EFORMAT,
                "\"eos_token_id\" must be the id of a token, or a list");
    ql_model_close(&m);
    ql_free(all.text);
    ql_free(ids);
    free(copy);
}

/* The new ids are those of the text, behind those of the prompt. */
static void check_written(const int32_t *prompt_ids, size_t n,
                          const ql_generated *r)
{
    char *before;
    char *all;
    size_t a;
    size_t b;

    check_ok(ql_tokenizer_decode(tok, prompt_ids, n, true, &before, &a));
    check_ok(
        ql_tokenizer_decode(tok, r->ids, n + r->new_tokens, true, &all, &b));
    assert_memory_equal(all, before, a);
    assert_string_equal(all + a, r->text);
    ql_free(before);
    ql_free(all);
}

/* A prompt is read from where it differs, and the text is the same. */
static void generator__reads_on(void **state)
{
    static const char *const prompts[] = {
        "Once upon a time",
        "Once upon a time there was a dog",
        "Once upon a time there was a dog",
        "Once upon a day",
        "Lily",
    };
    const ql_generate_options o = greedy(40);
    ql_generator *g = NULL;
    int32_t *before = NULL;
    size_t n_before = 0;

    (void)state;
    check_ok(ql_generator_open(&g, model, tok, &o));
    for (size_t i = 0; i < 5; i++) {
        ql_generated want = once(model, prompts[i], &o);
        ql_generated r;
        int32_t *ids;
        size_t same = 0;
        size_t n;

        check_ok(ql_tokenizer_encode(tok, prompts[i], strlen(prompts[i]), true,
                                     &ids, &n));
        while (same + 1 < n && same < n_before && ids[same] == before[same]) {
            same++;
        }
        check_ok(ql_generator_continue(g, prompts[i], NULL, NULL, &r));
        assert_string_equal(r.text, want.text);
        assert_int_equal(r.prompt_tokens, n);
        assert_memory_equal(r.ids, ids, n * sizeof(*ids));
        check_written(ids, n, &r);
        assert_true(r.reused_tokens >= same && r.reused_tokens < n);
        assert_true(i == 0 || r.reused_tokens > 0); /* BOS at least */
        ql_free(before);
        before = ids;
        n_before = n;
        ql_free(r.text);
        ql_generator_forget(g);
        check_ok(ql_generator_continue(g, prompts[i], NULL, NULL, &r));
        assert_string_equal(r.text, want.text);
        assert_int_equal(r.reused_tokens, 0);
        ql_free(r.text);
        ql_free(want.text);
    }
    ql_free(before);
    ql_generator_close(&g);
}

/* Who is stopped keeps what there was, and can go on. */
static void generator__can_be_stopped(void **state)
{
    static pieces p;
    const ql_generate_options o = greedy(100);
    ql_generated all = once(model, prompt, &o);
    ql_generator *g = NULL;
    ql_generated r;

    (void)state;
    check_ok(ql_generator_open(&g, model, tok, &o));
    p.stop_at = 30;
    check_fails(ql_generator_continue(g, prompt, collect, &p, &r),
                QL_ECANCELLED, "stopped");
    assert_int_equal(r.end, QL_END_NONE);
    assert_true(strlen(r.text) >= 30 && strlen(r.text) < 50);
    assert_memory_equal(r.text, all.text, strlen(r.text));
    ql_free(r.text);
    check_ok(ql_generator_continue(g, prompt, NULL, NULL, &r));
    assert_string_equal(r.text, all.text);
    ql_free(r.text);
    ql_free(all.text);
    ql_generator_close(&g);
}

static void generator__plans_its_memory(void **state)
{
    const size_t contexts[] = {1, 40, 400};
    ql_generate_options o = greedy(400);

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        ql_generate_memory m;
        ql_generator *g = NULL;
        ql_generated r;
        size_t activ = ql_alloc_bytes(QL_TAG_ACTIV);
        const size_t work = ql_alloc_bytes(QL_TAG_WORK);

        o.max_context = contexts[i];
        check_ok(ql_generator_open(&g, model, tok, &o));
        ql_generator_memory(g, &m);
        assert_int_equal(m.context, contexts[i]);
        assert_int_equal(m.cache, 0);
        assert_int_equal(m.work, ql_alloc_bytes(QL_TAG_ACTIV) - activ +
                                     ql_alloc_bytes(QL_TAG_WORK) - work);
        activ = ql_alloc_bytes(QL_TAG_ACTIV);
        if (contexts[i] > 1) {
            check_ok(ql_generator_continue(g, prompt, NULL, NULL, &r));
            assert_int_equal(r.prompt_tokens + r.new_tokens, contexts[i]);
            ql_free(r.text);
            ql_generator_memory(g, &m);
            assert_int_equal(m.cache, m.cache_most);
            assert_int_equal(m.cache, ql_alloc_bytes(QL_TAG_ACTIV) - activ);
        }
        ql_generator_close(&g);
    }
}

/* An answer is what follows the text that the template writes. */
static void conversation__is_the_text_of_the_template(void **state)
{
    static const char template[] =
        "{{ bos_token }}"
        "{% for m in messages %}{{ m.content }} {% endfor %}"
        "{% if tools %}{{ tools[0].function.name }}{% endif %}"
        "{% if add_generation_prompt %}Lily{% endif %}";
    static const struct {
        const char *json, *prompt;
    } cases[] = {
        {"[{\"role\": \"user\", \"content\": \"One day\"}]", "One day Lily"},
        {"{\"messages\": [{\"role\": \"system\", \"content\": \"Tom and\"}, "
         "{\"role\": \"user\", \"content\": \"Tim and\"}], \"model\": \"x\"}",
         "Tom and Tim and Lily"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"A\"}], "
         "\"tools\": [{\"name\": \"dog\"}]}",
         "A dogLily"},
    };
    ql_generate_options o = greedy(30);
    ql_generator *g = NULL;

    (void)state;
    o.chat_template = template;
    check_ok(ql_generator_open(&g, model, tok, &o));
    for (size_t i = 0; i < 3; i++) {
        ql_generated r;
        ql_generated want = once(model, cases[i].prompt, &o);

        check_ok(ql_generator_answer(g, cases[i].json, "here", NULL, NULL, &r));
        assert_int_equal(r.prompt_tokens, want.prompt_tokens);
        assert_string_equal(r.text, want.text);
        ql_free(r.text);
        ql_free(want.text);
    }
    ql_generator_close(&g);
}

/* What the prompt opens is shown with the answer, and no stop text. */
static void conversation__opens_a_thought(void **state)
{
    static const char template[] =
        "{% for m in messages %}{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<think>\n{% endif %}";
    static const char *const stop[] = {"<think>"};
    static const char json[] = "[{\"role\": \"user\", \"content\": \"Once\"}]";
    ql_generate_options o = greedy(30);
    ql_generator *g = NULL;
    ql_generated want = once(model, "Once<think>\n", &o);
    ql_generated r;

    (void)state;
    o.chat_template = template;
    o.stop = stop;
    o.n_stop = 1;
    check_ok(ql_generator_open(&g, model, tok, &o));
    check_ok(ql_generator_answer(g, json, "here", NULL, NULL, &r));
    assert_memory_equal(r.text, "<think>\n", 8);
    assert_string_equal(r.text + 8, want.text);
    assert_int_equal(r.new_tokens, want.new_tokens);
    ql_free(r.text);
    ql_free(want.text);
    ql_generator_close(&g);
}

static void conversation__has_a_default_form(void **state)
{
    static const char json[] = "[{\"role\": \"system\", \"content\": \"Hi.\"},"
                               "{\"role\": \"user\", \"content\": \"Who?\"}]";
    const ql_generate_options o = greedy(30);
    ql_generated want = once(model, "Hi.\n\nUser: Who?\nAssistant:", &o);
    ql_generator *g = NULL;
    ql_generated r;
    bool has = true;

    (void)state;
    check_ok(ql_generator_open(&g, model, tok, &o));
    check_ok(ql_generator_open_chat(g, &has));
    assert_false(has);
    check_ok(ql_generator_answer(g, json, "here", NULL, NULL, &r));
    assert_string_equal(r.text, want.text);
    assert_int_equal(r.prompt_tokens, want.prompt_tokens);
    ql_free(r.text);
    ql_free(want.text);
    ql_generator_close(&g);
}

/* The folder of the model, with that token as a special one. Owned: free. */
static char *special_copy(int32_t id)
{
    char *copy = strdup(check_tmp_path("special"));
    char path[4300];
    json_t *root;

    toy_run_copy(ql_model_dir(model), copy);
    snprintf(path, sizeof(path), "%.4000s/tokenizer.json", copy);
    root = json_load_file(path, 0, NULL);
    assert_non_null(root);
    assert_int_equal(
        json_array_append_new(json_object_get(root, "added_tokens"),
                              json_pack("{si ss sb sb}", "id", (int)id,
                                        "content", ql_tokenizer_token(tok, id),
                                        "special", 1, "normalized", 0)),
        0);
    assert_int_equal(json_dump_file(root, path, 0), 0);
    json_decref(root);
    return copy;
}

/* An answer ends at the special token that the template writes behind one, as
 * in training; a text that is no conversation does not. */
static void conversation__ends_as_the_template_does(void **state)
{
    static const char json[] =
        "[{\"role\": \"user\", \"content\": \"Once upon a time\"}]";
    const size_t at = 20;
    ql_generate_options o = greedy(30);
    ql_generator *g = NULL;
    ql_tokenizer *own = NULL;
    ql_generated all;
    ql_generated r;
    char template[300];
    char *dir;
    int32_t id;

    (void)state;
    check_ok(ql_generator_open(&g, model, tok, &o));
    check_ok(ql_generator_continue(g, prompt, NULL, NULL, &all));
    id = all.ids[all.prompt_tokens + at];
    ql_free(all.text);
    ql_generator_close(&g);
    dir = special_copy(id);
    check_ok(ql_tokenizer_open(&own, dir));
    snprintf(
        template, sizeof(template),
        "{{ bos_token }}{%% for m in messages %%}{{ m.content }}"
        "{%% if m.role == 'assistant' %%}\n%s\n{%% endif %%}{%% endfor %%}",
        ql_tokenizer_token(tok, id));
    o.chat_template = template;
    check_ok(ql_generator_open(&g, model, own, &o));
    check_ok(ql_generator_answer(g, json, "here", NULL, NULL, &r));
    assert_int_equal(r.end, QL_END_TOKEN);
    assert_true(r.new_tokens > 0 && r.new_tokens <= at);
    ql_free(r.text);
    check_ok(ql_generator_continue(g, prompt, NULL, NULL, &r));
    assert_int_equal(r.end, QL_END_LENGTH);
    assert_int_equal(r.ids[r.prompt_tokens + at], id);
    ql_free(r.text);
    ql_generator_close(&g);
    ql_tokenizer_close(&own);
    free(dir);
}

static void conversation__must_make_sense(void **state)
{
    static const struct {
        const char *json, *say;
    } cases[] = {
        {"[]", "here: there are no messages"},
        {"{}", "here: must be a list of messages"},
        {"3", "here: must be a list of messages"},
        {"[{\"role\"", "here: not valid JSON"},
        {"[{\"content\": \"x\"}]", "here: message 1: \"role\" is missing"},
        {"[\"x\"]", "here: message 1: \"role\" is missing"},
        {"[{\"role\": \"user\"}]", "here: message 1: \"content\" is missing"},
        {"[{\"role\": \"user\", \"content\": \"x\"}, {\"role\": 3}]",
         "here: message 2: \"role\" must be a string"},
        {"[{\"role\": \"clown\", \"content\": \"x\"}]", "unknown role clown"},
    };
    const ql_generate_options o = greedy(3);
    ql_generate_options bad = o;
    ql_generator *g = NULL;
    ql_generated r;

    (void)state;
    check_ok(ql_generator_open(&g, model, tok, &o));
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        check_fails(
            ql_generator_answer(g, cases[i].json, "here", NULL, NULL, &r),
            QL_EFORMAT, cases[i].say);
        assert_null(r.text);
    }
    ql_generator_close(&g);
    bad.chat_template = "{% for m in messages if m.role == 'user' %}"
                        "{{ m.content }}{% endfor %}";
    check_ok(ql_generator_open(&g, model, tok, &bad));
    check_fails(ql_generator_answer(g, cases[8].json, "here", NULL, NULL, &r),
                QL_EUNSUPPORTED,
                "here: the chat template does not show messages of the role "
                "\"clown\"");
    ql_generator_close(&g);
    bad.chat_template = "{% if %}";
    check_ok(ql_generator_open(&g, model, tok, &bad));
    for (size_t i = 0; i < 2; i++) {
        check_fails(
            ql_generator_answer(g, cases[0].json, "here", NULL, NULL, &r),
            QL_EFORMAT, "template");
    }
    ql_generator_close(&g);
}

typedef struct piece {
    const char *json;
    size_t line;
} piece;

static void check_pieces(const char *text, const piece *want, size_t n)
{
    ql_conversations *c = NULL;
    const char *json;
    const char *what;
    char where[40];
    size_t line;

    toy_write(check_tmp(), "talks.jsonl", text);
    check_ok(ql_conversations_open(&c, check_tmp_path("talks.jsonl")));
    for (size_t i = 0; i < n; i++) {
        check_ok(ql_conversations_next(c, &json, &what, &line));
        assert_non_null(json);
        assert_string_equal(json, want[i].json);
        assert_int_equal(line, want[i].line);
        snprintf(where, sizeof(where), "talks.jsonl:%zu", line);
        assert_string_equal(what + strlen(what) - strlen(where), where);
    }
    check_ok(ql_conversations_next(c, &json, &what, &line));
    assert_null(json);
    ql_conversations_close(&c);
}

static void conversations__are_read_one_by_one(void **state)
{
    ql_conversations *c = NULL;

    (void)state;
    check_pieces("\xEF\xBB\xBF[{\"role\": \"us]er\"}]\n"
                 "{\"messages\":\n  [\"a\\\"}\"]}  [1]\n\n"
                 "{1 2}\n[\n{\"a\": 1},\n{\"b\":\n[2]}\n]\n",
                 (const piece[]){{"[{\"role\": \"us]er\"}]", 1},
                                 {"{\"messages\":\n  [\"a\\\"}\"]}", 2},
                                 {"[1]", 3},
                                 {"{1 2}", 5},
                                 {"[\n{\"a\": 1},\n{\"b\":\n[2]}\n]", 6}},
                 5);
    check_fails(ql_conversations_open(&c, check_tmp_path("none")), QL_ENOTFOUND,
                "none");
    check_fails(ql_conversations_open(&c, check_tmp()), QL_EFORMAT, "folder");
}

static void conversations__are_found_behind_broken_ones(void **state)
{
    (void)state;
    /* what begins without a bracket is a line */
    check_pieces(
        "garbage [\n[1]}\n\"a\"\n[2]",
        (const piece[]){
            {"garbage [", 1}, {"[1]", 2}, {"}", 2}, {"\"a\"", 3}, {"[2]", 4}},
        5);
    /* closed by another bracket: what is left of its lines is skipped */
    check_pieces("{\"a\": ] }\n[1]\n{\n  \"a\": [\n  }\n}\n[2]\n",
                 (const piece[]){{"{\"a\": ]", 1},
                                 {"[1]", 2},
                                 {"{\n  \"a\": [\n  }", 3},
                                 {"[2]", 7}},
                 4);
    /* cut in a text, or behind a backslash of one */
    check_pieces("[\"cut\n[1]\n[\"cut\\\n\n[2]\n[\"cut",
                 (const piece[]){{"[\"cut\n", 1},
                                 {"[1]", 2},
                                 {"[\"cut\\\n", 3},
                                 {"[2]", 5},
                                 {"[\"cut", 6}},
                 5);
    /* cut where a bracket cannot, or can, follow: the lines are read again */
    check_pieces("{\"a\": [{}\n{\"b\": 1}\n[\n[1]\n[2]\n{\"c\":\n[3]\n",
                 (const piece[]){{"{\"a\": [{}\n{", 1},
                                 {"{\"b\": 1}", 2},
                                 {"[\n[1]\n[", 3},
                                 {"[1]", 4},
                                 {"[2]", 5},
                                 {"{\"c\":\n[3]\n", 6},
                                 {"[3]", 7}},
                 7);
}

/* As many brackets as are parsed, and one more. */
static void conversations__are_as_deep_as_json(void **state)
{
    enum {
        DEEPEST = 2048
    };
    char deep[2 * DEEPEST + 1];
    char text[sizeof(deep) + 8];
    json_t *root = NULL;

    (void)state;
    memset(deep, '[', DEEPEST);
    memset(deep + DEEPEST, ']', DEEPEST);
    deep[sizeof(deep) - 1] = '\0';
    check_ok(ql_json_parse(&root, deep, strlen(deep), "deep"));
    json_decref(root);
    snprintf(text, sizeof(text), "%s\n[1]", deep);
    check_pieces(text, (const piece[]){{deep, 1}, {"[1]", 2}}, 2);
    snprintf(text, sizeof(text), "[%s]\n[1]", deep);
    check_fails(ql_json_parse(&root, text, strlen(text) - 4, "deep"),
                QL_EFORMAT, "depth");
    memset(deep, '[', DEEPEST + 1);
    deep[DEEPEST + 1] = '\0';
    check_pieces(text, (const piece[]){{deep, 1}, {"[1]", 2}}, 2);
}

static void conversations__have_no_nul(void **state)
{
    static const char text[] = "[1]\n[\"a\0b\"]\n[2]";
    ql_conversations *c = NULL;
    const char *json;
    const char *what;
    size_t line;

    (void)state;
    check_ok(
        ql_file_write(check_tmp_path("nul.jsonl"), text, sizeof(text) - 1));
    check_ok(ql_conversations_open(&c, check_tmp_path("nul.jsonl")));
    check_ok(ql_conversations_next(c, &json, &what, &line));
    check_fails(ql_conversations_next(c, &json, &what, &line), QL_EFORMAT,
                "nul.jsonl:2: there is a NUL byte");
    check_ok(ql_conversations_next(c, &json, &what, &line));
    assert_string_equal(json, "[2]");
    assert_int_equal(line, 3);
    ql_conversations_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampler__draws_as_its_definition_says),
        cmocka_unit_test(sampler__penalizes_what_is_there),
        cmocka_unit_test(text__of_real_models_is_a_story),
        cmocka_unit_test(text__ends_before_stop_texts),
        cmocka_unit_test(text__ends_at_every_end_token),
        cmocka_unit_test(generator__reads_on),
        cmocka_unit_test(generator__can_be_stopped),
        cmocka_unit_test(generator__plans_its_memory),
        cmocka_unit_test(conversation__is_the_text_of_the_template),
        cmocka_unit_test(conversation__opens_a_thought),
        cmocka_unit_test(conversation__has_a_default_form),
        cmocka_unit_test(conversation__ends_as_the_template_does),
        cmocka_unit_test(conversation__must_make_sense),
        cmocka_unit_test(conversations__are_read_one_by_one),
        cmocka_unit_test(conversations__are_found_behind_broken_ones),
        cmocka_unit_test(conversations__are_as_deep_as_json),
        cmocka_unit_test(conversations__have_no_nul),
    };
    char dir[4200];
    int failed;

    snprintf(dir, sizeof(dir), "%s/tools/demo/stories260K",
             getenv("QL_SOURCE"));
    check_ok(ql_runtime_open(&check_runtime));
    omp_set_num_threads(1); /* shapes are small */
    check_ok(ql_model_open(&model, dir, NULL));
    check_ok(ql_tokenizer_open(&tok, dir));
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    ql_tokenizer_close(&tok);
    ql_model_close(&model);
    return failed;
}
