#include "src/train/trainer_state.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/json.h"
#include "src/base/json_scan.h"
#include "src/base/quote.h"
#include "src/base/textfile.h"
#include "src/train/row_fields.h"

enum {
    MAX_BYTES = 512 << 20,
    MAX_KEY = 1 << 10
};

#define SUM(name) offsetof(ql_history_sum, name)

static const ql_row_field sum_fields[] = {
    {"hits", false, SUM(loss.hits), 0, false},
    {"loss_sum", true, SUM(loss.sum), 0, false},
    {"seconds", true, SUM(seconds), 0, false},
    {"steps", false, SUM(steps), 0, false},
    {"tokens", false, SUM(tokens), 0, false},
    {"trained_tokens", false, SUM(loss.count), 0, false},
};

enum {
    SUM_FIELDS = sizeof(sum_fields) / sizeof(sum_fields[0])
};

/* The fields of a structure that are of a kind, as the inside of an object. */
static ql_status put_fields(ql_buf *out, const ql_row_field *f, size_t n,
                            int kind, const void *structure, int indent,
                            bool classes)
{
    const char *before = "";

    for (size_t i = 0; i < n; i++) {
        const void *at = (const char *)structure + f[i].offset;

        if ((kind != 0 && !(f[i].kinds & kind)) || (f[i].classes && !classes)) {
            continue;
        }
        QL_TRY(ql_buf_printf(out, "%s\n%*s\"%s\": ", before, indent, "",
                             f[i].key));
        if (f[i].real) {
            QL_TRY(ql_json_put_real(out, *(const double *)at));
        } else {
            QL_TRY(ql_buf_printf(out, "%zu", *(const size_t *)at));
        }
        before = ",";
    }
    return QL_OK;
}

static ql_status put_rows(ql_textfile *file, const ql_history *h)
{
    ql_buf *out = &file->text;

    for (size_t i = 0; i < ql_history_size(h); i++) {
        const ql_train_event *e = ql_history_row(h, i);

        QL_TRY(ql_buf_puts(out, i > 0 ? ",\n    {" : "\n    {"));
        QL_TRY(
            ql_buf_puts(out, e->closing ? "\n      \"closing\": true," : ""));
        QL_TRY(put_fields(out, ql_row_fields, QL_ROW_FIELDS, 1 << e->kind, e, 6,
                          e->classifies));
        QL_TRY(ql_buf_puts(out, "\n    }"));
        QL_TRY(ql_textfile_flush(file));
    }
    return ql_buf_puts(out, ql_history_size(h) > 0 ? "\n  ]" : "]");
}

static ql_status put_sum(ql_buf *out, const char *key,
                         const ql_history_sum *sum)
{
    QL_TRY(ql_buf_printf(out, "        \"%s\": {", key));
    QL_TRY(put_fields(out, sum_fields, SUM_FIELDS, 0, sum, 10, false));
    return ql_buf_puts(out, "\n        }");
}

/* transformers keeps what its callbacks must remember in the same place. */
static ql_status put_sums(ql_buf *out, const ql_history *h)
{
    QL_TRY(ql_buf_puts(out, "  \"stateful_callbacks\": {\n"
                            "    \"QloraHistory\": {\n"
                            "      \"args\": {},\n"
                            "      \"attributes\": {\n"));
    QL_TRY(put_sum(out, "all", &h->all));
    QL_TRY(ql_buf_puts(out, ",\n"));
    QL_TRY(put_sum(out, "last", &h->last));
    return ql_buf_puts(out, "\n      }\n    }\n  },\n");
}

