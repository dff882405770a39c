/* Random frozen matrices for the kernel tests: any storage, any block, views
 * that start in the middle, data at odd addresses that ends with its block of
 * memory. */
#ifndef QL_TESTS_QCASE_H
#define QL_TESTS_QCASE_H

#include <stdbool.h>

#include "quant/qtensor.h"

typedef enum qcase_input {
    QCASE_RANDOM,
    QCASE_ZERO,     /* scales or elements are zero */
    QCASE_DENORMAL, /* and denormal */
    QCASE_LARGE,    /* about 1e15 */
    QCASE_INPUTS
} qcase_input;

typedef struct qcase {
    ql_qtensor w;
    void *memory; /* of w.data */
    float *absmax;
    unsigned char *absmax_u8;
    float *nested_absmax;
} qcase;

/* A matrix [rows, cols] whose element [0, 0] has flat index first. Even seeds
 * of 4-bit matrices give plain scales, odd ones double quantized. */
void qcase_init(qcase *c, size_t rows, size_t cols, size_t first,
                ql_storage storage, size_t block, ql_round round,
                qcase_input input, uint64_t seed);
void qcase_free(qcase *c);

/* The definition: value of the element with index i of w. */
float qcase_value(const ql_qtensor *w, size_t i);

/* n floats with 64 bytes before and behind that must stay as they are. */
float *guarded_init(size_t n);
bool guarded_intact(const float *p, size_t n);
void guarded_free(float *p);

#endif
