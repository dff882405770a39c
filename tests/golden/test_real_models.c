/* The three real pretrained models: ids, the loss of every token, and greedy
 * continuations, against a double-precision forward of the reference. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qlora/tokenizer.h"
#include "src/base/json.h"
#include "src/gen/sampler.h"
#include "src/model/run.h"
#include "tests/check/check.h"

static const double NLL_TOLERANCE = 1e-4;

enum {
    MAX_IDS = 512
};

typedef struct real {
    ql_model *m;
    ql_tokenizer *tok;
    json_t *expected;
    ql_run *run;
} real;

static void open_real(real *r, const char *name)
{
    char path[256];
    ql_model_options opt;
    const ql_run_options run = {
        .max_tokens = 256, .max_length = 256, .max_sequences = 1};

    *r = (real){0};
    ql_model_options_init(&opt);
    opt.quantize = false;
    snprintf(path, sizeof(path), "models/%s", name);
    check_ok(ql_model_open(&r->m, check_shared(path), &opt));
    check_ok(ql_tokenizer_open(&r->tok, check_shared(path)));
    snprintf(path, sizeof(path), "models/expected/%s.json", name);
    check_ok(ql_json_load(&r->expected, check_shared(path), 1 << 20));
    check_ok(ql_run_open(&r->run, r->m, &run));
}

static void close_real(real *r)
{
    ql_run_close(&r->run);
    ql_tokenizer_close(&r->tok);
    ql_model_close(&r->m);
    json_decref(r->expected);
}

static size_t expected_ids(const real *r, const char *key, int32_t *ids)
{
    const json_t *list = json_object_get(r->expected, key);
    const size_t n = json_array_size(list);

    assert_true(n > 0 && n <= MAX_IDS);
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    }
    return n;
}

static double nll(const float *logits, size_t V, int32_t target)
{
    double top = (double)logits[0];
    double sum = 0;

    for (size_t v = 1; v < V; v++) {
        top = fmax(top, (double)logits[v]);
    }
    for (size_t v = 0; v < V; v++) {
        sum += exp((double)logits[v] - top);
    }
    return log(sum) + top - (double)logits[target];
}

static void check_ids(const real *r)
{
    const char *text = json_string_value(json_object_get(r->expected, "text"));
    int32_t want[MAX_IDS];
    const size_t n = expected_ids(r, "ids", want);
    int32_t *got = NULL;
    size_t got_n;

    check_ok(
        ql_tokenizer_encode(r->tok, text, strlen(text), true, &got, &got_n));
    assert_int_equal(got_n, n);
    assert_memory_equal(got, want, n * sizeof(*want));
    ql_free(got);
}

static void check_losses(const real *r)
{
    const json_t *want = json_object_get(r->expected, "nll");
    const size_t V = r->m->config.V;
    int32_t ids[MAX_IDS];
    size_t rows[MAX_IDS];
    const size_t n = expected_ids(r, "ids", ids);
    const size_t start[2] = {0, n};
    const ql_batch batch = {.T = n, .sequences = 1, .start = start, .ids = ids};
    float *logits = malloc(n * V * sizeof(float));
    double worst = 0;

    for (size_t i = 0; i < n; i++) {
        rows[i] = i;
    }
    ql_run_logits(r->run, &batch, rows, n, logits);
    assert_int_equal(json_array_size(want), n - 1);
    for (size_t i = 0; i + 1 < n; i++) {
        const double w = json_real_value(json_array_get(want, i));
        const double off = fabs(nll(logits + i * V, V, ids[i + 1]) - w);

        worst = fmax(worst, off);
    }
    print_message("  token losses: off by at most %.2g\n", worst);
    assert_true(worst <= NLL_TOLERANCE);
    free(logits);
}

static void check_greedy(const real *r)
{
    const size_t V = r->m->config.V;
    float *logits = malloc(V * sizeof(float));
    int32_t want[MAX_IDS];
    int32_t ids[MAX_IDS];
    size_t n = expected_ids(r, "greedy_prompt_ids", ids);
    const size_t more = expected_ids(r, "greedy_next32", want);

    for (size_t i = 0; i < more; i++, n++) {
        const size_t start[2] = {0, n};
        const size_t row = n - 1;
        const ql_batch batch = {
            .T = n, .sequences = 1, .start = start, .ids = ids};

        ql_run_logits(r->run, &batch, &row, 1, logits);
        ids[n] = ql_sampler_greedy(logits, V);
        assert_int_equal(ids[n], want[i]);
    }
    free(logits);
}

static void check_model(void **state)
{
    real r;

    print_message("%s\n", (const char *)*state);
    open_real(&r, *state);
    check_ids(&r);
    check_losses(&r);
    check_greedy(&r);
    close_real(&r);
}

int main(void)
{
    static char names[3][16] = {"stories260K", "stories3M", "babyllama105"};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(check_model, names[0]),
        cmocka_unit_test_prestate(check_model, names[1]),
        cmocka_unit_test_prestate(check_model, names[2]),
    };

    check_need_shared();
    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