static ql_status put_best(ql_buf *out, const ql_trainer_state *s,
                          const ql_history *h)
{
    const ql_train_event *best = ql_history_best(h);

    QL_TRY(ql_buf_puts(out, "{\n  \"best_global_step\": "));
    QL_TRY(best ? ql_buf_printf(out, "%zu", best->step)
                : ql_buf_puts(out, "null"));
    QL_TRY(ql_buf_puts(out, ",\n  \"best_metric\": "));
    QL_TRY(best ? ql_json_put_real(out, best->eval_loss)
                : ql_buf_puts(out, "null"));
    QL_TRY(ql_buf_puts(out, ",\n  \"best_model_checkpoint\": "));
    QL_TRY(s->best_checkpoint ? ql_quote_ascii(out, s->best_checkpoint,
                                               strlen(s->best_checkpoint))
                              : ql_buf_puts(out, "null"));
    return ql_buf_puts(out, ",\n");
}

/* All keys, sorted, as json.dumps(..., indent=2, sort_keys=True) has them. */
static ql_status put_state(ql_textfile *file, const ql_trainer_state *s,
                           const ql_history *h)
{
    ql_buf *out = &file->text;
    const ql_train_options *o = s->opt;
    const size_t steps = h->all.steps;

    QL_TRY(put_best(out, s, h));
    QL_TRY(ql_buf_puts(out, "  \"epoch\": "));
    QL_TRY(ql_json_put_real(out,
                            (double)steps / (double)s->length.steps_per_epoch));
    QL_TRY(ql_buf_printf(out,
                         ",\n  \"eval_steps\": %zu,\n"
                         "  \"global_step\": %zu,\n"
                         "  \"is_hyper_param_search\": false,\n"
                         "  \"is_local_process_zero\": true,\n"
                         "  \"is_world_process_zero\": true,\n"
                         "  \"log_history\": [",
                         o->eval_steps, steps));
    QL_TRY(put_rows(file, h));
    QL_TRY(ql_buf_printf(
        out,
        ",\n  \"logging_steps\": %zu,\n"
        "  \"max_steps\": %zu,\n"
        "  \"num_input_tokens_seen\": %zu,\n"
        "  \"num_train_epochs\": %.0f,\n",
        o->logging_steps, s->length.total, h->all.tokens,
        ceil((double)s->length.total / (double)s->length.steps_per_epoch)));
    QL_TRY(ql_buf_printf(out, "  \"save_steps\": %zu,\n", o->save_steps));
    QL_TRY(put_sums(out, h));
    return ql_buf_printf(out,
                         "  \"train_batch_size\": %zu,\n"
                         "  \"trial_name\": null,\n"
                         "  \"trial_params\": null\n}\n",
                         o->per_device_train_batch_size);
}

ql_status ql_trainer_state_save(const ql_trainer_state *s, const ql_history *h,
                                const char *path)
{
    ql_textfile file;
    ql_status st;

    QL_TRY(ql_textfile_init(&file, path));
    QL_TRY_DONE(put_state(&file, s, h));
    st = ql_textfile_commit(&file);
done:
    ql_textfile_free(&file);
    return st;
}

static ql_status read_fields(const json_t *o, const ql_row_field *f, size_t n,
                             int kind, const char *where, void *structure)
{
    for (size_t i = 0; i < n; i++) {
        void *at = (char *)structure + f[i].offset;

        if ((kind != 0 && !(f[i].kinds & kind)) ||
            (f[i].classes && !json_object_get(o, f[i].key))) {
            continue;
        }
        if (!json_object_get(o, f[i].key)) {
            QL_FAIL(QL_EFORMAT, "%s: \"%s\" is missing", where, f[i].key);
        }
        QL_TRY(f[i].real ? ql_json_real(o, f[i].key, where, at)
                         : ql_json_size(o, f[i].key, where, at));
    }
    return QL_OK;
}

/* A row is told from others by what only it has. */
static ql_status read_row(ql_history *h, const json_t *row, const char *where)
{
    ql_train_event e = {
        .kind = json_object_get(row, "loss")        ? QL_TRAIN_STEP
                : json_object_get(row, "eval_loss") ? QL_TRAIN_EVAL
                                                    : QL_TRAIN_DONE,
        .closing = json_is_true(json_object_get(row, "closing")),
        .classifies = json_object_get(row, "eval_f1") != NULL,
        .log = true};

    if (!json_is_object(row)) {
        QL_FAIL(QL_EFORMAT, "%s: a row of \"log_history\" is no object", where);
    }
    QL_TRY(
        read_fields(row, ql_row_fields, QL_ROW_FIELDS, 1 << e.kind, where, &e));
    return ql_buf_append(&h->rows, &e, sizeof(e));
}

