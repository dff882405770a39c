/* Files to a data set. Records are read one after the other, some megabytes at
 * a time; those are parsed, rendered and tokenized by all threads, and then
 * taken over in their order. What comes of it does not depend on how many
 * threads there are. */
#include <string.h>
#include <sys/stat.h>

#include "src/base/fail.h"
#include "src/base/note.h"
#include "src/data/dataset_handle.h"
#include "src/data/labelled.h"
#include "src/data/plain.h"
#include "src/data/reader.h"
#include "src/data/shape.h"

enum {
    BATCH_BYTES = 1 << 22, /* of records; at least one is read */
    BATCH_RECORDS = 2048,
    SMALL_BYTES = 1 << 14, /* a batch that is not worth several threads */
    FORM_RECORDS = 64      /* that a file's form is found by, at most */
};

/* A record of the batch, and what became of it. */
typedef struct item {
    size_t at, len; /* its text in the batch */
    size_t line;
    ql_status st;
    char *error; /* the sentence of a failure, with the place */
    ql_sample_draft draft;
    ql_shape_notes notes;
} item;

typedef struct loader {
    ql_dataset *ds;
    const ql_dataset_options *opt;
    ql_shaper shaper;
    ql_labels labels; /* none: the model is no classifier */
    const char *path; /* of the file at hand, */
    const ql_form *form;
    ql_buf text; /* the batch */
    item *items; /* [BATCH_RECORDS] */
    size_t n;
    ql_dataset_progress progress;
    uint64_t bytes_before; /* of the files before this one */
    struct {
        bool talks, tools, systems, as_is;
    } noted; /* what the user was told of */
} loader;

void ql_dataset_options_init(ql_dataset_options *opt)
{
    *opt = (ql_dataset_options){.format = QL_FORMAT_AUTO,
                                .truncation = QL_TRUNCATION_RIGHT,
                                .train_on = QL_TRAIN_ON_COMPLETIONS,
                                .max_length = 1024,
                                .max_issues = 100};
}

#define COUNT(l, field, n)                                                     \
    ql_dataset_count((l)->ds, offsetof(ql_dataset_report, field), (n))

/* The text of an item. A byte that does not count follows it. */
static const char *text_of(const loader *l, const item *it)
{
    return l->text.data + it->at;
}

/* True for what ends as an object does. */
static bool is_closed(const char *text, size_t len)
{
    while (len > 0 && strchr(" \t\r", text[len - 1])) {
        len--;
    }
    return len > 0 && text[len - 1] == '}';
}

static ql_status parse(const char *text, size_t len, const char *where,
                       json_t **out)
{
    const ql_status st = ql_json_parse(out, text, len, where);

    if (st == QL_EFORMAT && !is_closed(text, len)) {
        QL_FAIL(st, "%s; a record is one JSON object, {...}, on one line",
                ql_last_error());
    }
    QL_TRY(st);
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        QL_FAIL(QL_EFORMAT, "%s: a record must be a JSON object", where);
    }
    return QL_OK;
}

/* The most tokens of a sample. */
static size_t longest(const loader *l)
{
    const size_t most = l->opt->max_length;

    return l->labels.n > 0 && l->labels.longest < most ? l->labels.longest
                                                       : most;
}

static ql_status shape_labelled(const loader *l, const json_t *record, item *it)
{
    const bool cut = l->opt->truncation == QL_TRUNCATION_RIGHT;
    const ql_labelled how = {.tok = l->shaper.tok,
                             .labels = &l->labels,
                             .most = cut ? longest(l) : 0};

    return ql_labelled_push(&how, record, &it->draft);
}

/* What can go wrong with one record goes wrong here, on any thread. */
static ql_status shape_record(const loader *l, item *it, const char *where)
{
    json_t *record = NULL;
    ql_status st;

    QL_TRY(parse(text_of(l, it), it->len, where, &record));
    st = l->labels.n > 0
             ? shape_labelled(l, record, it)
             : ql_shape(&l->shaper, l->form, record, &it->draft, &it->notes);
    json_decref(record);
    return st == QL_OK ? st : ql_fail_prefix(st, "%s: ", where);
}

static void work_on(const loader *l, item *it)
{
    ql_buf where;

    ql_buf_init(&where, QL_TAG_DATA, SIZE_MAX / 4);
    ql_sample_draft_init(&it->draft);
    it->st = ql_buf_printf(&where, "%s:%zu", l->path, it->line);
    if (it->st == QL_OK) {
        it->st = shape_record(l, it, where.data);
    }
    it->error =
        it->st == QL_OK ? NULL : ql_strdup(QL_TAG_DATA, ql_last_error());
    ql_buf_free(&where);
}

