/* Loops over one row, in the set in use: see loops.h. */
#ifndef QL_OP_ROW_H
#define QL_OP_ROW_H

#include <stddef.h>

/* Largest x[i], i < n; NaN is passed over; -inf when nothing is left. */
float ql_row_max(const float *x, size_t n);

/* x[i] = exp(x[i] - shift); returns their sum. */
double ql_row_exp(float *x, size_t n, float shift);

/* Sum of a[i] b[i]. */
double ql_row_dot(const float *a, const float *b, size_t n);

#endif
