/* The charts of the report. */
#ifndef QL_TRAIN_REPORT_CHART_H
#define QL_TRAIN_REPORT_CHART_H

#include <jansson.h>

#include "src/train/history.h"

enum {
    QL_CHART_POINTS = 2000 /* most that a curve has */
};

/* Those charts that the log has numbers for, as a list of objects:
 *
 *   id, title, unit, log
 *   text     the curves in words
 *   x, y     ticks: at (per cent of the box from left, from below), label
 *   curves   name, style, line and dots (paths in a box of 1000 by 1000), and
 *            smooth, where the curve is noisy, and best, on the least
 *            evaluation loss; "" for what is not drawn
 *   data     x0, x1, y0, y1, log, div, digits, and curves: name, style, x, y;
 *            what is drawn, in numbers
 *
 * Owned: json_decref. Errors: QL_ENOMEM. */
ql_status ql_charts_of(const ql_history *h, json_t **out);

#endif
