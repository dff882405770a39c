/* All samples lie one after the other in one array of ids and one of marks;
 * starts says where each begins. */
#include "src/data/dataset_handle.h"

#include "src/base/buf.h"
#include "src/base/fail.h"
#include "src/data/draft.h"
#include "src/text/chat_model.h"

/* Where a sample comes from. */
typedef struct place {
    size_t line;
    uint32_t file;
    uint32_t goes_on; /* 1: its record is that of the sample before */
} place;

typedef struct issue {
    place place;
    ql_fate fate;
    char *reason;
} issue;

struct ql_dataset {
    ql_buf ids;    /* int32_t each */
    ql_buf train;  /* uint8_t each */
    ql_buf starts; /* size_t each: where sample i begins, in tokens */
    ql_buf labels; /* int32_t each */
    ql_buf places; /* place each */
    ql_buf files;  /* ql_dataset_report each; path and keys are owned */
    ql_buf issues; /* issue each; reason is owned */
    ql_labels classes;
    size_t max_issues;
    char *chat_template;
    char *date;
    ql_dataset_report report;
};

ql_status ql_dataset_new(ql_dataset **out, size_t max_length, size_t max_issues)
{
    ql_dataset *ds = ql_calloc(QL_TAG_DATA, 1, sizeof(*ds));

    *out = ds;
    if (!ds) {
        return QL_ENOMEM;
    }
    ql_buf_init(&ds->ids, QL_TAG_DATA, SIZE_MAX / 4);
    ql_buf_init(&ds->train, QL_TAG_DATA, SIZE_MAX / 4);
    ql_buf_init(&ds->starts, QL_TAG_DATA, SIZE_MAX / 4);
    ql_buf_init(&ds->labels, QL_TAG_DATA, SIZE_MAX / 4);
    ql_buf_init(&ds->places, QL_TAG_DATA, SIZE_MAX / 4);
    ql_buf_init(&ds->files, QL_TAG_DATA, SIZE_MAX / 4);
    ql_buf_init(&ds->issues, QL_TAG_DATA, SIZE_MAX / 4);
    ds->max_issues = max_issues;
    ds->report.max_length = max_length;
    ds->report.keys = "";
    return QL_OK;
}

static ql_dataset_report *file_at(const ql_dataset *ds, size_t i)
{
    return (ql_dataset_report *)(void *)ds->files.data + i;
}

void ql_dataset_close(ql_dataset **out)
{
    ql_dataset *ds = *out;

    *out = NULL;
    if (!ds) {
        return;
    }
    for (size_t i = 0; i < ql_dataset_files(ds); i++) {
        ql_free((void *)(uintptr_t)file_at(ds, i)->path);
        ql_free((void *)(uintptr_t)file_at(ds, i)->keys);
    }
    for (size_t i = 0; i < ql_dataset_issues(ds); i++) {
        ql_free(((issue *)(void *)ds->issues.data)[i].reason);
    }
    ql_buf_free(&ds->ids);
    ql_buf_free(&ds->train);
    ql_buf_free(&ds->starts);
    ql_buf_free(&ds->labels);
    ql_buf_free(&ds->places);
    ql_buf_free(&ds->files);
    ql_buf_free(&ds->issues);
    ql_labels_free(&ds->classes);
    ql_free(ds->chat_template);
    ql_free(ds->date);
    ql_free(ds);
}

void ql_dataset_take_labels(ql_dataset *ds, ql_labels *labels)
{
    ds->classes = *labels;
    *labels = (ql_labels){0};
}

const char *ql_dataset_class(const ql_dataset *ds, ql_sample s)
{
    return s.label > 0 && (size_t)s.label <= ds->classes.n
               ? ds->classes.name[s.label - 1]
               : NULL;
}

ql_status ql_dataset_begin_file(ql_dataset *ds, const char *path)
{
    ql_dataset_report r = {0};
    ql_status st;

    r.path = ql_strdup(QL_TAG_DATA, path);
    r.keys = ql_strdup(QL_TAG_DATA, "");
    st =
        r.path && r.keys ? ql_buf_append(&ds->files, &r, sizeof(r)) : QL_ENOMEM;
    if (st != QL_OK) {
        ql_free((void *)(uintptr_t)r.path);
        ql_free((void *)(uintptr_t)r.keys);
    }
    return st;
}

