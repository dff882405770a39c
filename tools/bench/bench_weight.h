/* A random weight in the stored form: NF4 in blocks of 64 with double
 * quantization, of a tensor that was bf16. */
#ifndef QL_BENCH_WEIGHT_H
#define QL_BENCH_WEIGHT_H

#include "qlora/status.h"
#include "quant/qtensor.h"

enum {
    BENCH_BLOCK = 64
};

typedef struct bench_weight {
    ql_qtensor view;
    size_t data_bytes, blocks, outer_blocks;
    uint8_t *data;   /* [data_bytes] */
    uint8_t *absmax; /* [blocks] */
    float *outer;    /* [outer_blocks] */
} bench_weight;

/* Sizes and view, without numbers. */
void bench_weight_shape(bench_weight *w, size_t rows, size_t cols);

/* Scales lie around 1 / sqrt(cols), so that a product keeps the size of its
 * input. Errors: QL_ENOMEM. */
ql_status bench_weight_init(bench_weight *w, size_t rows, size_t cols,
                            uint64_t key);
void bench_weight_free(bench_weight *w);

/* n random bytes. */
void bench_random_bytes(void *out, size_t n, uint64_t key);

#endif
