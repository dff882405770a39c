#include "src/train/report_chart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/train/report_curve.h"
#include "src/train/report_facts.h"

enum {
    CHARTS = 6,
    CURVES = 2,
    MAX_PATH = 1 << 20,
    SMOOTH_FROM = 60, /* points: fewer are seen one by one */
    DOTS_UP_TO = 40
};

/* How numbers are divided before they are shown. */
typedef enum unit {
    UNIT_ONE,
    UNIT_PERCENT,
    UNIT_BYTES, /* KiB, MiB, ...: by the largest */
    UNIT_POWER  /* of ten: by the largest */
} unit;

static const char *const unit_forms[] = {
    [UNIT_ONE] = "plain",
    [UNIT_PERCENT] = "percent",
    [UNIT_BYTES] = "bytes",
    [UNIT_POWER] = "power",
};

typedef struct chart {
    const char *id, *title, *unit_name;
    unit unit;
    int digits; /* after the point of a single number */
    bool log;   /* may be logarithmic */
    bool zero;  /* begins at 0 */
    struct {
        const char *name, *style, *key;
        bool noisy;
    } curves[CURVES];
} chart;

static const chart charts[CHARTS] = {
    {"loss",
     "Loss",
     "nats a token",
     UNIT_ONE,
     4,
     true,
     false,
     {{"training", "a", "loss", true},
      {"evaluation", "b", "eval_loss", false}}},
    {"accuracy",
     "Accuracy",
     "% of tokens",
     UNIT_PERCENT,
     1,
     false,
     false,
     {{"training", "a", "mean_token_accuracy", true},
      {"evaluation", "b", "eval_mean_token_accuracy", false}}},
    {"rate",
     "Learning rate",
     "",
     UNIT_POWER,
     3,
     false,
     true,
     {{"learning rate", "a", "learning_rate", false}}},
    {"gradient",
     "Gradient norm",
     "before clipping",
     UNIT_ONE,
     3,
     true,
     false,
     {{"gradient norm", "a", "grad_norm", true}}},
    {"speed",
     "Throughput",
     "tokens a second",
     UNIT_ONE,
     0,
     false,
     true,
     {{"tokens a second", "a", "tokens_per_second", true}}},
    {"memory",
     "Memory",
     "",
     UNIT_BYTES,
     1,
     false,
     true,
     {{"resident", "a", "rss_bytes", false},
      {"peak so far", "c", "peak_rss_bytes", false}}},
};

/* A chart in the making. */
typedef struct drawing {
    const chart *chart;
    ql_curve curves[CURVES], smooth[CURVES];
    double low, high; /* of all values */
    double div;       /* of the numbers, to show them in the unit */
    char unit[32];
    ql_scale x, y; /* y: in the unit */
    ql_buf path;
} drawing;

/* Appends "x 10" to a power, with raised digits. */
static void put_power(char *text, size_t bytes, int power)
{
    static const char *const raised[] = {"\u2070", "\u00b9", "\u00b2", "\u00b3",
                                         "\u2074", "\u2075", "\u2076", "\u2077",
                                         "\u2078", "\u2079"};
    char digits[16];
    size_t n;

    snprintf(text, bytes, "\u00d7 10%s", power < 0 ? "\u207b" : "");
    snprintf(digits, sizeof(digits), "%d", abs(power));
    for (const char *p = digits; *p; p++) {
        n = strlen(text);
        snprintf(text + n, bytes - n, "%s", raised[*p - '0']);
    }
}

/* The unit of numbers up to high, and what they are divided by. */
static void choose_unit(drawing *d, double high)
{
    static const char *const bytes[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;

    d->div = d->chart->unit == UNIT_PERCENT ? 0.01 : 1;
    snprintf(d->unit, sizeof(d->unit), "%s", d->chart->unit_name);
    if (d->chart->unit == UNIT_BYTES) {
        while (i < 4 && high / d->div >= 1024) {
            d->div *= 1024;
            i++;
        }
        snprintf(d->unit, sizeof(d->unit), "%s", bytes[i]);
    } else if (d->chart->unit == UNIT_POWER && high > 0) {
        const int power = (int)floor(log10(high) + 1e-9);

        d->div = pow(10, power);
        put_power(d->unit, sizeof(d->unit), power);
    }
}

/* Reads the curves. */
static ql_status gather(drawing *d, const ql_history *h)
{
    d->low = d->chart->zero ? 0 : HUGE_VAL;
    d->high = -HUGE_VAL;
    for (size_t i = 0; i < CURVES && d->chart->curves[i].key; i++) {
        ql_curve *c = &d->curves[i];

        QL_TRY(ql_curve_init(c, h, d->chart->curves[i].key));
        if (c->n > 0) {
            ql_curve_range(c, &d->low, &d->high);
        }
        if (d->chart->curves[i].noisy && c->n >= SMOOTH_FROM) {
            QL_TRY(ql_curve_init(&d->smooth[i], h, d->chart->curves[i].key));
            QL_TRY(ql_curve_smooth(&d->smooth[i]));
        }
        ql_curve_thin(c, QL_CHART_POINTS);
        ql_curve_thin(&d->smooth[i], QL_CHART_POINTS);
    }
    return QL_OK;
}

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

static json_t *reals(const double *x, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, json_real(x[i]));
    }
    return list;
}

