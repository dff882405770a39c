#include "src/train/report_chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/json.h"
#include "src/train/report_drawing.h"
#include "src/train/report_facts.h"

enum {
    MAX_TEXT = 1 << 16,
    DOTS_UP_TO = 40
};

static const char *const unit_forms[] = {
    [QL_UNIT_ONE] = "plain",
    [QL_UNIT_PERCENT] = "percent",
    [QL_UNIT_BYTES] = "bytes",
    [QL_UNIT_POWER] = "power",
};

/* What a mark stands for, its last character. */
enum {
    LINE = 'l',
    SMOOTH = 's',
    DOTS = 'd',
    BEST = 'b'
};

static json_t *ticks(const ql_scale *s)
{
    json_t *list = json_array();

    for (size_t i = 0; i < s->ticks; i++) {
        const double x = s->tick[i];
        char at[32];
        char label[QL_FACT_BYTES];

        snprintf(at, sizeof(at), "%.2f", 100 * ql_scale_at(s, x));
        ql_fact_number(label, x, s->log && x >= 1 ? 0 : s->digits);
        json_array_append_new(
            list, json_pack("{s:s, s:s}", "at", at, "label", label));
    }
    return list;
}

/* The least point of the evaluation loss, if there are several; the untrained
 * model is no candidate. */
static ql_curve best_of(const ql_drawing *d, size_t i)
{
    const ql_curve *c = &d->curves[i];
    const char *key = d->chart->curves[i].key;
    size_t best;

    if (!key || strcmp(key, "eval_loss") != 0 || c->n < 2) {
        return (ql_curve){0};
    }
    best = c->x[0] > 0 ? 0 : 1;
    for (size_t j = best; j < c->n; j++) {
        best = c->y[j] < c->y[best] ? j : best;
    }
    return (ql_curve){.x = c->x + best, .y = c->y + best, .n = 1};
}

/* The mark of a curve, "" for none. */
static json_t *mark_of(size_t chart, size_t curve, char what, size_t points)
{
    return points > 0
               ? json_sprintf("%c%zu%zu%c", QL_CHART_MARK, chart, curve, what)
               : json_string("");
}

static json_t *curves_of(const ql_drawing *d, size_t chart)
{
    json_t *list = json_array();

    for (size_t i = 0; i < QL_CHART_CURVES; i++) {
        const ql_curve *c = &d->curves[i];
        const size_t dots = c->n <= DOTS_UP_TO ? c->n : 0;

        if (c->n > 0) {
            json_array_append_new(
                list, json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "name",
                                d->chart->curves[i].name, "style",
                                d->chart->curves[i].style, "line",
                                mark_of(chart, i, LINE, c->n), "smooth",
                                mark_of(chart, i, SMOOTH, d->smooth[i].n),
                                "dots", mark_of(chart, i, DOTS, dots), "best",
                                mark_of(chart, i, BEST, best_of(d, i).n)));
        }
    }
    return list;
}

/* The curves in words. */
static ql_status describe(const ql_drawing *d, ql_buf *text)
{
    char a[QL_FACT_BYTES];
    char b[QL_FACT_BYTES];
    char low[QL_FACT_BYTES];
    char high[QL_FACT_BYTES];

    for (size_t i = 0; i < QL_CHART_CURVES; i++) {
        const ql_curve *c = &d->curves[i];
        const int digits = d->chart->digits;
        double least = HUGE_VAL;
        double most = -HUGE_VAL;

        if (c->n == 0) {
            continue;
        }
        ql_curve_range(c, &least, &most);
        QL_TRY(ql_buf_printf(
            text, "%s: %s at step %.0f, %s at step %.0f, between %s and %s. ",
            d->chart->curves[i].name,
            ql_fact_number(a, c->y[0] / d->div, digits), c->x[0],
            ql_fact_number(b, c->y[c->n - 1] / d->div, digits), c->x[c->n - 1],
            ql_fact_number(low, least / d->div, digits),
            ql_fact_number(high, most / d->div, digits)));
    }
    return QL_OK;
}

static ql_status add_chart(const ql_drawing *d, size_t i, ql_buf *text,
                           json_t *list)
{
    json_t *one;

    if (ql_drawing_empty(d)) {
        return QL_OK;
    }
    ql_buf_clear(text);
    QL_TRY(describe(d, text));
    one = json_pack("{s:s, s:s, s:s, s:b, s:s}", "id", d->chart->id, "title",
                    d->chart->title, "unit", d->unit, "log", d->y.log, "text",
                    text->data);
    json_object_set_new(one, "x", ticks(&d->x));
    json_object_set_new(one, "y", ticks(&d->y));
    return json_object_set_new(one, "curves", curves_of(d, i)) == 0 &&
                   json_array_append_new(list, one) == 0
               ? QL_OK
               : QL_ENOMEM;
}

