#include "src/train/report_facts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/utf8_check.h"
#include "src/train/report_adapter.h"

const char *ql_fact_number(char text[QL_FACT_BYTES], double x, int digits)
{
    char plain[QL_FACT_BYTES];
    const int n = snprintf(plain, 32, "%.*f", digits, x);
    const int whole = n - (digits > 0 ? digits + 1 : 0);
    char *to = text;

    for (int i = 0; i < n && i < 31; i++) {
        if (i > 0 && i < whole && (whole - i) % 3 == 0 && plain[i - 1] != '-') {
            *to++ = ',';
        }
        *to++ = plain[i];
    }
    *to = '\0';
    return text;
}

const char *ql_fact_count(char text[QL_FACT_BYTES], size_t n)
{
    if (n < 10000000) {
        return ql_fact_number(text, (double)n, 0);
    }
    snprintf(text, QL_FACT_BYTES,
             n < 1000000000 ? "%.3g million" : "%.3g billion",
             (double)n / (n < 1000000000 ? 1e6 : 1e9));
    return text;
}

const char *ql_fact_bytes(char text[QL_FACT_BYTES], uint64_t bytes)
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double x = (double)bytes;
    size_t i = 0;

    while (i < 4 && x >= 1023.95) { /* would be shown as 1024.0 */
        x /= 1024;
        i++;
    }
    snprintf(text, QL_FACT_BYTES, i > 0 ? "%.1f %s" : "%.0f %s", x, names[i]);
    return text;
}

const char *ql_fact_time(char text[QL_FACT_BYTES], double seconds)
{
    const unsigned long s = (unsigned long)fmax(0, seconds + 0.5);

    if (s >= 3600) {
        snprintf(text, QL_FACT_BYTES, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60,
                 s % 60);
    } else {
        snprintf(text, QL_FACT_BYTES, "%lu:%02lu", s / 60, s % 60);
    }
    return text;
}

json_t *ql_fact_text(const char *text)
{
    const size_t n = strlen(text);
    const bool valid = ql_utf8_valid(text, n);
    char *copy = ql_strdup(QL_TAG_MISC, text);
    json_t *out;

    if (!copy) {
        return NULL;
    }
    for (char *p = copy; *p; p++) {
        const unsigned char c = (unsigned char)*p;

        *p = c < 0x20 || c == 0x7f || (c >= 0x80 && !valid) ? '?' : *p;
    }
    out = json_stringn(copy, n);
    ql_free(copy);
    return out;
}

/* The last part of a path. Owned: ql_free. */
static char *last_part(const char *path)
{
    size_t end = strlen(path);
    size_t start;

    while (end > 1 && path[end - 1] == '/') {
        end--;
    }
    start = end;
    while (start > 0 && path[start - 1] != '/') {
        start--;
    }
    return ql_strndup(QL_TAG_MISC, path + start, end - start);
}

json_t *ql_fact_base_name(const char *path)
{
    char *name = last_part(path);
    char *real = NULL;
    json_t *out;

    if (name && (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)) {
        real = realpath(path, NULL);
    }
    if (real) {
        ql_free(name);
        name = last_part(real);
        free(real);
    }
    out = name ? ql_fact_text(*name ? name : path) : NULL;
    ql_free(name);
    return out;
}

