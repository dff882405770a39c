#include "tools/bench/bench_generate.h"

#include <stdio.h>

#include "src/base/clock.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/model/run.h"
#include "tools/bench/bench_folder.h"
#include "tools/bench/bench_machine.h"
#include "tools/bench/bench_peaks.h"
#include "tools/bench/bench_table.h"
#include "tools/cli/term.h"

enum {
    BATCH = 256,  /* tokens of a pass, as qlora-generate has it */
    READINGS = 3, /* of a prompt */
    MOST_CONTEXT = 1 << 17
};

static const bench_pace pace = {.least = 3, .race_s = 0.5, .sample_s = 0.02};

/* A run of the command. */
typedef struct session {
    const bench_options *o;
    const bench_shape *shape;
    uint64_t seed;
    ql_model *model;
    ql_run *run;
    float *logits;
    int32_t *ids;
    bench_peaks peaks;
    size_t weights; /* bytes that a token takes */
} session;

static const bench_column columns[] = {
    {"shape", "shape", -14, BENCH_TEXT},
    {"context", "context", 8, 0},
    {"prompt_tokens_per_second", "prompt tok/s", 13, 1},
    {"prompt_spread_percent", "+-%", 5, 1},
    {"tokens_per_second", "text tok/s", 11, 2},
    {"spread_percent", "+-%", 5, 1},
    {"best_tokens_per_second", "best", 8, 2},
    {"weights_mb", "weights MB", 11, 1},
    {"cache_mb", "cache MB", 9, 1},
    {"gbytes", "GB/s, best", 11, 2},
    {"percent_of_reading", "% of reading", 13, 1},
};

static ql_status open_run(session *s, size_t longest)
{
    const ql_run_options opt = {
        .max_tokens = BATCH, .max_length = BATCH, .max_sequences = 1};
    const size_t V = s->model->config.V;

    s->logits = ql_alloc(QL_TAG_WORK, V, sizeof(*s->logits));
    s->ids = ql_alloc(QL_TAG_DATA, longest, sizeof(*s->ids));
    if (!s->logits || !s->ids) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < longest; i++) {
        s->ids[i] = (int32_t)ql_rng_below(s->seed, i, V);
    }
    return ql_run_open(&s->run, s->model, &opt);
}

/* Seconds of each reading of a prompt; *cache then holds it. */
static ql_status time_prompt(session *s, ql_cache *cache, size_t context,
                             double prompt_s[READINGS])
{
    for (size_t i = 0; i < READINGS; i++) {
        double start;

        ql_cache_free(cache);
        QL_TRY(ql_cache_init(cache, &s->model->config,
                             context + s->o->new_tokens, BATCH));
        start = ql_now_s();
        QL_TRY(ql_run_feed(s->run, cache, s->ids, context, s->logits));
        prompt_s[i] = ql_now_s() - start;
    }
    return QL_OK;
}

/* Seconds of each token behind a prompt. */
static ql_status time_text(session *s, ql_cache *cache, size_t context,
                           double *text_s)
{
    double start;

    for (size_t i = 0; i < s->o->new_tokens; i++) {
        if (cli_interrupted()) {
            QL_FAIL(QL_ECANCELLED, "stopped");
        }
        start = ql_now_s();
        QL_TRY(ql_run_feed(s->run, cache, s->ids + context + i, 1, s->logits));
        text_s[i] = ql_now_s() - start;
    }
    return QL_OK;
}

static ql_status measure_context(session *s, const bench_table *t,
                                 size_t context)
{
    const ql_config *c = &s->model->config;
    const size_t n = s->o->new_tokens;
    double *text_s = ql_alloc(QL_TAG_MISC, n, sizeof(*text_s));
    double prompt_s[READINGS];
    double bytes;
    bench_rate prompt;
    bench_rate rate;
    ql_cache cache = {0};
    ql_status st;

    QL_TRY_DONE(text_s ? QL_OK : QL_ENOMEM);
    QL_TRY_DONE(time_prompt(s, &cache, context, prompt_s));
    QL_TRY_DONE(time_text(s, &cache, context, text_s));
    prompt = bench_rate_of(prompt_s, READINGS, (double)context);
    rate = bench_rate_of(text_s, n, 1);
    bytes = (double)(s->weights + ql_cache_bytes(c, context, BATCH));
    bench_table_row(
        t,
        (bench_cell[]){
            bench_text(s->shape->name),
            bench_number((double)context),
            bench_number(prompt.median),
            bench_number(100 * prompt.spread),
            bench_number(rate.median),
            bench_number(100 * rate.spread),
            bench_number(rate.best),
            bench_number(1e-6 * (double)s->weights),
            bench_number(1e-6 * (double)ql_cache_bytes(c, context, BATCH)),
            bench_number(1e-9 * bytes * rate.best),
            bench_number(1e-7 * bytes * rate.best / s->peaks.gbytes[BENCH_ALL]),
        });
done:
    ql_cache_free(&cache);
    ql_free(text_s);
    return st;
}

static ql_status measure(session *s, const bench_numbers *contexts, bool json)
{
    const bench_table t = {"generate", columns,
                           sizeof(columns) / sizeof(*columns), json};
    size_t longest = 0;
    size_t least;

    for (size_t i = 0; i < contexts->n; i++) {
        longest = contexts->of[i] > longest ? contexts->of[i] : longest;
    }
    bench_machine_show(json, s->o->command);
    QL_TRY(bench_folder_open(&s->model, s->o, s->shape, s->seed));
    ql_stream_needs(&s->model->weights, &s->weights, &least);
    QL_TRY(open_run(s, longest + s->o->new_tokens));
    QL_TRY(bench_memory_measure(&s->peaks, &pace, json));
    bench_table_head(&t);
    for (size_t i = 0; i < contexts->n; i++) {
        QL_TRY(measure_context(s, &t, contexts->of[i]));
    }
    return QL_OK;
}

ql_status bench_generate(const bench_options *o, const cli_common *common)
{
    session s = {.o = o, .seed = common->seed};
    bench_numbers contexts;
    ql_status st;

    QL_TRY(
        bench_numbers_read(&contexts, &o->contexts, "contexts", MOST_CONTEXT));
    QL_TRY(bench_shape_find(&s.shape, o->shape ? o->shape : "220m"));
    QL_TRY(ql_dir_need(bench_work_dir(o), "give one with room for the model"));
    st = measure(&s, &contexts, common->json);
    ql_run_close(&s.run);
    ql_model_close(&s.model);
    ql_free(s.logits);
    ql_free(s.ids);
    return st;
}
