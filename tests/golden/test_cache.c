/* A text that goes on from a cache has the logits of one that is read as a
 * whole: for every architecture of the golden data and every adapter beside
 * it, in passes of any length, for any number of threads. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/convert/adapter_make.h"
#include "src/gen/sampler.h"
#include "tests/check/check.h"
#include "tests/golden/lost_bias.h"

enum {
    LENGTH = 40, /* beyond the windows and the first lengths of all ropes */
    MOST = 64,   /* positions, if the model has as many */
    LEAST = 16   /* that it must have */
};

/* Of the largest logit. */
static const double SAME = 2e-5;
static const double GOLDEN = 2e-5;

static ql_run *open_run(const ql_model *m, size_t tokens)
{
    const ql_run_options opt = {
        .max_tokens = tokens, .max_length = tokens, .max_sequences = 1};
    ql_run *run = NULL;

    check_ok(ql_run_open(&run, m, &opt));
    return run;
}

/* Logits [V] behind the last of n ids, without a cache. */
static void whole(ql_run *run, const int32_t *ids, size_t n, float *logits)
{
    const size_t start[2] = {0, n};
    const size_t row = n - 1;
    const ql_batch batch = {.T = n, .sequences = 1, .start = start, .ids = ids};

    ql_run_logits(run, &batch, &row, 1, logits);
}

static void check_near(const float *got, const float *want, size_t V, size_t at)
{
    double largest = 0;
    double off = 0;

    for (size_t v = 0; v < V; v++) {
        largest = fmax(largest, fabs((double)want[v]));
        off = fmax(off, fabs((double)got[v] - (double)want[v]));
    }
    if (!(off <= SAME * largest)) {
        fail_msg("behind token %zu: off by %.2g of the largest logit", at,
                 off / largest);
    }
}

/* Everything of a model at work. */
typedef struct setting {
    ql_model *m;
    ql_run *run;       /* for whole texts */
    int32_t ids[MOST]; /* any */
    size_t length;     /* LENGTH, */
    size_t most;       /* and MOST, if the model has as many positions */
    float *want, *got; /* [V] */
    float *first;      /* [LENGTH, V] */
} setting;

/* Feeds pieces of 5, 1, 1, 4, 1, 1, ... tokens, in passes of batch. */
static void check_pieces(setting *s, size_t batch)
{
    static const size_t pieces[] = {5, 1, 1, 4, 1, 1};
    const size_t V = s->m->config.V;
    ql_run *run = open_run(s->m, batch);
    ql_cache cache;
    char full[80];
    size_t piece = 0;
    size_t n;

    check_ok(ql_cache_init(&cache, &s->m->config, s->length, batch));
    for (size_t at = 0; at < s->length; at += n) {
        n = pieces[piece++ % 6];
        n = n < s->length - at ? n : s->length - at;
        check_ok(ql_run_feed(run, &cache, s->ids + at, n, s->got));
        assert_int_equal(cache.n, at + n);
        whole(s->run, s->ids, at + n, s->want);
        check_near(s->got, s->want, V, at + n);
    }
    snprintf(full, sizeof(full), "%zu tokens, but the context has %zu",
             s->length + 1, s->length);
    check_fails(ql_run_feed(run, &cache, s->ids, 1, s->got), QL_EINVAL, full);
    ql_cache_free(&cache);
    ql_run_close(&run);
}

/* A text that is cut and goes on otherwise. */
static void check_cut(setting *s)
{
    const size_t V = s->m->config.V;
    ql_run *run = open_run(s->m, 4);
    ql_cache cache;

    check_ok(ql_cache_init(&cache, &s->m->config, s->most, 4));
    for (size_t n = s->length; n > 0; n -= n / 4 + 1) {
        int32_t ids[MOST];
        size_t left;

        memcpy(ids, s->ids, sizeof ids);
        ids[n - 1] = ids[n - 1] > 0 ? ids[n - 1] - 1 : 1;
        left = ql_cache_cut(&cache, n - 1);
        assert_true(left == 0 || left == n - 1 || cache.n < n);
        check_ok(ql_run_feed(run, &cache, ids + left, n - left, s->got));
        whole(s->run, ids, n, s->want);
        check_near(s->got, s->want, V, n);
        /* The next round finds the first tokens as they were. */
        ql_cache_cut(&cache, n - 1);
    }
    ql_cache_free(&cache);
    ql_run_close(&run);
}

/* The most likely continuation, with the cache and without. */
static void check_greedy(setting *s)
{
    const size_t V = s->m->config.V;
    ql_run *run = open_run(s->m, 16);
    int32_t ids[MOST];
    ql_cache cache;
    size_t n = 7;

    check_ok(ql_cache_init(&cache, &s->m->config, s->most, 16));
    memcpy(ids, s->ids, n * sizeof *ids);
    check_ok(ql_run_feed(run, &cache, ids, n, s->got));
    for (; n < s->most; n++) {
        whole(s->run, ids, n, s->want);
        ids[n] = ql_sampler_greedy(s->want, V);
        assert_int_equal(ql_sampler_greedy(s->got, V), ids[n]);
        check_ok(ql_run_feed(run, &cache, &ids[n], 1, s->got));
    }
    ql_cache_free(&cache);
    ql_run_close(&run);
}

