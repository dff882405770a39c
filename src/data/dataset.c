/* All samples lie one after the other in one array of ids and one of marks;
 * starts says where each begins. */
#include "src/data/dataset_handle.h"

#include "src/base/fail.h"
#include "src/base/note.h"
#include "src/data/reader.h"
#include "src/data/shape.h"

struct ql_dataset {
    ql_buf ids;    /* int32_t each */
    ql_buf train;  /* uint8_t each */
    ql_buf starts; /* size_t each: where sample i begins, in tokens */
    ql_dataset_report report;
};

/* What reading carries along. */
typedef struct loader {
    ql_dataset *ds;
    const ql_tokenizer *tok;
    const ql_dataset_options *opt;
    const ql_shape *shape; /* NULL until the first record */
    ql_sample_draft draft;
} loader;

void ql_dataset_options_init(ql_dataset_options *opt)
{
    *opt = (ql_dataset_options){.format = QL_FORMAT_AUTO,
                                .truncation = QL_TRUNCATION_RIGHT,
                                .train_on = QL_TRAIN_ON_COMPLETIONS,
                                .max_length = 1024};
}

static ql_status new_dataset(ql_dataset **out)
{
    ql_dataset *ds = ql_calloc(QL_TAG_DATA, 1, sizeof(*ds));

    *out = ds;
    if (!ds) {
        return QL_ENOMEM;
    }
    ql_buf_init(&ds->ids, QL_TAG_DATA, SIZE_MAX / 4);
    ql_buf_init(&ds->train, QL_TAG_DATA, SIZE_MAX / 4);
    ql_buf_init(&ds->starts, QL_TAG_DATA, SIZE_MAX / 4);
    return QL_OK;
}

void ql_dataset_close(ql_dataset **ds)
{
    if (*ds) {
        ql_buf_free(&(*ds)->ids);
        ql_buf_free(&(*ds)->train);
        ql_buf_free(&(*ds)->starts);
        ql_free(*ds);
    }
    *ds = NULL;
}

/* Appends n tokens as one sample, of which trained are to be learnt. */
static ql_status keep(ql_dataset *ds, ql_sample s, size_t trained)
{
    ql_dataset_report *r = &ds->report;
    const size_t start = ds->train.len;

    QL_TRY(ql_buf_append(&ds->ids, s.ids, s.n * sizeof(*s.ids)));
    QL_TRY(ql_buf_append(&ds->train, s.train, s.n));
    QL_TRY(ql_buf_append(&ds->starts, &start, sizeof(start)));
    r->samples++;
    r->tokens += s.n;
    r->trained_tokens += trained;
    r->longest = s.n > r->longest ? s.n : r->longest;
    return QL_OK;
}

/* Notes and refusals that depend on the shape, once it is known. */
static ql_status check_shape(loader *l)
{
    if (ql_tokenizer_eos(l->tok) < 0) {
        ql_note("the tokenizer names no end token: the model will not learn "
                "where an answer ends");
    }
    if (l->shape->format != QL_FORMAT_MESSAGES) {
        return QL_OK;
    }
    if (ql_tokenizer_chat_template(l->tok)) {
        QL_FAIL(QL_EUNSUPPORTED,
                "the model's chat template cannot be applied by this version; "
                "use prompt/completion or text records");
    }
    ql_note("the model has no chat template: the default form is used");
    l->ds->report.default_template = true;
    return QL_OK;
}

static ql_status find_shape(loader *l, json_t *record)
{
    if (l->shape) {
        return QL_OK;
    }
    if (l->opt->format == QL_FORMAT_AUTO) {
        QL_TRY(ql_shape_find(record, &l->shape));
    } else {
        l->shape = ql_shape_get(l->opt->format);
    }
    l->ds->report.format = l->shape->format;
    return check_shape(l);
}

/* Cuts the draft to max_length, or leaves it out (*drop). */
static ql_status shorten(loader *l, bool *drop, bool *cut)
{
    const size_t n = ql_sample_draft_size(&l->draft);

    *drop = *cut = false;
    if (n <= l->opt->max_length) {
        return QL_OK;
    }
    if (l->opt->truncation == QL_TRUNCATION_ERROR) {
        QL_FAIL(QL_EFORMAT,
                "the record has %zu tokens, more than the %zu that "
                "are allowed",
                n, l->opt->max_length);
    }
    *drop = l->opt->truncation == QL_TRUNCATION_DROP;
    *cut = !*drop;
    ql_sample_draft_cut(&l->draft, l->opt->max_length);
    return QL_OK;
}

static ql_status load_record(void *ctx, json_t *record)
{
    loader *l = ctx;
    ql_dataset_report *r = &l->ds->report;
    size_t trained;
    bool drop;
    bool cut;

    r->records++;
    QL_TRY(find_shape(l, record));
    ql_sample_draft_clear(&l->draft);
    QL_TRY(l->shape->run(record, l->tok, l->opt->train_on, &l->draft));
    QL_TRY(shorten(l, &drop, &cut));
    trained = ql_sample_draft_trained(&l->draft);
    if (drop || trained == 0) {
        *(drop ? &r->dropped_long : &r->dropped_empty) += 1;
        return QL_OK;
    }
    r->truncated += cut;
    return keep(l->ds,
                (ql_sample){.ids = (const void *)l->draft.ids.data,
                            .train = (const void *)l->draft.train.data,
                            .n = ql_sample_draft_size(&l->draft)},
                trained);
}