/* The next value as a tree. Owned: *out. */
static ql_status read_value(ql_json_scan *s, json_t **out)
{
    const char *from = s->p;

    *out = NULL;
    QL_TRY(ql_json_scan_skip(s));
    return ql_json_parse(out, from, (size_t)(s->p - from), s->where);
}

/* Row by row: a tree of all of them would be many times what they take. */
static ql_status read_rows(ql_history *h, ql_json_scan *s)
{
    QL_TRY(ql_json_scan_expect(s, '['));
    if (ql_json_scan_take(s, ']')) {
        return QL_OK;
    }
    do {
        json_t *row;
        ql_status st;

        QL_TRY(read_value(s, &row));
        st = read_row(h, row, s->where);
        json_decref(row);
        QL_TRY(st);
    } while (ql_json_scan_take(s, ','));
    return ql_json_scan_expect(s, ']');
}

static ql_status read_sums(ql_history *h, ql_json_scan *s, bool *found)
{
    const json_t *sums;
    json_t *callbacks;
    ql_status st;

    QL_TRY(read_value(s, &callbacks));
    sums = json_object_get(json_object_get(callbacks, "QloraHistory"),
                           "attributes");
    *found = sums != NULL;
    st = sums ? read_fields(json_object_get(sums, "all"), sum_fields,
                            SUM_FIELDS, 0, s->where, &h->all)
              : QL_OK;
    if (sums && st == QL_OK) {
        st = read_fields(json_object_get(sums, "last"), sum_fields, SUM_FIELDS,
                         0, s->where, &h->last);
    }
    json_decref(callbacks);
    return st;
}

/* What of a state was read. */
typedef struct parts {
    bool rows, sums;
} parts;

static ql_status foreign(const ql_json_scan *s)
{
    QL_FAIL(QL_EFORMAT, "%s: not the log of a run of ours", s->where);
}

/* The value of a key. */
static ql_status read_part(ql_history *h, ql_json_scan *s, const char *key,
                           parts *done)
{
    if (!done->rows && strcmp(key, "log_history") == 0) {
        done->rows = ql_json_scan_peek(s) == '[';
        return done->rows ? read_rows(h, s) : foreign(s);
    }
    if (!done->sums && strcmp(key, "stateful_callbacks") == 0) {
        return read_sums(h, s, &done->sums);
    }
    return ql_json_scan_skip(s);
}

static ql_status read_state(ql_history *h, ql_json_scan *s, ql_buf *key)
{
    parts done = {0};

    if (!ql_json_scan_take(s, '{')) {
        QL_FAIL(QL_EFORMAT, "%s: must be a JSON object", s->where);
    }
    while (!ql_json_scan_take(s, '}')) {
        QL_TRY(ql_json_scan_string(s, key));
        QL_TRY(ql_json_scan_expect(s, ':'));
        QL_TRY(read_part(h, s, key->data, &done));
        if (ql_json_scan_peek(s) != '}') {
            QL_TRY(ql_json_scan_expect(s, ','));
        }
    }
    return done.rows && done.sums ? QL_OK : foreign(s);
}

ql_status ql_trainer_state_load(ql_history *h, const char *path)
{
    ql_json_scan s = {.where = path};
    char *text = NULL;
    size_t len;
    ql_status st;
    ql_buf key;

    QL_TRY(ql_file_read(path, MAX_BYTES, &text, &len));
    s.begin = s.p = text;
    s.end = text + len;
    ql_buf_init(&key, QL_TAG_MISC, MAX_KEY);
    st = read_state(h, &s, &key);
    ql_buf_free(&key);
    ql_free(text);
    if (st != QL_OK) {
        ql_history_free(h);
        ql_history_init(h);
    }
    return st;
}
