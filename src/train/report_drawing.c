#include "src/train/report_drawing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fail.h"

enum {
    SMOOTH_FROM = 60 /* points: fewer are seen one by one */
};

const ql_chart ql_charts[QL_CHARTS] = {
    {"loss",
     "Loss",
     "nats a token",
     QL_UNIT_ONE,
     4,
     true,
     false,
     {{"training", "a", "loss", true},
      {"evaluation", "b", "eval_loss", false}}},
    {"accuracy",
     "Accuracy",
     "% of tokens",
     QL_UNIT_PERCENT,
     1,
     false,
     false,
     {{"training", "a", "mean_token_accuracy", true},
      {"evaluation", "b", "eval_mean_token_accuracy", false}}},
    {"rate",
     "Learning rate",
     "",
     QL_UNIT_POWER,
     3,
     false,
     true,
     {{"learning rate", "a", "learning_rate", false}}},
    {"gradient",
     "Gradient norm",
     "before clipping",
     QL_UNIT_ONE,
     3,
     true,
     false,
     {{"gradient norm", "a", "grad_norm", true}}},
    {"speed",
     "Throughput",
     "tokens a second",
     QL_UNIT_ONE,
     0,
     false,
     true,
     {{"tokens a second", "a", "tokens_per_second", true}}},
    {"memory",
     "Memory",
     "",
     QL_UNIT_BYTES,
     1,
     false,
     true,
     {{"resident", "a", "rss_bytes", false},
      {"peak so far", "c", "peak_rss_bytes", false}}},
};

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
static void choose_unit(ql_drawing *d, double high)
{
    static const char *const bytes[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;

    d->div = d->chart->unit == QL_UNIT_PERCENT ? 0.01 : 1;
    snprintf(d->unit, sizeof(d->unit), "%s", d->chart->unit_name);
    if (d->chart->unit == QL_UNIT_BYTES) {
        while (i < 4 && high / d->div >= 1024) {
            d->div *= 1024;
            i++;
        }
        snprintf(d->unit, sizeof(d->unit), "%s", bytes[i]);
    } else if (d->chart->unit == QL_UNIT_POWER && high > 0) {
        const int power = (int)floor(log10(high) + 1e-9);

        d->div = pow(10, power);
        put_power(d->unit, sizeof(d->unit), power);
    }
}

/* Reads the curves. */
static ql_status gather(ql_drawing *d, const ql_history *h)
{
    d->low = d->chart->zero ? 0 : HUGE_VAL;
    d->high = -HUGE_VAL;
    for (size_t i = 0; i < QL_CHART_CURVES && d->chart->curves[i].key; i++) {
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

bool ql_drawing_empty(const ql_drawing *d)
{
    return !isfinite(d->low) || !isfinite(d->high);
}

ql_status ql_drawing_init(ql_drawing *d, size_t i, const ql_history *h)
{
    const size_t rows = ql_history_size(h);
    ql_status st;

    *d = (ql_drawing){.chart = &ql_charts[i]};
    st = gather(d, h);
    if (st != QL_OK) {
        ql_drawing_free(d);
    } else if (!ql_drawing_empty(d)) {
        choose_unit(d, d->high);
        d->x = ql_scale_of_steps(ql_history_row(h, rows - 1)->step);
        d->y = ql_scale_of(d->low / d->div, d->high / d->div, d->chart->log);
    }
    return st;
}

void ql_drawing_free(ql_drawing *d)
{
    for (size_t i = 0; i < QL_CHART_CURVES; i++) {
        ql_curve_free(&d->curves[i]);
        ql_curve_free(&d->smooth[i]);
    }
}