/* The same bits for any number of threads. */
static void check_threads(setting *s)
{
    const size_t V = s->m->config.V;
    const int before = omp_get_max_threads();

    for (int threads = 1; threads <= 3; threads++) {
        ql_cache cache;
        ql_run *run;

        omp_set_num_threads(threads);
        run = open_run(s->m, 7);
        check_ok(ql_cache_init(&cache, &s->m->config, s->length, 7));
        for (size_t at = 0; at < s->length; at++) {
            const size_t n = at == 0 ? 9 : 1;

            check_ok(ql_run_feed(run, &cache, s->ids + at, n, s->got));
            if (threads == 1) {
                memcpy(s->first + at * V, s->got, V * sizeof(float));
            }
            assert_memory_equal(s->got, s->first + at * V, V * sizeof(float));
            at += n - 1;
        }
        ql_cache_free(&cache);
        ql_run_close(&run);
    }
    omp_set_num_threads(before);
}

static void check_setting(setting *s)
{
    const size_t batches[] = {1, 3, s->length};

    s->run = open_run(s->m, s->most);
    for (size_t i = 0; i < 3; i++) {
        check_pieces(s, batches[i]);
    }
    check_cut(s);
    check_greedy(s);
    check_threads(s);
    ql_run_close(&s->run);
}

/* The reference's own batch: the logits behind the last token of each row for
 * which the model has positions. */
static void check_golden(setting *s, const reference_rows *rows,
                         const ql_safetensors *f, const char *name)
{
    const size_t V = s->m->config.V;
    double *want = reference_doubles(f, name);
    ql_run *run = open_run(s->m, 2);

    for (size_t r = 0; r < rows->batch.sequences; r++) {
        const size_t from = rows->start[r];
        const size_t n = rows->start[r + 1] - from;
        const double *row = want + rows->place[from + n - 1] * V;
        double largest = 0;
        ql_cache cache;

        if (n > s->m->config.max_position) {
            assert_true(reference_elsewhere());
            continue;
        }
        check_ok(ql_cache_init(&cache, &s->m->config, n, 2));
        check_ok(ql_run_feed(run, &cache, rows->ids + from, n, s->got));
        for (size_t v = 0; v < V; v++) {
            largest = fmax(largest, fabs(row[v]));
        }
        check_close(s->got, row, V, GOLDEN * largest, name);
        ql_cache_free(&cache);
    }
    ql_run_close(&run);
    free(want);
}

/* One adapter: its beginning against the reference, then with parameters that
 * are no beginning. */
static void check_lora(setting *s, const reference_rows *rows, const char *path,
                       const char *json)
{
    ql_safetensors *f = NULL;
    reference_adapter r;
    ql_adapter a;

    check_ok(ql_safetensors_open(&f, path));
    reference_adapter_load(&r, json, f, s->m->config.arch);
    check_ok(
        ql_adapter_make(&a, &s->m->config, &s->m->weights, &r.o, 1, false));
    reference_adapter_init(&a, f);
    ql_model_use_adapter(s->m, &a);
    check_golden(s, rows, f, "logits");
    for (size_t i = 0; i < a.count; i++) {
        a.param[i] += 0.05F * (float)(ql_rng_unit(5, i) - 0.5);
    }
    check_setting(s);
    ql_model_use_adapter(s->m, NULL);
    ql_adapter_free(&a);
    reference_adapter_free(&r);
    ql_safetensors_close(&f);
}

static void check_loras(setting *s, const reference_rows *rows, const char *dir)
{
    char **names;
    size_t n;

    check_ok(ql_dir_list(dir, &names, &n));
    for (size_t i = 0; i < n; i++) {
        char *dot = strrchr(names[i], '.');
        char json[256];

        if (strncmp(names[i], "lora", 4) == 0 && dot &&
            strcmp(dot, ".safetensors") == 0) {
            snprintf(json, sizeof(json), "%.*s.json", (int)(dot - names[i]),
                     names[i]);
            check_lora(s, rows, reference_path(dir, names[i]),
                       reference_path(dir, json));
        }
    }
    ql_dir_list_free(names, n);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void check_folder(const char *dir)
{
    const char *golden = reference_path(dir, "golden.safetensors");
    const bool lost = lost_bias_is(dir);
    ql_model_options opt;
    ql_safetensors *f = NULL;
    reference_rows rows;
    setting s = {0};
    size_t V;

    print_message("%s\n", dir);
    ql_model_options_init(&opt);
    opt.quantize = false;
    check_ok(ql_model_open(&s.m, lost ? lost_bias_copy(dir) : dir, &opt));
    check_ok(ql_safetensors_open(&f, golden));
    reference_rows_load(&rows, f);
    if (lost) {
        lost_bias_find(s.m, dir, &rows);
    }
    s.most = smaller(MOST, s.m->config.max_position);
    s.length = smaller(LENGTH, s.most);
    assert_true(s.most >= LEAST);
    V = s.m->config.V;
    s.want = malloc((LENGTH + 2) * V * sizeof(float));
    assert_non_null(s.want);
    s.got = s.want + V;
    s.first = s.got + V;
    for (size_t t = 0; t < MOST; t++) {
        s.ids[t] = (int32_t)ql_rng_below(check_seed(), t, V);
    }
    check_golden(&s, &rows, f,
                 ql_safetensors_find(f, "base_logits") ? "base_logits"
                                                       : "logits");
    check_setting(&s);
    check_loras(&s, &rows, dir);
    free(s.want);
    reference_rows_free(&rows);
    ql_safetensors_close(&f);
    ql_model_close(&s.m);
}

static void cache__goes_on_as_the_whole_text_does(void **state)
{
    (void)state;
    reference_each(reference_models(), check_folder);
}

static void cache__goes_on_with_quantized_models(void **state)
{
    (void)state;
    reference_each(check_shared("golden/qlora"), check_folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cache__goes_on_as_the_whole_text_does),
        cmocka_unit_test(cache__goes_on_with_quantized_models),
    };

    check_need_shared();
    check_ok(ql_runtime_open(&check_runtime));
    omp_set_num_threads(1); /* shapes are small */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
