#include "src/convert/merge_compare.h"

#include <math.h>
#include <string.h>

#include "qlora/runtime.h"
#include "qlora/tokenizer.h"
#include "src/base/fail.h"
#include "src/model/run.h"

/* Words, numbers, a quotation and a bit of code. */
static const char sample[] =
    "Once upon a time, in 1987, a little girl asked: \"What is 12 + 30?\" "
    "Her friend wrote: for (i = 0; i < n; i++) sum += x[i];";

enum {
    MAX_TOKENS = 32,
    GAIN = 6
};

/* How far numbers go in a model. */
typedef struct extent {
    size_t layers, width; /* of the widest matrix, a row */
    size_t logits;        /* of a token, or a text */
} extent;

typedef struct sample_ids {
    int32_t ids[MAX_TOKENS];
    size_t n;
} sample_ids;

static void take_sample(sample_ids *s, const char *dir, size_t most,
                        size_t vocab)
{
    ql_tokenizer *tok = NULL;
    int32_t *ids = NULL;
    size_t n = 0;

    if (ql_tokenizer_open(&tok, dir) == QL_OK &&
        ql_tokenizer_encode(tok, sample, strlen(sample), true, &ids, &n) ==
            QL_OK) {
        s->n = n < most ? n : most;
        memcpy(s->ids, ids, s->n * sizeof(*ids));
    }
    for (size_t i = 0; i < s->n; i++) {
        s->n = s->ids[i] >= 0 && (size_t)s->ids[i] < vocab ? s->n : 0;
    }
    if (s->n == 0) {
        s->n = most;
        for (size_t i = 0; i < most; i++) {
            s->ids[i] = (int32_t)((1 + 37 * i) % vocab);
        }
    }
    ql_free(ids);
    ql_tokenizer_close(&tok);
}

/* Logits [n, V] of the sample, Owned. */
static ql_status run_model(ql_model *m, const sample_ids *s, float **logits)
{
    const size_t start[] = {0, s->n};
    const ql_run_options opt = {.max_tokens = s->n,
                                .max_length = s->n,
                                .max_sequences = 1,
                                .weight_memory = 1};
    const ql_batch batch = {
        .T = s->n, .sequences = 1, .start = start, .ids = s->ids};
    size_t rows[MAX_TOKENS];
    ql_run *run = NULL;

    for (size_t i = 0; i < s->n; i++) {
        rows[i] = i;
    }
    *logits = ql_alloc(QL_TAG_WORK, s->n * m->config.V, sizeof(float));
    if (!*logits) {
        return QL_ENOMEM;
    }
    QL_TRY(ql_run_open(&run, m, &opt));
    ql_run_logits(run, &batch, rows, s->n, *logits);
    ql_run_close(&run);
    return QL_OK;
}

/* Logits [n, classes] of a classifier: text i is the first i + 1 tokens of the
 * sample. Owned. */
static ql_status run_classifier(ql_model *m, const sample_ids *s,
                                float **logits)
{
    const size_t T = s->n * (s->n + 1) / 2;
    const ql_run_options opt = {.max_tokens = T,
                                .max_length = s->n,
                                .max_sequences = s->n,
                                .weight_memory = 1};
    size_t start[MAX_TOKENS + 1] = {0};
    int32_t ids[MAX_TOKENS * (MAX_TOKENS + 1) / 2];
    const ql_batch batch = {
        .T = T, .sequences = s->n, .start = start, .ids = ids};
    ql_run *run = NULL;

    for (size_t i = 0; i < s->n; i++) {
        memcpy(ids + start[i], s->ids, (i + 1) * sizeof(*ids));
        start[i + 1] = start[i] + i + 1;
    }
    *logits = ql_alloc(QL_TAG_WORK, s->n * m->config.labels.n, sizeof(float));
    if (!*logits) {
        return QL_ENOMEM;
    }
    QL_TRY(ql_run_open(&run, m, &opt));
    ql_run_classes(run, &batch, *logits);
    ql_run_close(&run);
    return QL_OK;
}

/* Opens a folder, with an adapter unless NULL, and runs it. The sample is
 * taken by the first. */