ql_status ql_dataset_set_form(ql_dataset *ds, ql_format format,
                              const char *keys)
{
    const size_t n = ql_dataset_files(ds);
    ql_dataset_report *r = file_at(ds, n - 1);
    char *copy = ql_strdup(QL_TAG_DATA, keys);

    if (!copy) {
        return QL_ENOMEM;
    }
    ql_free((void *)(uintptr_t)r->keys);
    r->keys = copy;
    r->format = format;
    if (ds->report.format == QL_FORMAT_AUTO) {
        ds->report.format = format;
        ds->report.keys = copy;
    }
    return QL_OK;
}

static size_t *count_of(ql_dataset_report *r, size_t count)
{
    return (size_t *)(void *)((char *)r + count);
}

void ql_dataset_count(ql_dataset *ds, size_t count, size_t n)
{
    const size_t files = ql_dataset_files(ds);

    *count_of(&ds->report, count) += n;
    if (files > 0) {
        *count_of(file_at(ds, files - 1), count) += n;
    }
}

/* Takes a sample into a report. */
static void include(ql_dataset_report *r, ql_sample s)
{
    r->samples++;
    r->tokens += s.n;
    r->trained_tokens += ql_sample_trained(s);
    r->longest = s.n > r->longest ? s.n : r->longest;
}

static ql_status append(ql_dataset *ds, ql_sample s, place p)
{
    const size_t start = ds->train.len;

    QL_TRY(ql_buf_append(&ds->ids, s.ids, s.n * sizeof(*s.ids)));
    QL_TRY(ql_buf_append(&ds->train, s.train, s.n));
    QL_TRY(ql_buf_append(&ds->places, &p, sizeof(p)));
    QL_TRY(ql_buf_append(&ds->starts, &start, sizeof(start)));
    QL_TRY(ql_buf_append(&ds->labels, &s.label, sizeof(s.label)));
    include(&ds->report, s);
    return QL_OK;
}

ql_status ql_dataset_keep(ql_dataset *ds, ql_sample s, size_t line,
                          bool goes_on)
{
    const size_t files = ql_dataset_files(ds);
    const place p = {.line = line,
                     .file = (uint32_t)(files > 0 ? files - 1 : 0),
                     .goes_on = goes_on};

    QL_TRY(append(ds, s, p));
    if (files > 0) {
        include(file_at(ds, files - 1), s);
    }
    return QL_OK;
}

ql_status ql_dataset_tell(ql_dataset *ds, size_t line, ql_fate fate,
                          const char *reason)
{
    issue i = {
        .place = {.line = line, .file = (uint32_t)(ql_dataset_files(ds) - 1)},
        .fate = fate};
    ql_status st;

    if (ql_dataset_issues(ds) >= ds->max_issues) {
        return QL_OK;
    }
    i.reason = ql_strdup(QL_TAG_DATA, reason);
    st = i.reason ? ql_buf_append(&ds->issues, &i, sizeof(i)) : QL_ENOMEM;
    if (st != QL_OK) {
        ql_free(i.reason);
    }
    return st;
}

ql_status ql_dataset_set_template(ql_dataset *ds, const char *text)
{
    ql_free(ds->chat_template);
    ds->chat_template = ql_strdup(QL_TAG_DATA, text);
    return ds->chat_template ? QL_OK : QL_ENOMEM;
}

ql_status ql_dataset_set_date(ql_dataset *ds, const struct tm *date)
{
    char text[64];

    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", date);
    ql_free(ds->date);
    ds->date = ql_strdup(QL_TAG_DATA, text);
    return ds->date ? QL_OK : QL_ENOMEM;
}

ql_status ql_dataset_of_samples(ql_dataset **out, const ql_sample *samples,
                                size_t n)
{
    ql_status st = ql_dataset_new(out, 0, 0);

    for (size_t i = 0; st == QL_OK && i < n; i++) {
        ql_dataset_count(*out, offsetof(ql_dataset_report, records), 1);
        st = ql_dataset_keep(*out, samples[i], 0, false);
    }
    if (st != QL_OK) {
        ql_dataset_close(out);
    }
    return st;
}

