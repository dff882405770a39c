/* What products are measured on: a frozen matrix W [N, K], in 4 bits and
 * dense, in so many copies that they do not fit into the caches together. Each
 * call takes the next copy, so that weights come from memory, as in a model. */
#ifndef QL_BENCH_OPERANDS_H
#define QL_BENCH_OPERANDS_H

#include "tools/bench/bench_weight.h"

typedef struct bench_operands {
    size_t N, K;
    bench_weight *packed; /* [packed_copies] */
    size_t packed_copies;
    float *dense; /* [dense_copies, N, K] */
    size_t dense_copies;
    float *x, *y; /* [T, the larger of N and K] */
    void *work;   /* of the 4-bit products */
} bench_operands;

/* For up to T tokens and the threads in use. Errors: QL_ENOMEM. */
ql_status bench_operands_init(bench_operands *o, size_t N, size_t K, size_t T);
void bench_operands_free(bench_operands *o);

/* Bytes of W in 4 bits, with its scales. */
size_t bench_operands_packed_bytes(const bench_operands *o);

/* A product that is measured: forward Y = X W^T, else backward dX = dY W. */
typedef struct bench_product {
    const bench_operands *o;
    size_t M; /* tokens */
    bool backward;
    size_t calls; /* so far */
} bench_product;

/* The ways to do it; arg is a bench_product. */
void bench_product_4bit(void *arg);  /* ours, decoding tile by tile */
void bench_product_sgemm(void *arg); /* OpenBLAS, with what threads it may
                                        start by itself */
void bench_product_tiled(void *arg); /* OpenBLAS in tiles, in our threads */

#endif
