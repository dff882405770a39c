/* The tables of the report: memory, settings, log, samples. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/train/report_facts.h"

enum {
    LOG_ROWS = 150 /* of steps, and of evaluations */
};

/* A row; 0 is what is not known. all: of the process, which shares are of. */
static void add_memory(json_t *list, const char *what, uint64_t planned,
                       uint64_t measured, uint64_t all)
{
    char a[QL_FACT_BYTES] = "";
    char b[QL_FACT_BYTES] = "";
    char share[QL_FACT_BYTES] = "";

    if (planned > 0) {
        ql_fact_bytes(a, planned);
    }
    if (measured > 0) {
        ql_fact_bytes(b, measured);
        snprintf(share, sizeof(share), "%.2f",
                 100 * (double)measured / fmax(1, (double)all));
    }
    if (planned > 0 || measured > 0) {
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:b}",
                                              "what", what, "planned", a,
                                              "measured", b, "share", share,
                                              "total", measured == all));
    }
}

json_t *ql_fact_memory(const ql_report *r)
{
    static const ql_plan none = {0};
    const ql_plan *p = r->plan ? r->plan : &none;
    json_t *list = json_array();
    ql_memory_use mem;

    ql_memory_read(&mem);
    for (int i = 0; i < QL_PLAN_MAPPED; i++) {
        add_memory(list, ql_plan_part_name((ql_plan_part)i), p->bytes[i],
                   r->peaks[i], mem.peak);
    }
    add_memory(list, "all of this, private", p->anonymous, r->peak_anonymous,
               mem.peak);
    add_memory(list, "mapped files",
               p->bytes[QL_PLAN_MAPPED] + p->bytes[QL_PLAN_FILES], r->peak_file,
               mem.peak);
    add_memory(list, "whole process", p->peak, mem.peak, mem.peak);
    return list;
}

json_t *ql_fact_budget(const ql_report *r)
{
    char text[QL_FACT_BYTES];

    return r->plan ? json_sprintf("of %s that it may have",
                                  ql_fact_bytes(text, r->plan->budget))
                   : json_string("");
}

json_t *ql_fact_settings(const char *text)
{
    json_t *list = json_array();

    while (*text) {
        const size_t n = strcspn(text, "\n");
        const char *colon = memchr(text, ':', n);
        char *label = NULL;
        char *value = NULL;

        if (colon) {
            const size_t at = (size_t)(colon - text);

            label = ql_strndup(QL_TAG_MISC, text, at);
            value = ql_strndup(QL_TAG_MISC, colon + 1, n - at - 1);
        }
        if (label && value) {
            json_array_append_new(
                list,
                json_pack("{s:o, s:o}", "label", ql_fact_text(label), "value",
                          ql_fact_text(value + strspn(value, " "))));
        }
        ql_free(label);
        ql_free(value);
        text += n + (text[n] == '\n');
    }
    return list;
}

/* A row of the table; the texts that it has no number for are empty. */
static ql_status put_row(ql_buf *out, const ql_train_event *e)
{
    const bool step = e->kind == QL_TRAIN_STEP;
    char loss[QL_FACT_BYTES];
    char accuracy[QL_FACT_BYTES];
    char rate[QL_FACT_BYTES] = "";
    char norm[QL_FACT_BYTES] = "";
    char speed[QL_FACT_BYTES] = "";
    char memory[QL_FACT_BYTES];
    const char *const texts[] = {step ? loss : "",
                                 step ? accuracy : "",
                                 step ? "" : loss,
                                 step ? "" : accuracy,
                                 rate,
                                 norm,
                                 speed,
                                 memory};
    char number[QL_FACT_BYTES];

    ql_fact_number(number, (double)e->step, 0);
    ql_fact_number(loss, step ? e->loss : e->eval_loss, 4);
    ql_fact_number(accuracy, step ? e->accuracy : e->eval_accuracy, 3);
    ql_fact_bytes(memory, e->memory.resident);
    if (step) {
        snprintf(rate, sizeof(rate), "%.3e", e->learning_rate);
        snprintf(norm, sizeof(norm), "%.4g", e->grad_norm);
        ql_fact_number(speed, e->tokens_per_second, 0);
    }
    QL_TRY(ql_buf_printf(out, "<tr><th scope=\"row\">%s</th>", number));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        QL_TRY(ql_buf_printf(out, "<td class=\"n\">%s</td>", texts[i]));
    }
    return ql_buf_puts(out, "</tr>\n");
}

/* Of the rows of a kind, each how many-th is shown. */
static size_t every_of(const ql_history *h, ql_train_event_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < ql_history_size(h); i++) {
        n += ql_history_row(h, i)->kind == kind;
    }
    return n > LOG_ROWS ? (n + LOG_ROWS - 1) / LOG_ROWS : 1;
}

const char *ql_fact_log(const ql_history *h)
{
    return every_of(h, QL_TRAIN_STEP) > 1 || every_of(h, QL_TRAIN_EVAL) > 1
               ? "some of its rows; all of them are in metrics.csv"
               : "all of it; also in metrics.csv";
}

ql_status ql_fact_put_log(const ql_history *h, ql_textfile *out)
{
    const size_t steps = every_of(h, QL_TRAIN_STEP);
    const size_t evals = every_of(h, QL_TRAIN_EVAL);
    size_t seen[2] = {0};

    for (size_t i = 0; i < ql_history_size(h); i++) {
        const ql_train_event *e = ql_history_row(h, i);

        if ((e->kind == QL_TRAIN_STEP && seen[0]++ % steps == 0) ||
            (e->kind == QL_TRAIN_EVAL && seen[1]++ % evals == 0)) {
            QL_TRY(put_row(&out->text, e));
            QL_TRY(ql_textfile_flush(out));
        }
    }
    return QL_OK;
}

json_t *ql_fact_samples(const ql_samples *s)
{
    json_t *list = json_array();

    for (size_t i = 0; i < s->n; i++) {
        const ql_sample_text *t = &s->texts[i];

        if (t->before || t->after) {
            json_array_append_new(
                list,
                json_pack("{s:s, s:s, s:s, s:s}", "prompt", t->prompt, "before",
                          t->before ? t->before : "", "after",
                          t->after ? t->after : "", "expected", t->expected));
        }
    }
    return list;
}