static place *place_at(const ql_dataset *ds, size_t i)
{
    return (place *)(void *)ds->places.data + i;
}

/* Forgets all but the first n samples. The reports on files stay. */
static void forget(ql_dataset *ds, size_t n)
{
    ql_dataset_report *r = &ds->report;
    const size_t size = r->samples;
    const size_t tokens = ((const size_t *)(void *)ds->starts.data)[n];

    for (size_t i = n; i < size; i++) {
        r->trained_tokens -= ql_sample_trained(ql_dataset_sample(ds, i));
    }
    r->longest = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t len = ql_dataset_sample(ds, i).n;

        r->longest = len > r->longest ? len : r->longest;
    }
    r->samples = n;
    r->tokens = tokens;
    ds->ids.len = tokens * sizeof(int32_t);
    ds->train.len = tokens;
    ds->starts.len = n * sizeof(size_t);
    ds->labels.len = n * sizeof(int32_t);
    ds->places.len = n * sizeof(place);
}

/* What a tail has in common with the data set it was taken from. */
static ql_status inherit(ql_dataset *tail, const ql_dataset *ds, size_t records)
{
    tail->report.format = ds->report.format;
    tail->report.records = records;
    if (ds->chat_template) {
        QL_TRY(ql_dataset_set_template(tail, ds->chat_template));
    }
    if (ds->date) {
        tail->date = ql_strdup(QL_TAG_DATA, ds->date);
    }
    return ds->date && !tail->date ? QL_ENOMEM : QL_OK;
}

ql_status ql_dataset_split(ql_dataset *ds, size_t n, ql_dataset **tail)
{
    const size_t size = ql_dataset_size(ds);
    size_t first = n < size ? size - n : 0;
    size_t records = 0;
    ql_status st;

    *tail = NULL;
    while (first > 0 && n > 0 && place_at(ds, first)->goes_on) {
        first--;
    }
    if (first == 0) {
        QL_FAIL(QL_EINVAL,
                "%zu samples cannot be taken for evaluation: there are %zu, "
                "and some must be left to train on",
                n, size);
    }
    QL_TRY(ql_dataset_new(tail, ds->report.max_length, 0));
    st = QL_OK;
    for (size_t i = first; i < size && st == QL_OK; i++) {
        records += !place_at(ds, i)->goes_on;
        st = append(*tail, ql_dataset_sample(ds, i), *place_at(ds, i));
    }
    if (st == QL_OK) {
        st = inherit(*tail, ds, records);
    }
    if (st != QL_OK) {
        ql_dataset_close(tail);
        return st;
    }
    if (first < size) {
        forget(ds, first);
    }
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
                       .n = end - starts[i],
                       .label = ((const int32_t *)(void *)ds->labels.data)[i]};
}

static ql_origin origin_of(const ql_dataset *ds, place p)
{
    return (ql_origin){
        .path = p.file < ql_dataset_files(ds) ? file_at(ds, p.file)->path : "",
        .line = p.line};
}

ql_origin ql_dataset_origin(const ql_dataset *ds, size_t i)
{
    return origin_of(ds, *place_at(ds, i));
}

const ql_dataset_report *ql_dataset_report_of(const ql_dataset *ds)
{
    return &ds->report;
}

size_t ql_dataset_files(const ql_dataset *ds)
{
    return ds->files.len / sizeof(ql_dataset_report);
}

const ql_dataset_report *ql_dataset_file_report(const ql_dataset *ds, size_t i)
{
    return file_at(ds, i);
}

size_t ql_dataset_issues(const ql_dataset *ds)
{
    return ds->issues.len / sizeof(issue);
}

ql_issue ql_dataset_issue(const ql_dataset *ds, size_t i)
{
    const issue *e = (const issue *)(const void *)ds->issues.data + i;

    return (ql_issue){.origin = origin_of(ds, e->place),
                      .fate = e->fate,
                      .reason = e->reason};
}

const char *ql_dataset_chat_template(const ql_dataset *ds)
{
    return ds->chat_template;
}

const char *ql_dataset_date(const ql_dataset *ds)
{
    return ds->date;
}

const char *ql_default_chat_template(void)
{
    return ql_chat_default();
}
