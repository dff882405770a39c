/* Axes of the report's charts: where they begin and end, and the round numbers
 * that are written beside them. */
#ifndef QL_TRAIN_REPORT_SCALE_H
#define QL_TRAIN_REPORT_SCALE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    QL_SCALE_TICKS = 16
};

typedef struct ql_scale {
    double low, high; /* ends, both in tick or beyond the outer ones */
    bool log;         /* logarithmic; low is above 0 then */
    double tick[QL_SCALE_TICKS];
    size_t ticks;
    int digits; /* after the point, that the ticks need */
} ql_scale;

/* An axis for values from low to high (finite, low <= high) with about five
 * steps of 1, 2 or 5 times a power of ten, which begins and ends at one. If
 * may_log, low is above 0, and high is 30 times low or more: logarithmic, in
 * powers of ten or in steps of 1, 2, 5. */
ql_scale ql_scale_of(double low, double high, bool may_log);

/* An axis of steps, from 0 to high. */
ql_scale ql_scale_of_steps(size_t high);

/* Place of a value on the axis: 0 at low, 1 at high. */
double ql_scale_at(const ql_scale *s, double x);

#endif
