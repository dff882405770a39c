/* The sampler's properties, and that generation is what the model's logits
 * say, token by token, in text that is whole. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/base/utf8_check.h"
#include "src/gen/sampler.h"
#include "src/model/run.h"
#include "tests/check/check.h"
#include "tests/check/toy.h"
#include "tests/check/toy_folder.h"
#include "tests/check/toy_text.h"

enum {
    V = 5,
    DRAWS = 20000,
    POSITIONS = 64 /* max_position_embeddings of the toy models */
};

static ql_sampler sampler;
static ql_model *model;
static ql_tokenizer *tok;

static ql_generate_options plain(double temperature)
{
    return (ql_generate_options){.temperature = temperature, .top_p = 1};
}

static int32_t draw(const float *logits, const ql_generate_options *o, double u)
{
    return ql_sampler_draw(&sampler, logits, o, u);
}

static void sampler__greedy_takes_the_first_of_the_largest(void **state)
{
    static const float logits[V] = {1, 3, -2, 3, 0};
    ql_generate_options o = plain(0);

    (void)state;
    assert_int_equal(ql_sampler_greedy(logits, V), 1);
    assert_int_equal(draw(logits, &o, 0.999), 1);
    o = plain(1e-6); /* so cold that only ties are left to chance */
    assert_int_equal(draw(logits, &o, 0.49), 1);
    assert_int_equal(draw(logits, &o, 0.51), 3);
}

static void sampler__refuses_what_is_not_finite(void **state)
{
    static const float bad[] = {NAN, INFINITY};
    const ql_generate_options o = plain(1);

    (void)state;
    for (size_t b = 0; b < 2; b++) {
        for (size_t i = 0; i < V; i++) {
            float logits[V] = {1, 2, 3, 4, 5};

            logits[i] = bad[b];
            assert_int_equal(draw(logits, &o, 0.3), -1);
            assert_int_equal(ql_sampler_greedy(logits, V), -1);
        }
    }
}

static void sampler__never_draws_what_is_impossible(void **state)
{
    static const float logits[V] = {-INFINITY, 0, -INFINITY, 1, -INFINITY};
    const ql_generate_options o = plain(100);

    (void)state;
    for (int i = 0; i < 1000; i++) {
        const int32_t id = draw(logits, &o, i / 1000.0);

        assert_true(id == 1 || id == 3);
    }
    assert_int_equal(draw(logits, &o, 1 - 1e-17), 1);
}

static void sampler__draws_as_often_as_the_softmax_says(void **state)
{
    static const float logits[V] = {0.5F, -1, 2, 0, 1.25F};
    static const double temperatures[] = {0.5, 1, 2};

    (void)state;
    for (size_t t = 0; t < 3; t++) {
        const ql_generate_options o = plain(temperatures[t]);
        double sum = 0;
        size_t count[V] = {0};

        for (size_t i = 0; i < V; i++) {
            sum += exp((double)logits[i] / o.temperature);
        }
        for (int i = 0; i < DRAWS; i++) {
            count[draw(logits, &o, (i + 0.5) / DRAWS)]++;
        }
        for (size_t i = 0; i < V; i++) {
            const double want = exp((double)logits[i] / o.temperature) / sum;

            assert_true(fabs((double)count[i] / DRAWS - want) < 2e-4);
        }
    }
}

/* Mask of the ids that are ever drawn. */
static unsigned drawn(const float *logits, const ql_generate_options *o)
{
    unsigned mask = 0;

    for (int i = 0; i < DRAWS; i++) {
        mask |= 1U << draw(logits, o, (i + 0.5) / DRAWS);
    }
    return mask;
}

static void sampler__keeps_to_top_k_and_top_p(void **state)
{
    /* probabilities 0.1, 0.4, 0.05, 0.25, 0.2 */
    const float logits[V] = {logf(0.1F), logf(0.4F), logf(0.05F), logf(0.25F),
                             logf(0.2F)};
    static const struct {
        size_t k;
        double p;
        unsigned mask;
    } cases[] = {
        {0, 1, 0x1F},
        {1, 1, 0x02},
        {2, 1, 0x0A},
        {3, 1, 0x1A},
        {5, 1, 0x1F},
        {9, 1, 0x1F},
        {0, 0.01, 0x02},
        {0, 0.39, 0x02},
        {0, 0.41, 0x0A},
        {0, 0.66, 0x1A},
        {0, 0.86, 0x1B},
        /* top-p is of what top-k left: 0.4 / 0.65 = 0.615 */
        {2, 0.6, 0x02},
        {2, 0.63, 0x0A},
    };
    /* min-p is of what the most likely one has, 0.4; what top-p left of it */
    static const struct {
        double p, min;
        unsigned mask;
    } least[] = {
        {1, 0.1, 0x1F},  {1, 0.13, 0x1B}, {1, 0.26, 0x1A},   {1, 0.6, 0x0A},
        {1, 0.63, 0x02}, {1, 1, 0x02},    {0.41, 0.1, 0x0A}, {0.66, 0.6, 0x0A},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const ql_generate_options o = {
            .temperature = 1, .top_k = cases[i].k, .top_p = cases[i].p};

        assert_int_equal(drawn(logits, &o), cases[i].mask);
    }
    for (size_t i = 0; i < sizeof(least) / sizeof(least[0]); i++) {
        const ql_generate_options o = {
            .temperature = 1, .top_p = least[i].p, .min_p = least[i].min};

        assert_int_equal(drawn(logits, &o), least[i].mask);
    }
}

