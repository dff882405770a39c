/* The charts of the report in the making: which there are, and one of them
 * with its curves and axes. */
#ifndef QL_TRAIN_REPORT_DRAWING_H
#define QL_TRAIN_REPORT_DRAWING_H

#include "src/train/report_curve.h"

enum {
    QL_CHARTS = 6,
    QL_CHART_CURVES = 2,
    QL_CHART_POINTS = 2000 /* most that a curve has */
};

/* How numbers are divided before they are shown. */
typedef enum ql_chart_unit {
    QL_UNIT_ONE,
    QL_UNIT_PERCENT,
    QL_UNIT_BYTES, /* KiB, MiB, ...: by the largest */
    QL_UNIT_POWER  /* of ten: by the largest */
} ql_chart_unit;

typedef struct ql_chart {
    const char *id, *title, *unit_name;
    ql_chart_unit unit;
    int digits; /* after the point of a single number */
    bool log;   /* may be logarithmic */
    bool zero;  /* begins at 0 */
    struct {
        const char *name, *style, *key;
        bool noisy;
    } curves[QL_CHART_CURVES];
} ql_chart;

extern const ql_chart ql_charts[QL_CHARTS];

typedef struct ql_drawing {
    const ql_chart *chart;
    ql_curve curves[QL_CHART_CURVES], smooth[QL_CHART_CURVES]; /* n is 0 for
                                                         what there is not */
    double low, high; /* of all values */
    double div;       /* of the numbers, to show them in the unit */
    char unit[32];
    ql_scale x, y; /* y: in the unit */
} ql_drawing;

/* Chart i of a log. Errors: QL_ENOMEM. */
ql_status ql_drawing_init(ql_drawing *d, size_t i, const ql_history *h);
void ql_drawing_free(ql_drawing *d);

/* True if there is nothing to draw. */
bool ql_drawing_empty(const ql_drawing *d);

#endif