static ql_status check_options(const ql_dataset_options *opt, size_t n)
{
    if (n == 0) {
        QL_FAIL(QL_EINVAL, "no data file is given");
    }
    if (opt->format != QL_FORMAT_AUTO && !ql_shape_get(opt->format)) {
        QL_FAIL(QL_EINVAL, "%d is not a format of records", (int)opt->format);
    }
    if (opt->max_length < 2) {
        QL_FAIL(QL_EINVAL, "max_length must be at least 2");
    }
    return QL_OK;
}

static ql_status load(loader *l, const char *const *files, size_t n)
{
    const ql_dataset_report *r = &l->ds->report;

    for (size_t i = 0; i < n; i++) {
        QL_TRY(ql_records_read(files[i], load_record, l));
    }
    if (r->records == 0) {
        QL_FAIL(QL_EFORMAT,
                "%s%s: nothing to train on: no records; write one JSON object "
                "a line, such as {\"text\": \"...\"}",
                files[0], n > 1 ? " and others" : "");
    }
    if (r->samples == 0) {
        QL_FAIL(QL_EFORMAT,
                "%s%s: nothing to train on: of %zu records %zu are too long "
                "and %zu have no token to train within the maximum length of "
                "%zu",
                files[0], n > 1 ? " and others" : "", r->records,
                r->dropped_long, r->dropped_empty, l->opt->max_length);
    }
    return QL_OK;
}

ql_status ql_dataset_open(ql_dataset **out, const char *const *files, size_t n,
                          const ql_tokenizer *tok,
                          const ql_dataset_options *opt)
{
    loader l = {.tok = tok, .opt = opt};
    ql_status st;

    *out = NULL;
    QL_TRY(check_options(opt, n));
    ql_sample_draft_init(&l.draft);
    QL_TRY_DONE(new_dataset(&l.ds));
    QL_TRY_DONE(load(&l, files, n));
    *out = l.ds;
    l.ds = NULL;
done:
    ql_sample_draft_free(&l.draft);
    ql_dataset_close(&l.ds);
    return st;
}

static size_t count_trained(ql_sample s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        n += s.train[i];
    }
    return n;
}

/* Forgets the last n samples. */
static void forget(ql_dataset *ds, size_t n)
{
    ql_dataset_report *r = &ds->report;
    const size_t rest = r->samples - n;
    size_t longest = 0;

    for (size_t i = 0; i < r->samples; i++) {
        const ql_sample s = ql_dataset_sample(ds, i);

        if (i < rest) {
            longest = s.n > longest ? s.n : longest;
        } else {
            r->tokens -= s.n;
            r->trained_tokens -= count_trained(s);
        }
    }
    r->samples = rest;
    r->longest = longest;
    ds->ids.len = r->tokens * sizeof(int32_t);
    ds->train.len = r->tokens;
    ds->starts.len = rest * sizeof(size_t);
}

ql_status ql_dataset_of_samples(ql_dataset **out, const ql_sample *samples,
                                size_t n)
{
    ql_status st = new_dataset(out);

    for (size_t i = 0; st == QL_OK && i < n; i++) {
        (*out)->report.records++;
        st = keep(*out, samples[i], count_trained(samples[i]));
    }
    if (st != QL_OK) {
        ql_dataset_close(out);
    }
    return st;
}

ql_status ql_dataset_split(ql_dataset *ds, size_t n, ql_dataset **tail)
{
    const size_t size = ql_dataset_size(ds);
    ql_status st;

    *tail = NULL;
    if (n >= size) {
        QL_FAIL(QL_EINVAL,
                "%zu samples cannot be taken for evaluation: there are %zu, "
                "and some must be left to train on",
                n, size);
    }
    QL_TRY(new_dataset(tail));
    (*tail)->report.format = ds->report.format;
    (*tail)->report.records = n;
    for (size_t i = size - n; i < size; i++) {
        const ql_sample s = ql_dataset_sample(ds, i);

        st = keep(*tail, s, count_trained(s));
        if (st != QL_OK) {
            ql_dataset_close(tail);
            return st;
        }
    }
    forget(ds, n);
    return QL_OK;
}

size_t ql_dataset_size(const ql_dataset *ds)
{
    return ds->report.samples;
}

ql_sample ql_dataset_sample(const ql_dataset *ds, size_t i)
{
    const size_t *starts = (const void *)ds->starts.data;
    const int32_t *ids = (const void *)ds->ids.data;
    const uint8_t *train = (const void *)ds->train.data;
    const size_t end =
        i + 1 < ds->report.samples ? starts[i + 1] : ds->train.len;

    return (ql_sample){.ids = ids + starts[i],
                       .train = train + starts[i],
                       .n = end - starts[i]};
}

const ql_dataset_report *ql_dataset_report_of(const ql_dataset *ds)
{
    return &ds->report;
}