static void free_item(item *it)
{
    ql_sample_draft_free(&it->draft);
    ql_free(it->error);
    it->error = NULL;
}

/* Leaves a record out, or ends the reading. error begins with the place. */
static ql_status refuse(loader *l, size_t line, ql_status st, const char *error)
{
    const char *reason;

    if (!error) {
        return QL_ENOMEM;
    }
    if (!l->opt->keep_going || st == QL_ENOMEM) {
        return ql_fail(st, "%s", error);
    }
    reason = strstr(error + strlen(l->path), ": ");
    COUNT(l, refused, 1);
    return ql_dataset_tell(l->ds, line, QL_FATE_REFUSED,
                           reason ? reason + 2 : error);
}

/* Leaves a sample out, and tells why. */
static ql_status leave_out(loader *l, size_t line, ql_fate fate, size_t n)
{
    char reason[160];

    if (fate == QL_FATE_EMPTY) {
        COUNT(l, dropped_empty, 1);
        snprintf(reason, sizeof(reason),
                 n > l->opt->max_length
                     ? "nothing to train on within the first %zu of %zu tokens"
                     : "nothing to train on",
                 l->opt->max_length, n);
    } else {
        COUNT(l, dropped_long, 1);
        snprintf(reason, sizeof(reason),
                 "%zu tokens, more than the %zu that are allowed", n,
                 l->opt->max_length);
    }
    return ql_dataset_tell(l->ds, line, fate, reason);
}

/* True when the answer's end is learnt: the last token that is trained is a
 * special one. */
static bool is_ended(const loader *l, ql_sample s)
{
    size_t i = s.n;

    while (i > 0 && !s.train[i - 1]) {
        i--;
    }
    return i > 0 && (s.ids[i - 1] == ql_tokenizer_eos(l->shaper.tok) ||
                     ql_added_is_special(&l->shaper.tok->added, s.ids[i - 1]));
}

static ql_status keep(loader *l, ql_sample s, size_t line, size_t whole,
                      bool goes_on)
{
    char reason[96];

    if (whole > s.n) {
        COUNT(l, truncated, 1);
        snprintf(reason, sizeof(reason), "cut from %zu tokens to %zu", whole,
                 s.n);
        QL_TRY(ql_dataset_tell(l->ds, line, QL_FATE_CUT, reason));
    } else if (s.label == 0 && !is_ended(l, s)) {
        COUNT(l, unended, 1);
    }
    return ql_dataset_keep(l->ds, s, line, goes_on);
}

static ql_status take_sample(loader *l, ql_sample s, size_t line, size_t whole,
                             bool goes_on)
{
    const size_t max = longest(l);

    if (whole > max && l->opt->truncation == QL_TRUNCATION_DROP) {
        return leave_out(l, line, QL_FATE_TOO_LONG, whole);
    }
    s.n = s.n > max ? max : s.n;
    if (ql_sample_trained(s) == 0) {
        return leave_out(l, line, QL_FATE_EMPTY, whole);
    }
    return keep(l, s, line, whole, goes_on);
}

/* A record is refused as a whole. */
static ql_status check_length(loader *l, const item *it, bool *refused)
{
    char error[4096 + 160];

    *refused = false;
    for (size_t i = 0; i < ql_sample_draft_count(&it->draft); i++) {
        const size_t n = ql_sample_draft_get(&it->draft, i).n;

        if (l->opt->truncation == QL_TRUNCATION_ERROR && n > longest(l)) {
            snprintf(error, sizeof(error),
                     "%s:%zu: the record has %zu tokens, more than the %zu "
                     "that are allowed",
                     l->path, it->line, n, longest(l));
            *refused = true;
            return refuse(l, it->line, QL_EFORMAT, error);
        }
    }
    return QL_OK;
}