/* What is drawn, in numbers; the steps are whole ones. */
static json_t *data_of(const drawing *d)
{
    json_t *list = json_array();

    for (size_t i = 0; i < CURVES; i++) {
        const ql_curve *c = &d->curves[i];
        json_t *x = json_array();

        for (size_t j = 0; j < c->n; j++) {
            json_array_append_new(x, json_integer((json_int_t)c->x[j]));
        }
        if (c->n > 0) {
            json_array_append_new(list,
                                  json_pack("{s:s, s:s, s:o, s:o}", "name",
                                            d->chart->curves[i].name, "style",
                                            d->chart->curves[i].style, "x", x,
                                            "y", reals(c->y, c->n)));
        } else {
            json_decref(x);
        }
    }
    return json_pack("{s:s, s:o, s:f, s:f, s:f, s:f, s:b, s:f, s:i, s:s, s:s}",
                     "id", d->chart->id, "curves", list, "x0", d->x.low, "x1",
                     d->x.high, "y0", d->y.low, "y1", d->y.high, "log",
                     d->y.log, "div", d->div, "digits", d->chart->digits,
                     "unit", d->unit, "form", unit_forms[d->chart->unit]);
}

/* A curve as a path, in the unit of the chart. "" for none. */
static json_t *path_of(drawing *d, const ql_curve *c, bool dots)
{
    ql_buf_clear(&d->path);
    if (ql_curve_path(c, &d->x, &d->y, d->div, dots, &d->path) != QL_OK) {
        return NULL;
    }
    return json_stringn(d->path.data ? d->path.data : "", d->path.len);
}

/* The least point of the evaluation loss, if there are several; the untrained
 * model is no candidate. */
static ql_curve best_of(const drawing *d, size_t i)
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

static json_t *curves_of(drawing *d)
{
    static const ql_curve none = {0};
    json_t *list = json_array();

    for (size_t i = 0; i < CURVES; i++) {
        const ql_curve *c = &d->curves[i];
        const ql_curve best = best_of(d, i);

        if (c->n > 0) {
            json_array_append_new(
                list,
                json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "name",
                          d->chart->curves[i].name, "style",
                          d->chart->curves[i].style, "line",
                          path_of(d, c, false), "smooth",
                          path_of(d, &d->smooth[i], false), "dots",
                          path_of(d, c->n <= DOTS_UP_TO ? c : &none, true),
                          "best", path_of(d, &best, true)));
        }
    }
    return list;
}

/* The curves in words. */
static ql_status describe(const drawing *d, ql_buf *text)
{
    char a[QL_FACT_BYTES];
    char b[QL_FACT_BYTES];
    char low[QL_FACT_BYTES];
    char high[QL_FACT_BYTES];

    for (size_t i = 0; i < CURVES; i++) {
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

static ql_status draw(drawing *d, size_t last, json_t *list)
{
    json_t *one;

    if (!isfinite(d->low) || !isfinite(d->high)) {
        return QL_OK; /* nothing to draw */
    }
    choose_unit(d, d->high);
    d->x = ql_scale_of_steps(last);
    d->y = ql_scale_of(d->low / d->div, d->high / d->div, d->chart->log);
    ql_buf_clear(&d->path);
    QL_TRY(describe(d, &d->path));
    one = json_pack("{s:s, s:s, s:s, s:b, s:s}", "id", d->chart->id, "title",
                    d->chart->title, "unit", d->unit, "log", d->y.log, "text",
                    d->path.data);
    json_object_set_new(one, "x", ticks(&d->x));
    json_object_set_new(one, "y", ticks(&d->y));
    json_object_set_new(one, "data", data_of(d));
    return json_object_set_new(one, "curves", curves_of(d)) == 0 &&
                   json_array_append_new(list, one) == 0
               ? QL_OK
               : QL_ENOMEM;
}

ql_status ql_charts_of(const ql_history *h, json_t **out)
{
    const size_t rows = ql_history_size(h);
    const size_t last = rows > 0 ? ql_history_row(h, rows - 1)->step : 0;
    ql_status st = QL_OK;

    *out = json_array();
    for (size_t i = 0; i < CHARTS && st == QL_OK; i++) {
        drawing d = {.chart = &charts[i]};

        ql_buf_init(&d.path, QL_TAG_MISC, MAX_PATH);
        st = gather(&d, h);
        if (st == QL_OK) {
            st = draw(&d, last, *out);
        }
        ql_buf_free(&d.path);
        for (size_t j = 0; j < CURVES; j++) {
            ql_curve_free(&d.curves[j]);
            ql_curve_free(&d.smooth[j]);
        }
    }
    if (st != QL_OK) {
        json_decref(*out);
        *out = NULL;
    }
    return st;
}
