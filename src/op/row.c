#include "src/op/row.h"

#include "src/op/loops.h"

float ql_row_max(const float *x, size_t n)
{
    return ql_loops_get()->max(x, n);
}

double ql_row_exp(float *x, size_t n, float shift)
{
    return ql_loops_get()->exp(x, n, shift);
}

double ql_row_dot(const float *a, const float *b, size_t n)
{
    return ql_loops_get()->dot(a, b, n);
}
