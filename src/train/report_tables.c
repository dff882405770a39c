/* The tables of the report: memory, settings, log, samples. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/train/report_facts.h"

enum {
    LOG_ROWS = 150 /* of steps, and of evaluations */
};

static const char *const purposes[QL_TAG_COUNT] = {
    [QL_TAG_WEIGHTS] = "Weights that are not mapped",
    [QL_TAG_ADAPTER] = "Adapter",
    [QL_TAG_GRAD] = "Gradients",
    [QL_TAG_OPTIM] = "Optimizer",
    [QL_TAG_ACTIV] = "Activations",
    [QL_TAG_WORK] = "Work space",
    [QL_TAG_DATA] = "Data",
    [QL_TAG_TEXT] = "Vocabulary and texts",
    [QL_TAG_MISC] = "Log and others",
};

/* planned: 0 for what the plan does not name. */
static void add_memory(json_t *list, const char *what, uint64_t planned,
                       uint64_t measured, uint64_t most)
{
    char a[QL_FACT_BYTES] = "";
    char b[QL_FACT_BYTES];
    char share[QL_FACT_BYTES];

    if (planned > 0) {
        ql_fact_bytes(a, planned);
    }
    snprintf(share, sizeof(share), "%.2f",
             100 * (double)measured / fmax(1, (double)most));
    json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:b}", "what",
                                          what, "planned", a, "measured",
                                          ql_fact_bytes(b, measured), "share",
                                          share, "total", measured == most));
}

json_t *ql_fact_memory(const ql_report *r)
{
    json_t *list = json_array();
    ql_memory_use mem;

    ql_memory_read(&mem);
    for (size_t i = 0; i < QL_TAG_COUNT; i++) {
        const uint64_t planned = r->planned ? r->planned[i] : 0;
        const size_t measured = ql_alloc_peak((ql_tag)i);

        if (planned > 0 || measured > 0) {
            add_memory(list, purposes[i], planned, measured, mem.peak);
        }
    }
    add_memory(list, "Mapped files, resident now", 0, mem.file, mem.peak);
    add_memory(list, "Whole process", 0, mem.peak, mem.peak);
    return list;
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

/* The texts of a row; those that it has no number for are empty. */
static json_t *log_row(const ql_train_event *e)
{
    const bool step = e->kind == QL_TRAIN_STEP;
    char number[QL_FACT_BYTES];
    char loss[QL_FACT_BYTES];
    char accuracy[QL_FACT_BYTES];
    char rate[QL_FACT_BYTES] = "";
    char norm[QL_FACT_BYTES] = "";
    char speed[QL_FACT_BYTES] = "";
    char memory[QL_FACT_BYTES];

    ql_fact_number(number, (double)e->step, 0);
    ql_fact_number(loss, step ? e->loss : e->eval_loss, 4);
    ql_fact_number(accuracy, step ? e->accuracy : e->eval_accuracy, 3);
    ql_fact_bytes(memory, e->memory.resident);
    if (step) {
        snprintf(rate, sizeof(rate), "%.3e", e->learning_rate);
        snprintf(norm, sizeof(norm), "%.4g", e->grad_norm);
        ql_fact_number(speed, e->tokens_per_second, 0);
    }
    return json_pack("[s, s, s, s, s, s, s, s, s]", number, step ? loss : "",
                     step ? accuracy : "", step ? "" : loss,
                     step ? "" : accuracy, rate, norm, speed, memory);
}

static size_t count(const ql_history *h, ql_train_event_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < ql_history_size(h); i++) {
        n += ql_history_row(h, i)->kind == kind;
    }
    return n;
}

json_t *ql_fact_log(const ql_history *h)
{
    size_t every[] = {[QL_TRAIN_STEP] = count(h, QL_TRAIN_STEP),
                      [QL_TRAIN_EVAL] = count(h, QL_TRAIN_EVAL)};
    size_t seen[QL_TRAIN_DONE] = {0};
    json_t *rows = json_array();
    const char *aside = "all of it; also in metrics.csv";

    for (size_t k = QL_TRAIN_STEP; k < QL_TRAIN_DONE; k++) {
        every[k] = (every[k] + LOG_ROWS - 1) / LOG_ROWS;
        if (every[k] > 1) {
            aside = "some of its rows; all of them are in metrics.csv";
        }
    }
    for (size_t i = 0; i < ql_history_size(h); i++) {
        const ql_train_event *e = ql_history_row(h, i);

        if (e->kind < QL_TRAIN_DONE && seen[e->kind]++ % every[e->kind] == 0) {
            json_array_append_new(rows, log_row(e));
        }
    }
    return json_pack("{s:s, s:o}", "aside", aside, "rows", rows);
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