ql_status ql_charts_of(const ql_history *h, json_t **out)
{
    ql_status st = QL_OK;
    ql_buf text;

    ql_buf_init(&text, QL_TAG_MISC, MAX_TEXT);
    *out = json_array();
    for (size_t i = 0; i < QL_CHARTS && st == QL_OK; i++) {
        ql_drawing d;

        st = ql_drawing_init(&d, i, h);
        if (st == QL_OK) {
            st = add_chart(&d, i, &text, *out);
            ql_drawing_free(&d);
        }
    }
    ql_buf_free(&text);
    if (st != QL_OK) {
        json_decref(*out);
        *out = NULL;
    }
    return st;
}

static ql_status put_reals(ql_buf *out, const char *key, const double *x,
                           size_t n)
{
    QL_TRY(ql_buf_printf(out, ", \"%s\": [", key));
    for (size_t i = 0; i < n; i++) {
        QL_TRY(ql_buf_puts(out, i > 0 ? ", " : ""));
        QL_TRY(ql_json_put_real(out, x[i]));
    }
    return ql_buf_putc(out, ']');
}

/* The points of a curve; the steps are whole ones. */
static ql_status put_points(ql_buf *out, const ql_drawing *d, size_t i)
{
    const ql_curve *c = &d->curves[i];

    QL_TRY(ql_buf_printf(out, "{\"name\": \"%s\", \"style\": \"%s\", \"x\": [",
                         d->chart->curves[i].name, d->chart->curves[i].style));
    for (size_t j = 0; j < c->n; j++) {
        QL_TRY(ql_buf_printf(out, "%s%.0f", j > 0 ? ", " : "", c->x[j]));
    }
    QL_TRY(ql_buf_putc(out, ']'));
    QL_TRY(put_reals(out, "y", c->y, c->n));
    return ql_buf_putc(out, '}');
}

static ql_status put_data(ql_buf *out, const ql_drawing *d,
                          const char **before_chart)
{
    const char *before = "";

    QL_TRY(ql_buf_puts(out, *before_chart));
    *before_chart = ", ";
    QL_TRY(ql_buf_printf(out,
                         "{\"id\": \"%s\", \"x0\": %.17g, \"x1\": %.17g, "
                         "\"y0\": %.17g, \"y1\": %.17g, \"log\": %s, "
                         "\"div\": %.17g, \"digits\": %d, \"unit\": \"%s\", "
                         "\"form\": \"%s\", \"curves\": [",
                         d->chart->id, d->x.low, d->x.high, d->y.low, d->y.high,
                         d->y.log ? "true" : "false", d->div, d->chart->digits,
                         d->unit, unit_forms[d->chart->unit]));
    for (size_t i = 0; i < QL_CHART_CURVES; i++) {
        if (d->curves[i].n > 0) {
            QL_TRY(ql_buf_puts(out, before));
            QL_TRY(put_points(out, d, i));
            before = ", ";
        }
    }
    return ql_buf_puts(out, "]}");
}

ql_status ql_charts_put_data(const ql_history *h, ql_textfile *out)
{
    const char *before = "";

    QL_TRY(ql_buf_putc(&out->text, '['));
    for (size_t i = 0; i < QL_CHARTS; i++) {
        ql_drawing d;
        ql_status st;

        QL_TRY(ql_drawing_init(&d, i, h));
        st = ql_drawing_empty(&d) ? QL_OK : put_data(&out->text, &d, &before);
        ql_drawing_free(&d);
        QL_TRY(st);
        QL_TRY(ql_textfile_flush(out));
    }
    return ql_buf_putc(&out->text, ']');
}

ql_status ql_charts_put(const ql_history *h, const char *mark, ql_textfile *out)
{
    const size_t i = (size_t)(mark[2] - '0');
    const bool dots = mark[3] == DOTS || mark[3] == BEST;
    ql_drawing d;
    ql_curve c;
    ql_status st;

    QL_TRY(ql_drawing_init(&d, (size_t)(mark[1] - '0'), h));
    c = mark[3] == SMOOTH ? d.smooth[i]
        : mark[3] == BEST ? best_of(&d, i)
                          : d.curves[i];
    st = ql_curve_path(&c, &d.x, &d.y, d.div, dots, &out->text);
    ql_drawing_free(&d);
    return st == QL_OK ? ql_textfile_flush(out) : st;
}
