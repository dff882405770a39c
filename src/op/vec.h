/* Row primitives, parallel over elements. */
#ifndef QL_OP_VEC_H
#define QL_OP_VEC_H

#include <stddef.h>
#include <stdint.h>

/* y[i] += x[i], i < n. */
void ql_vec_add(float *y, const float *x, size_t n);

/* y[i] = a[i] - b[i]; y may be a or b. */
void ql_vec_sub(float *y, const float *a, const float *b, size_t n);

/* s[:] += sum over t of x[t,:], added in double, in an order that depends on T
 * only. */
void ql_vec_sum_rows(float *s, const float *x, size_t T, size_t N);

/* y[t,:] += b for t < T. */
void ql_vec_add_bias(float *y, const float *b, size_t T, size_t N);

/* x[i] = cap tanh(x[i] / cap), i < n. */
void ql_vec_softcap(float *x, size_t n, float cap);

/* y = x with each element kept with probability 1 - p and divided by it, else
 * 0. Which elements are kept depends on key and index only, so the backward
 * repeats the same choice. y may be x. */
void ql_vec_dropout(float *y, const float *x, size_t n, float p, uint64_t key);

/* To bf16, to the nearest, and back. */
void ql_vec_to_bf16(uint16_t *y, const float *x, size_t n);
void ql_vec_from_bf16(float *y, const uint16_t *x, size_t n);

/* Sum of squares in double, in an order that depends on n only. */
double ql_vec_sumsq(const float *x, size_t n);

/* The same of bf16. */
double ql_vec_sumsq_bf16(const uint16_t *x, size_t n);

/* y[i] += x[i], y in bf16: the sums are rounded to the nearest. */
void ql_vec_add_to_bf16(uint16_t *y, const float *x, size_t n);

#endif