json_t *ql_fact_status(const ql_report *r)
{
    static const char *const styles[] = {
        [QL_REPORT_RUNNING] = "running",
        [QL_REPORT_FINISHED] = "finished",
        [QL_REPORT_STOPPED] = "stopped",
        [QL_REPORT_FAILED] = "failed",
    };
    static const char *const kept[] = {
        "; the adapter is the best one, of step ",
        "; the model is the best one, of step ",
    };
    const ql_history_sum *all = &r->history->all;
    const double left = (double)(r->length.total - all->steps);
    char steps[QL_FACT_BYTES];
    char total[QL_FACT_BYTES];
    char time[QL_FACT_BYTES];
    json_t *text;

    ql_fact_number(steps, (double)all->steps, 0);
    ql_fact_number(total, (double)r->length.total, 0);
    if (r->state == QL_REPORT_FINISHED) {
        text = json_sprintf(
            "Finished after %s step%s%s%s%s%s", steps,
            all->steps == 1 ? "" : "s",
            r->kept > 0 ? kept[r->adapter->opt.full] : "",
            r->kept > 0 ? ql_fact_number(total, (double)r->kept, 0) : "",
            r->why ? "; " : "", r->why ? r->why : "");
    } else if (r->state == QL_REPORT_RUNNING) {
        ql_fact_time(time, all->steps > 0
                               ? all->seconds / (double)all->steps * left
                               : 0);
        text = json_sprintf("Running: step %s of %s, %s left when this was "
                            "written; the page reloads itself",
                            steps, total, time);
    } else {
        text = ql_fact_text(r->why);
    }
    return json_pack("{s:s, s:o}", "style", styles[r->state], "text", text);
}

/* A figure whose parts are texts. from may be "". */
static json_t *figure(const char *label, const char *from, const char *value,
                      const char *unit, const char *note)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "label", label, "from", from,
                     "value", value, "unit", unit, "note", note);
}

/* First and last row of a kind, up to step most; NULL if there is none. */
static void ends(const ql_history *h, ql_train_event_kind kind, size_t most,
                 const ql_train_event **first, const ql_train_event **last)
{
    *first = *last = NULL;
    for (size_t i = 0; i < ql_history_size(h); i++) {
        const ql_train_event *e = ql_history_row(h, i);

        if (e->kind == kind && e->step <= most) {
            *first = *first ? *first : e;
            *last = e;
        }
    }
}

static void add_learning(json_t *list, const ql_report *r)
{
    const size_t most = r->kept > 0 ? r->kept : SIZE_MAX;
    const ql_train_event *a;
    const ql_train_event *b;
    char from[QL_FACT_BYTES];
    char to[QL_FACT_BYTES];
    char note[2 * QL_FACT_BYTES] = "";
    bool eval;

    ends(r->history, QL_TRAIN_EVAL, most, &a, &b);
    eval = a && b != a;
    if (!eval) {
        ends(r->history, QL_TRAIN_STEP, most, &a, &b);
    }
    if (!a) {
        return;
    }
    ql_fact_number(from, eval ? a->eval_loss : a->loss, 3);
    ql_fact_number(to, eval ? b->eval_loss : b->loss, 3);
    if (eval) {
        snprintf(note, sizeof(note), "perplexity %.3g \xE2\x86\x92 %.3g",
                 exp(a->eval_loss), exp(b->eval_loss));
    }
    json_array_append_new(list,
                          figure(eval ? "Evaluation loss" : "Training loss",
                                 a != b ? from : "", to, "",
                                 eval            ? note
                                 : b->classifies ? "nats a text"
                                                 : "nats a token"));
    ql_fact_number(from, 100 * (eval ? a->eval_accuracy : a->accuracy), 1);
    ql_fact_number(to, 100 * (eval ? b->eval_accuracy : b->accuracy), 1);
    json_array_append_new(list, figure("Accuracy", a != b ? from : "", to, "%",
                                       eval ? "in evaluation" : "in training"));
    if (eval && b->classifies) {
        ql_fact_number(from, a->eval_f1, 3);
        ql_fact_number(to, b->eval_f1, 3);
        json_array_append_new(
            list, figure("F1", a != b ? from : "", to, "", "in evaluation"));
    }
}

/* A number of bytes with its unit apart. */
static json_t *bytes_figure(const char *label, uint64_t bytes, const char *note)
{
    char text[QL_FACT_BYTES];
    char *unit;

    ql_fact_bytes(text, bytes);
    unit = strchr(text, ' ');
    *unit = '\0';
    return figure(label, "", text, unit + 1, note);
}

