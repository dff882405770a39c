/* A curve of the report: one number of the log over the steps. */
#ifndef QL_TRAIN_REPORT_CURVE_H
#define QL_TRAIN_REPORT_CURVE_H

#include "src/train/history.h"
#include "src/train/report_scale.h"

typedef struct ql_curve {
    double *x, *y; /* [n] steps, ascending, and values */
    size_t n;
} ql_curve;

/* The values that the log has under a name (row_fields.h): of evaluations if
 * it begins with "eval_", else of steps. Errors: QL_ENOMEM. */
ql_status ql_curve_init(ql_curve *c, const ql_history *h, const char *key);
void ql_curve_free(ql_curve *c);

/* Widens [*low, *high] to hold all values. */
void ql_curve_range(const ql_curve *c, double *low, double *high);

/* Makes each value the mean of all, those further away counting less:
 *
 *   s[i] = sum_j w^|i - j| y[j] / sum_j w^|i - j|
 *
 * with a w that looks over a small part of the curve, on both sides, so that
 * what is smoothed does not lag behind. Errors: QL_ENOMEM. */
ql_status ql_curve_smooth(ql_curve *c);

/* Leaves at most most (even, at least 4) points: the first, the last, and of
 * each of the stretches between them the least and the largest, in order. In
 * place. */
void ql_curve_thin(ql_curve *c, size_t most);

/* Appends the curve as an SVG path in a box of 1000 by 1000, "M0 12.5L..."; a
 * mark on each point, in place of the line, with dots. y is a scale of the
 * values divided by div. Errors: QL_ENOMEM. */
ql_status ql_curve_path(const ql_curve *c, const ql_scale *x, const ql_scale *y,
                        double div, bool dots, ql_buf *path);

#endif