/* What the callback received. */
typedef struct pieces {
    char text[8192];
    size_t len, calls, stop_at;
} pieces;

static bool collect(const char *piece, size_t len, void *user)
{
    pieces *p = user;

    assert_true(p->len + len < sizeof(p->text));
    if (len == 0) {
        return true;
    }
    if (!ql_utf8_valid(piece, len)) {
        fail_msg("a piece is not UTF-8, after \"%s\"", p->text);
    }
    memcpy(p->text + p->len, piece, len);
    p->len += len;
    p->text[p->len] = '\0';
    return ++p->calls != p->stop_at;
}

/* The most likely continuation, by the model's logits alone. Returns the
 * number of ids. */
static size_t greedy(const char *prompt, size_t most, int32_t ids[POSITIONS])
{
    const ql_run_options how = {
        .max_tokens = POSITIONS, .max_length = POSITIONS, .max_sequences = 1};
    float *logits = malloc(model->config.V * sizeof(float));
    ql_run *run = NULL;
    int32_t *first = NULL;
    size_t n;
    size_t end;

    check_ok(
        ql_tokenizer_encode(tok, prompt, strlen(prompt), true, &first, &n));
    memcpy(ids, first, n * sizeof(*ids));
    ql_free(first);
    check_ok(ql_run_open(&run, model, &how));
    for (end = n + most; n < end && n < POSITIONS; n++) {
        const size_t start[2] = {0, n};
        const size_t row = n - 1;
        const ql_batch batch = {
            .T = n, .sequences = 1, .start = start, .ids = ids};

        ql_run_logits(run, &batch, &row, 1, logits);
        ids[n] = ql_sampler_greedy(logits, model->config.V);
        if (ids[n] == ql_tokenizer_eos(tok)) {
            break;
        }
    }
    ql_run_close(&run);
    free(logits);
    return n;
}

static void check_greedy(const char *prompt, size_t most)
{
    const ql_generate_options o = {.max_new_tokens = most, .top_p = 1};
    int32_t ids[POSITIONS + 1];
    const size_t n = greedy(prompt, most, ids);
    pieces p = {{0}, 0, 0, 0};
    char *text;
    char *all;
    size_t len;

    check_ok(ql_generate(model, tok, prompt, &o, collect, &p, &text));
    check_ok(ql_tokenizer_decode(tok, ids, n, true, &all, &len));
    assert_true(len >= strlen(prompt));
    assert_string_equal(text, all + strlen(prompt));
    assert_string_equal(text, p.text);
    ql_free(text);
    ql_free(all);
}

static void generation__greedy_follows_the_logits(void **state)
{
    static const char *const prompts[] = {"the cat", "a", "birds sing", "zzz"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        check_greedy(prompts[i], 1);
        check_greedy(prompts[i], 10);
        check_greedy(prompts[i], 1000); /* to the last position */
    }
}

static void generation__is_the_same_for_the_same_seed(void **state)
{
    ql_generate_options o;
    char *text[3];

    (void)state;
    ql_generate_options_init(&o);
    o.temperature = 2;
    o.max_new_tokens = 40;
    for (size_t i = 0; i < 3; i++) {
        o.seed = i == 2 ? 7 : 6;
        check_ok(ql_generate(model, tok, "the", &o, NULL, NULL, &text[i]));
    }
    assert_string_equal(text[0], text[1]);
    assert_string_not_equal(text[0], text[2]);
    for (size_t i = 0; i < 3; i++) {
        ql_free(text[i]);
    }
}

static void generation__stops_when_told(void **state)
{
    ql_generate_options o = {.max_new_tokens = 20, .top_p = 1};
    pieces p = {{0}, 0, 0, 2};
    char *text = (char *)&o;

    (void)state;
    o.temperature = 5;
    check_fails(ql_generate(model, tok, "the", &o, collect, &p, &text),
                QL_ECANCELLED, "stopped");
    assert_int_equal(p.calls, 2);
    assert_null(text);
}