/* Says once what the user should know of how records were shaped. */
static ql_status note(loader *l, ql_shape_notes notes)
{
    const ql_chat *chat = &l->shaper.styles.chat;

    if (notes.talks && !l->noted.talks) {
        l->noted.talks = true;
        if (chat->kind == QL_CHAT_DEFAULT) {
            ql_note("the model has no chat template: the default form is used");
        }
        if (chat->kind != QL_CHAT_OWN) {
            QL_TRY(ql_dataset_set_template(l->ds, chat->text));
        }
        if (chat->dated) {
            QL_TRY(ql_dataset_set_date(l->ds, &chat->now));
            ql_note("the chat template tells the date: it is %s in all "
                    "conversations",
                    ql_dataset_date(l->ds));
        }
    }
    if (!notes.talks && !l->noted.as_is && chat->plain &&
        chat->kind != QL_CHAT_DEFAULT &&
        ql_form_format(l->form) == QL_FORMAT_PROMPT_COMPLETION) {
        l->noted.as_is = true;
        ql_note("prompts and completions that are strings are trained as they "
                "are, without the chat template; as lists of messages they "
                "are written by it");
    }
    if (notes.lacks.systems && !l->noted.systems) {
        l->noted.systems = true;
        ql_note("the chat template does not show system turns: they are "
                "written before what the user says next");
    }
    if (notes.lacks.tools && !l->noted.tools) {
        l->noted.tools = true;
        ql_note("the chat template does not show tools, or calls of them: what "
                "it does not show is written as text");
    }
    return QL_OK;
}

static ql_status take_record(loader *l, const item *it)
{
    const size_t n = ql_sample_draft_count(&it->draft);
    const size_t before = ql_dataset_size(l->ds);
    bool refused;

    COUNT(l, records, 1);
    if (it->st != QL_OK) {
        return refuse(l, it->line, it->st, it->error);
    }
    QL_TRY(note(l, it->notes));
    QL_TRY(check_length(l, it, &refused));
    COUNT(l, bos_removed, it->draft.bos_removed);
    COUNT(l, changed, it->draft.changed);
    COUNT(l, split, n > 1);
    for (size_t i = 0; i < n && !refused; i++) {
        const ql_sample s = ql_sample_draft_get(&it->draft, i);

        QL_TRY(take_sample(l, s, it->line, s.label > 0 ? it->draft.whole : s.n,
                           ql_dataset_size(l->ds) > before));
    }
    return QL_OK;
}

/* The batch by all threads; then its items in their order. */
static ql_status work(loader *l)
{
    ql_status st = QL_OK;

#pragma omp parallel for schedule(dynamic) if (l->text.len > SMALL_BYTES)
    for (size_t i = 0; i < l->n; i++) {
        work_on(l, &l->items[i]);
    }
    for (size_t i = 0; i < l->n; i++) {
        st = st == QL_OK ? take_record(l, &l->items[i]) : st;
        free_item(&l->items[i]);
    }
    return st;
}

static ql_status tell_progress(loader *l, const ql_reader *r)
{
    l->progress.bytes = l->bytes_before + ql_lines_at(&r->lines);
    l->progress.records = ql_dataset_report_of(l->ds)->records;
    l->progress.tokens = ql_dataset_report_of(l->ds)->tokens;
    if (l->opt->progress && !l->opt->progress(&l->progress, l->opt->user)) {
        QL_FAIL(QL_ECANCELLED, "stopped while reading %s", l->path);
    }
    return QL_OK;
}

static ql_status read_batch(loader *l, ql_reader *r, bool *more)
{
    l->n = 0;
    ql_buf_clear(&l->text);
    while (l->n < BATCH_RECORDS && l->text.len < BATCH_BYTES) {
        item *it = &l->items[l->n];

        *it = (item){.at = l->text.len};
        QL_TRY(ql_reader_next(r, &l->text, &it->line, more));
        if (!*more) {
            return QL_OK;
        }
        it->len = l->text.len - it->at;
        l->n++;
    }
    return QL_OK;
}

/* Reads the chat template before the first file that may need it. Prompts that
 * are strings do without, so one that cannot be read is no fault then. */
static ql_status need_chat(loader *l)
{
    const ql_format format = ql_form_format(l->form);
    ql_status st;

    if (format == QL_FORMAT_TEXT || format == QL_FORMAT_CLASSIFICATION ||
        l->shaper.styles.plain.chat) {
        return QL_OK;
    }
    st = ql_styles_open(&l->shaper.styles, l->shaper.tok, l->opt->chat_template,
                        l->opt->date);
    if (st != QL_OK) {
        ql_styles_close(&l->shaper.styles);
    }
    return format == QL_FORMAT_PROMPT_COMPLETION && st != QL_ENOMEM &&
                   !l->opt->chat_template
               ? QL_OK
               : st;
}

