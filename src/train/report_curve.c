#include "src/train/report_curve.h"

#include <math.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/train/row_fields.h"

enum {
    SMOOTH_OVER = 40,      /* parts of a short curve: a mean sees about one of
                              them to each side */
    SMOOTH_OVER_LONG = 200 /* of a long one */
};

static const ql_row_field *find_field(const char *key)
{
    size_t i = 0;

    while (strcmp(ql_row_fields[i].key, key) != 0) {
        i++;
    }
    return &ql_row_fields[i];
}

ql_status ql_curve_init(ql_curve *c, const ql_history *h, const char *key)
{
    const ql_train_event_kind kind =
        strncmp(key, "eval_", 5) == 0 ? QL_TRAIN_EVAL : QL_TRAIN_STEP;
    const ql_row_field *f = find_field(key);
    const size_t rows = ql_history_size(h);

    *c = (ql_curve){.x = ql_alloc(QL_TAG_MISC, rows, sizeof(*c->x)),
                    .y = ql_alloc(QL_TAG_MISC, rows, sizeof(*c->y))};
    if (!c->x || !c->y) {
        ql_curve_free(c);
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < rows; i++) {
        const ql_train_event *e = ql_history_row(h, i);

        if (e->kind == kind) {
            c->x[c->n] = (double)e->step;
            c->y[c->n++] = ql_row_value(f, e);
        }
    }
    return QL_OK;
}

void ql_curve_free(ql_curve *c)
{
    ql_free(c->x);
    ql_free(c->y);
    *c = (ql_curve){0};
}

void ql_curve_range(const ql_curve *c, double *low, double *high)
{
    for (size_t i = 0; i < c->n; i++) {
        *low = fmin(*low, c->y[i]);
        *high = fmax(*high, c->y[i]);
    }
}

/* Two sweeps: sum[i] and weight[i] of what is before i, then with what is
 * after it. */
ql_status ql_curve_smooth(ql_curve *c)
{
    const double n = (double)c->n;
    const double sees = fmin(n / SMOOTH_OVER, 5 + n / SMOOTH_OVER_LONG);
    const double w = sees / (1 + sees);
    double *sum = ql_alloc(QL_TAG_MISC, c->n, sizeof(*sum));
    double *weight = ql_alloc(QL_TAG_MISC, c->n, sizeof(*weight));
    double after = 0;
    double after_weight = 0;

    for (size_t i = 0; sum && weight && i < c->n; i++) {
        sum[i] = c->y[i] + (i > 0 ? w * sum[i - 1] : 0);
        weight[i] = 1 + (i > 0 ? w * weight[i - 1] : 0);
    }
    for (size_t i = c->n; sum && weight && i-- > 0;) {
        const double y = c->y[i];

        c->y[i] = (sum[i] + after) / (weight[i] + after_weight);
        after = w * (after + y);
        after_weight = w * (after_weight + 1);
    }
    ql_free(sum);
    ql_free(weight);
    return sum && weight ? QL_OK : QL_ENOMEM;
}

static void keep(ql_curve *c, size_t from, size_t *to)
{
    c->x[*to] = c->x[from];
    c->y[(*to)++] = c->y[from];
}

void ql_curve_thin(ql_curve *c, size_t most)
{
    const size_t parts = most / 2 - 1;
    const size_t inner = c->n - 2;
    size_t n = 0;

    if (c->n <= most) {
        return;
    }
    keep(c, 0, &n);
    for (size_t i = 0; i < parts; i++) {
        const size_t from = 1 + inner * i / parts;
        const size_t to = 1 + inner * (i + 1) / parts;
        size_t least = from;
        size_t most_of = from;

        for (size_t j = from; j < to; j++) {
            least = c->y[j] < c->y[least] ? j : least;
            most_of = c->y[j] > c->y[most_of] ? j : most_of;
        }
        keep(c, least < most_of ? least : most_of, &n);
        if (least != most_of) {
            keep(c, least < most_of ? most_of : least, &n);
        }
    }
    keep(c, c->n - 1, &n);
    c->n = n;
}

ql_status ql_curve_path(const ql_curve *c, const ql_scale *x, const ql_scale *y,
                        double div, bool dots, ql_buf *path)
{
    for (size_t i = 0; i < c->n; i++) {
        QL_TRY(ql_buf_printf(path, "%s%.1f %.1f%s", dots || i == 0 ? "M" : "L",
                             1000 * ql_scale_at(x, c->x[i]),
                             1000 - 1000 * ql_scale_at(y, c->y[i] / div),
                             dots ? "h0" : ""));
    }
    return QL_OK;
}
