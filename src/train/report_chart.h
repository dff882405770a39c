/* The charts of the report. */
#ifndef QL_TRAIN_REPORT_CHART_H
#define QL_TRAIN_REPORT_CHART_H

#include <jansson.h>

#include "src/base/textfile.h"
#include "src/train/history.h"

enum {
    QL_CHART_MARK = 1,      /* the character that a mark begins with */
    QL_CHART_MARK_BYTES = 4 /* its length */
};

/* Those charts that the log has numbers for, as a list of objects:
 *
 *   id, title, unit, log
 *   text     the curves in words
 *   x, y     ticks: at (per cent of the box from left, from below), label
 *   curves   name, style, line and dots, and smooth, where the curve is noisy,
 *            and best, on the least evaluation loss; "" for what is not drawn
 *
 * Long curves are not in it: line, dots, smooth and best are marks that stand
 * for paths in a box of 1000 by 1000. Owned: json_decref. Errors: QL_ENOMEM. */
ql_status ql_charts_of(const ql_history *h, json_t **out);

/* Appends what a mark stands for. Errors: QL_ENOMEM, those of
 * ql_textfile_flush. */
ql_status ql_charts_put(const ql_history *h, const char *mark,
                        ql_textfile *out);

/* Appends what is drawn in numbers, as JSON: of each chart id, x0, x1, y0, y1,
 * log, div, digits, unit, form, and curves: name, style, x, y. Errors: as
 * above. */
ql_status ql_charts_put_data(const ql_history *h, ql_textfile *out);

#endif