/* What the user should know once the form is known. */
static ql_status note_form(loader *l)
{
    if (l->labels.n == 0 && ql_tokenizer_eos(l->shaper.tok) < 0 &&
        ql_dataset_files(l->ds) == 1) {
        ql_warn("the tokenizer names no end token: the model will not learn "
                "where an answer ends");
    }
    if (ql_form_note(l->form)) {
        ql_note("%s: %s", l->path, ql_form_note(l->form));
    }
    return need_chat(l);
}

/* The form of a file by its first records, of which those that cannot be read
 * are passed over. */
static ql_status find_form(loader *l)
{
    json_t *records[FORM_RECORDS];
    size_t first = 0;
    size_t n = 0;
    ql_buf keys;
    ql_status st = QL_OK;

    ql_buf_init(&keys, QL_TAG_DATA, SIZE_MAX / 4);
    for (size_t i = 0; i < l->n && n < FORM_RECORDS; i++) {
        const item *it = &l->items[i];

        if (parse(text_of(l, it), it->len, "", &records[n]) == QL_OK) {
            first = n == 0 ? it->line : first;
            n++;
        }
    }
    if (n > 0 && l->labels.n > 0) {
        l->form = ql_form_labelled();
    } else if (n > 0) {
        st = ql_form_find(&l->form, records, n, l->opt->format);
        if (st != QL_OK) {
            st = ql_fail_prefix(st, "%s:%zu: ", l->path, first);
        }
    }
    if (st == QL_OK && l->form) {
        st = l->labels.n > 0 ? ql_labelled_keys(records[0], &keys)
                             : ql_form_keys(l->form, records[0], &keys);
        if (st == QL_OK) {
            st = ql_buf_puts(&keys, "");
        }
    }
    if (st == QL_OK && l->form) {
        st = ql_dataset_set_form(l->ds, ql_form_format(l->form), keys.data);
    }
    while (n > 0) {
        json_decref(records[--n]);
    }
    ql_buf_free(&keys);
    return st == QL_OK && l->form ? note_form(l) : st;
}

static ql_status load_records(loader *l, ql_reader *r)
{
    bool more = true;

    while (more) {
        QL_TRY(read_batch(l, r, &more));
        if (!l->form && l->n > 0) {
            QL_TRY(find_form(l));
        }
        QL_TRY(work(l));
        QL_TRY(tell_progress(l, r));
    }
    return QL_OK;
}

static ql_status load_text(loader *l, ql_reader *r)
{
    bool more = true;
    ql_plain text;
    ql_status st = QL_OK;

    if (l->labels.n > 0) {
        QL_FAIL(QL_EFORMAT,
                "%s: the model is a classifier, and plain text has no labels; "
                "write records such as {\"text\": \"...\", \"label\": 0}",
                l->path);
    }
    l->form = ql_form_plain_text();
    COUNT(l, records, 1);
    QL_TRY(ql_dataset_set_form(l->ds, QL_FORMAT_TEXT, ""));
    QL_TRY(note_form(l));
    if (r->odd) {
        ql_warn("%s is read as plain text, as its name says, though it looks "
                "like JSON: name it .jsonl, or say which format it has",
                l->path);
    }
    ql_plain_init(&text, l->ds, l->shaper.tok, l->opt->max_length);
    text.line += r->lines.number;
    while (st == QL_OK && more) {
        st = ql_plain_next(&text, r, &more);
        st = st == QL_OK ? tell_progress(l, r) : st;
    }
    ql_plain_free(&text);
    return st;
}

static ql_status load_file(loader *l, const char *path)
{
    ql_reader r;
    ql_status st;

    l->path = path;
    l->form = NULL;
    QL_TRY_DONE(ql_reader_open(&r, path, l->opt->format));
    QL_TRY_DONE(ql_dataset_begin_file(l->ds, path));
    QL_TRY_DONE((r.kind == QL_READER_TEXT ? load_text : load_records)(l, &r));
    l->bytes_before += r.lines.size;
done:
    ql_reader_free(&r);
    return st;
}

/* Bytes of all files; 0 if one of them is no regular file, or not there. */
static uint64_t size_of(const char *const *files, size_t n)
{
    uint64_t sum = 0;
    struct stat s;

    for (size_t i = 0; i < n; i++) {
        if (stat(files[i], &s) != 0 || !S_ISREG(s.st_mode)) {
            return 0;
        }
        sum += (uint64_t)s.st_size;
    }
    return sum;
}