static void generation__refuses_what_has_no_meaning(void **state)
{
    static const char *const stops[] = {"a", "", "\xFF"};
    static const struct {
        ql_generate_options o;
        const char *say;
    } cases[] = {
        {{.top_p = 1}, "max-new-tokens"},
        {{1, -1, .top_p = 1}, "temperature -1"},
        {{1, (double)NAN, .top_p = 1}, "temperature"},
        {{1, (double)INFINITY, .top_p = 1}, "temperature inf"},
        {{1, 1, .top_p = 0}, "top-p 0"},
        {{1, 1, .top_p = 1.5}, "top-p 1.5"},
        {{1, 1, .top_p = (double)NAN}, "top-p"},
        {{1, 1, .top_p = 1, .min_p = -0.1}, "min-p -0.1"},
        {{1, 1, .top_p = 1, .min_p = 1.1}, "min-p 1.1"},
        {{1, 1, .top_p = 1, .min_p = (double)NAN}, "min-p"},
        {{1, 1, .top_p = 1, .repetition_penalty = -1}, "penalty -1"},
        {{1, 1, .top_p = 1, .repetition_penalty = (double)NAN}, "penalty"},
        {{1, 1, .top_p = 1, .stop = stops, .n_stop = 2}, "2 is empty"},
        {{1, 1, .top_p = 1, .stop = stops + 2, .n_stop = 1}, "1 is not UTF-8"},
        {{1, 1, .top_p = 1, .max_context = 65}, "65 tokens"},
    };
    const ql_generate_options fine = {.max_new_tokens = 1, .top_p = 1};
    const ql_generate_options brief = {
        .max_new_tokens = 1, .top_p = 1, .max_context = 10};
    char longest[200];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_fails(ql_generate(model, tok, "a", &cases[i].o, NULL, NULL, NULL),
                    QL_EINVAL, cases[i].say);
    }
    check_fails(ql_generate(model, tok, "", &fine, NULL, NULL, NULL), QL_EINVAL,
                "prompt is empty");
    check_fails(ql_generate(model, tok, "a\xFF", &fine, NULL, NULL, NULL),
                QL_EFORMAT, "UTF-8");
    memset(longest, 'a', sizeof(longest));
    longest[POSITIONS] = '\0';
    check_fails(ql_generate(model, tok, longest, &fine, NULL, NULL, NULL),
                QL_EINVAL, "64 tokens, but the model was made for 64");
    longest[POSITIONS - 1] = '\0';
    check_ok(ql_generate(model, tok, longest, &fine, NULL, NULL, NULL));
    check_fails(ql_generate(model, tok, longest, &brief, NULL, NULL, NULL),
                QL_EINVAL, "63 tokens, but the context is to have 10");
}

/* A model whose every token is about as likely as any other: its text is full
 * of broken characters, which must come out whole or as U+FFFD, and never be
 * taken back. The tokenizer knows bytes; the model has more rows than it. */
static void generation__streams_whole_characters(void **state)
{
    const toy_folder how = {.dtype = QL_DTYPE_F32, .vocab = 400};
    const char *dir = check_tmp_path("wide");
    ql_tokenizer *bytes = NULL;
    ql_model *wide = NULL;
    char folder[4200];

    (void)state;
    snprintf(folder, sizeof(folder), "%.4000s", dir);
    toy_folder_write(folder, &how);
    omp_set_num_threads(1);
    check_ok(ql_model_open(&wide, folder, NULL));
    check_ok(toy_text_open(&bytes, NULL));
    assert_true(ql_tokenizer_size(bytes) < 400);
    for (uint64_t seed = 0; seed < 30; seed++) {
        const ql_generate_options o = {
            .max_new_tokens = 40, .temperature = 100, .top_p = 1, .seed = seed};
        pieces p = {{0}, 0, 0, 0};
        char *text;

        check_ok(ql_generate(wide, bytes, seed % 2 ? "hi" : "\xC3\xA4", &o,
                             collect, &p, &text));
        assert_string_equal(text, p.text);
        ql_free(text);
    }
    ql_tokenizer_close(&bytes);
    ql_model_close(&wide);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampler__greedy_takes_the_first_of_the_largest),
        cmocka_unit_test(sampler__refuses_what_is_not_finite),
        cmocka_unit_test(sampler__never_draws_what_is_impossible),
        cmocka_unit_test(sampler__draws_as_often_as_the_softmax_says),
        cmocka_unit_test(sampler__keeps_to_top_k_and_top_p),
        cmocka_unit_test(generation__greedy_follows_the_logits),
        cmocka_unit_test(generation__is_the_same_for_the_same_seed),
        cmocka_unit_test(generation__stops_when_told),
        cmocka_unit_test(generation__refuses_what_has_no_meaning),
        cmocka_unit_test(generation__streams_whole_characters),
    };
    int failed;

    check_ok(ql_runtime_open(&check_runtime));
    check_ok(ql_sampler_init(&sampler, V));
    check_ok(ql_model_open(&model, toy_model(), NULL));
    check_ok(ql_tokenizer_open(&tok, toy_model()));
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    ql_tokenizer_close(&tok);
    ql_model_close(&model);
    ql_sampler_free(&sampler);
    return failed;
}