json_t *ql_fact_figures(const ql_report *r)
{
    const ql_history *h = r->history;
    const ql_history_sum *all = &h->all;
    const size_t rows = ql_history_size(h);
    const double epochs =
        (double)all->steps / (double)r->length.steps_per_epoch;
    char a[QL_FACT_BYTES];
    char b[QL_FACT_BYTES];
    char note[2 * QL_FACT_BYTES + 16];
    json_t *list = json_array();
    ql_model_info m;
    ql_memory_use mem;

    ql_memory_read(&mem);
    ql_model_info_read(r->model, &m);
    add_learning(list, r);
    snprintf(note, sizeof(note), "%s step%s, %s epoch%s",
             ql_fact_number(a, (double)all->steps, 0),
             all->steps == 1 ? "" : "s",
             ql_fact_number(b, epochs, epochs == floor(epochs) ? 0 : 2),
             epochs == 1 ? "" : "s");
    ql_fact_time(a, rows > 0 ? ql_history_row(h, rows - 1)->elapsed_s : 0);
    json_array_append_new(list, figure("Time", "", a, "", note));
    snprintf(note, sizeof(note), "%s tokens",
             ql_fact_number(a, (double)all->tokens, 0));
    ql_fact_number(a, all->seconds > 0 ? (double)all->tokens / all->seconds : 0,
                   0);
    json_array_append_new(list, figure("Throughput", "", a, "tokens/s", note));
    json_array_append_new(
        list, bytes_figure("Peak memory", mem.peak, "of the whole process"));
    snprintf(note, sizeof(note), "%.3g %% of %s",
             100 * (double)r->trainable / (double)m.parameters,
             ql_fact_count(a, m.parameters));
    ql_fact_count(a, r->trainable);
    json_array_append_new(list, figure("Trained weights", "", a, "", note));
    return list;
}

void ql_fact_add(json_t *list, const char *label, json_t *value)
{
    json_array_append_new(
        list, json_pack("{s:s, s:o}", "label", label, "value", value));
}

/* what: "data", "evaluation data". */
static void add_data(json_t *list, const char *what, const ql_dataset *ds)
{
    const ql_dataset_report *d = ql_dataset_report_of(ds);
    char label[2 * QL_FACT_BYTES];
    char a[QL_FACT_BYTES];
    char b[QL_FACT_BYTES];

    ql_fact_add(list, what,
                json_sprintf("%s samples (%s), the longest of %s tokens",
                             ql_fact_number(a, (double)d->samples, 0),
                             ql_format_name(d->format),
                             ql_fact_number(b, (double)d->longest, 0)));
    snprintf(label, sizeof(label), "tokens of %s", what);
    ql_fact_add(list, label,
                json_sprintf("%s, of which %s (%.1f %%) are trained",
                             ql_fact_number(a, (double)d->tokens, 0),
                             ql_fact_number(b, (double)d->trained_tokens, 0),
                             100 * (double)d->trained_tokens /
                                 fmax(1, (double)d->tokens)));
    if (d->truncated + d->dropped_long + d->dropped_empty > 0) {
        ql_fact_add(list, "cut, left out as too long, as empty",
                    json_sprintf("%zu, %zu, %zu", d->truncated, d->dropped_long,
                                 d->dropped_empty));
    }
}

json_t *ql_fact_facts(const ql_report *r)
{
    json_t *list = json_array();
    char a[QL_FACT_BYTES];
    ql_model_info m;

    ql_model_info_read(r->model, &m);
    ql_fact_add(list, "model", ql_fact_text(ql_model_dir(r->model)));
    ql_fact_add(list, "architecture",
                json_sprintf("%s, %zu layers of width %zu", m.model_type,
                             m.layers, m.hidden));
    ql_fact_add(list, "parameters",
                json_string(ql_fact_count(a, m.parameters)));
    ql_fact_add(list, "linear layers in 4 bits",
                json_sprintf("%zu of %zu", m.linear_4bit, m.linear_layers));
    ql_fact_add(list, "weights", json_string(ql_fact_bytes(a, m.weight_bytes)));
    ql_fact_add_adapter(list, r);
    add_data(list, "data", r->data);
    if (r->eval) {
        add_data(list, "evaluation data", r->eval);
    }
    ql_fact_add(list, "computed with",
                json_sprintf("%s in %s, %d threads", ql_runtime_isa(),
                             ql_runtime_compute(), ql_runtime_threads()));
    return list;
}