static ql_status check_options(const ql_dataset_options *opt, size_t n)
{
    if (n == 0) {
        QL_FAIL(QL_EINVAL, "no data file is given");
    }
    if (!ql_format_name(opt->format)) {
        QL_FAIL(QL_EINVAL, "%d is not a format of records", (int)opt->format);
    }
    if (opt->max_length < 2) {
        QL_FAIL(QL_EINVAL, "max_length must be at least 2");
    }
    return QL_OK;
}

/* A classifier's records have one form, and no other model's have it. */
static ql_status check_format(const loader *l)
{
    const ql_format given = l->opt->format;

    if (l->labels.n > 0 && given != QL_FORMAT_AUTO &&
        given != QL_FORMAT_CLASSIFICATION) {
        QL_FAIL(QL_EINVAL,
                "the model is a classifier: its records are texts with "
                "labels; leave format %s out",
                ql_format_name(given));
    }
    if (l->labels.n == 0 && given == QL_FORMAT_CLASSIFICATION) {
        QL_FAIL(QL_EINVAL, "format classification: the model is no "
                           "classifier");
    }
    return QL_OK;
}

static ql_status check_result(const loader *l, const char *file, bool others)
{
    const ql_dataset_report *r = ql_dataset_report_of(l->ds);

    if (r->samples > 0 || l->opt->keep_going) {
        return QL_OK;
    }
    if (r->records == 0) {
        QL_FAIL(QL_EFORMAT,
                "%s%s: nothing to train on: no records; write one JSON object "
                "a line, such as {\"text\": \"...\"}",
                file, others ? " and others" : "");
    }
    QL_FAIL(QL_EFORMAT,
            "%s%s: nothing to train on: of %zu records %zu are too long and "
            "%zu have no token to train within the maximum length of %zu",
            file, others ? " and others" : "", r->records, r->dropped_long,
            r->dropped_empty, l->opt->max_length);
}

/* What the user should know of all that was read. */
static void note_result(const loader *l)
{
    const ql_dataset_report *r = ql_dataset_report_of(l->ds);

    if (r->split > 0) {
        ql_note(
            "the chat template writes turns otherwise once a conversation "
            "goes on: %zu conversations were split into several samples, so "
            "that each turn is trained as it is generated",
            r->split);
    }
    if (r->changed > 0) {
        ql_warn("the chat template changes %zu turns of the assistant, or "
                "leaves part of them out",
                r->changed);
    }
    if (r->bos_removed > 0) {
        ql_note("%zu samples began with two BOS tokens; one was left out",
                r->bos_removed);
    }
    if (r->unended > 0 && l->labels.n == 0 &&
        ql_tokenizer_eos(l->shaper.tok) >= 0) {
        ql_warn("%zu samples end in no special token: where an answer ends is "
                "not learnt from them",
                r->unended);
    }
}

ql_status ql_dataset_open(ql_dataset **out, const char *const *files, size_t n,
                          const ql_tokenizer *tok,
                          const ql_dataset_options *opt)
{
    loader l = {.opt = opt, .shaper = {.tok = tok, .train_on = opt->train_on}};
    ql_status st;

    *out = NULL;
    QL_TRY(check_options(opt, n));
    ql_buf_init(&l.text, QL_TAG_DATA, SIZE_MAX / 4);
    l.items = ql_alloc(QL_TAG_DATA, BATCH_RECORDS, sizeof(*l.items));
    l.progress.total = size_of(files, n);
    QL_TRY_DONE(l.items ? QL_OK : QL_ENOMEM);
    QL_TRY_DONE(ql_labels_init(&l.labels, tok->dir));
    QL_TRY_DONE(check_format(&l));
    QL_TRY_DONE(ql_dataset_new(&l.ds, longest(&l), opt->max_issues));
    for (size_t i = 0; i < n; i++) {
        QL_TRY_DONE(load_file(&l, files[i]));
    }
    QL_TRY_DONE(check_result(&l, files[0], n > 1));
    note_result(&l);
    ql_dataset_take_labels(l.ds, &l.labels);
    *out = l.ds;
    l.ds = NULL;
done:
    ql_free(l.items);
    ql_buf_free(&l.text);
    ql_styles_close(&l.shaper.styles);
    ql_labels_free(&l.labels);
    ql_dataset_close(&l.ds);
    return st;
}