static ql_status run_folder(const char *dir, const char *adapter,
                            const char *scratch_dir, const ql_merged_base *base,
                            sample_ids *s, extent *e, float **logits)
{
    ql_model_options opt;
    ql_model_info info;
    ql_model *m = NULL;
    ql_status st;

    ql_model_options_init(&opt);
    opt.quantize = base && base->requantize;
    opt.quant = base ? base->quant : opt.quant;
    opt.scratch_dir = scratch_dir;
    QL_TRY(ql_model_open(&m, dir, &opt));
    ql_model_info_read(m, &info);
    if (s->n == 0) {
        take_sample(s, dir,
                    info.max_positions < MAX_TOKENS ? info.max_positions
                                                    : MAX_TOKENS,
                    info.vocab);
    }
    *e =
        (extent){.layers = m->config.layers,
                 .width = m->config.F > m->config.C ? m->config.F : m->config.C,
                 .logits = info.classes > 0 ? info.classes : info.vocab};
    QL_TRY_DONE(adapter ? ql_model_load_adapter(m, adapter) : QL_OK);
    st = info.classes > 0 ? run_classifier(m, s, logits)
                          : run_model(m, s, logits);
done:
    ql_model_close(&m);
    return st;
}

static double log_sum(const float *x, size_t n, size_t *largest)
{
    double sum = 0;

    *largest = 0;
    for (size_t i = 1; i < n; i++) {
        *largest = x[i] > x[*largest] ? i : *largest;
    }
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)x[i] - (double)x[*largest]);
    }
    return (double)x[*largest] + log(sum);
}

/* Adds one token: the logits before (p) and after (q). */
static void count(ql_export_difference *d, const float *p, const float *q,
                  size_t V, float *least, float *most)
{
    size_t first;
    size_t second;
    const double zp = log_sum(p, V, &first);
    const double zq = log_sum(q, V, &second);

    for (size_t i = 0; i < V; i++) {
        const double diff = (double)p[i] - (double)q[i];

        if (!(fabs(diff) <= d->logit) && !isnan(d->logit)) {
            d->logit = fabs(diff); /* NaN stays */
        }
        d->kl += exp((double)p[i] - zp) * (diff - zp + zq);
        *least = p[i] < *least ? p[i] : *least;
        *most = p[i] > *most ? p[i] : *most;
    }
    d->agree += first == second;
}

/* The share of what logits span that rounding may cost, as the theory of
 * rounding has it. What is rounded to a relative error of at most u, evenly
 * spread, is off by u / sqrt(3) on average; a product of K terms, summed in
 * another order, by about sqrt(K) roundings of f32. Of the products on the way,
 * four of each layer and the head, each does so independently of the others.
 * GAIN is for what theory does not know: how far the largest of all logits is
 * from the average one, and what layers make of errors. */
static double explained_by(const extent *e, ql_dtype rounding)
{
    const double products = 4 * (double)e->layers + 1;
    const double sums = sqrt((double)e->width) * 0x1p-24;
    double u = rounding == QL_DTYPE_BF16  ? 0x1p-8
               : rounding == QL_DTYPE_F16 ? 0x1p-11
                                          : 0;

    if (strcmp(ql_runtime_compute(), "bf16") == 0) {
        u = 0x1p-8;
    }
    return GAIN * sqrt(products / 3) * (u + sums);
}

ql_status ql_merge_compare(ql_export_difference *d, const char *model_dir,
                           const char *adapter_dir, const char *merged_dir,
                           const ql_merged_base *base, ql_dtype rounding)
{
    sample_ids s = {.n = 0};
    float *before = NULL;
    float *after = NULL;
    float least = INFINITY;
    float most = -INFINITY;
    extent e;
    size_t V;
    ql_status st;

    *d = (ql_export_difference){0};
    QL_TRY_DONE(
        run_folder(model_dir, adapter_dir, merged_dir, base, &s, &e, &before));
    QL_TRY_DONE(run_folder(merged_dir, NULL, merged_dir, NULL, &s, &e, &after));
    V = e.logits;
    for (size_t i = 0; i < s.n; i++) {
        count(d, before + i * V, after + i * V, V, &least, &most);
    }
    d->tokens = s.n;
    d->range = (double)most - (double)least;
    d->explained =
        fmax(d->range, fmax(fabs((double)least), fabs((double)most)) / 16) *
        explained_by(&e, rounding);
    d->kl /= (double)s.n;
    d->agree /= (double)s.n;
done:
    ql_free(before);
    ql_free(after);
    return st;
}
