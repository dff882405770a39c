/* The hot functions of each instruction set, and the choice among them. */
#ifndef QL_QUANT_KERNELS_H
#define QL_QUANT_KERNELS_H

#include <stdbool.h>

#include "quant/qtensor.h"

/* Values of elements [start, start + n) of w into out; see ql_dequantize. */
typedef void ql_decode_fn(float *out, const ql_qtensor *w, size_t start,
                          size_t n);

/* C [mr, nr] += A [mr, k] B [k, nr] for this set's mr and nr:
 *   c[i * ldc + j] += sum over p of a[i * lda + p] * b[p * ldb + j]
 * The sum runs over p in ascending order from zero, and is then added to c.
 * b and c rows need no alignment. k >= 1. */
typedef void ql_ukr_fn(float *c, size_t ldc, const float *a, size_t lda,
                       const float *b, size_t ldb, size_t k);

/* Four dot products with one vector:
 *   out[i] += sum over p of a[i * lda + p] * b[p], i < 4
 * in an order that depends on the set and k only. */
typedef void ql_dot4_fn(float *out, const float *a, size_t lda, const float *b,
                        size_t k);

typedef struct ql_kernels {
    const char *name;  /* "avx2": as QL_ISA and --isa spell it */
    uint32_t cpu_need; /* capability bits of cpu.h, all required */
    size_t mr, nr;     /* rows and columns of the micro-kernel's tile */
    ql_decode_fn *decode;
    ql_ukr_fn *ukr;
    ql_dot4_fn *dot4;
} ql_kernels;

/* All sets of this build, weakest first; n receives their number. */
const ql_kernels *const *ql_kernels_list(size_t *n);

/* True if this machine can run the set. */
bool ql_kernels_runnable(const ql_kernels *k);

/* The set in use. Before any choice: the best that the machine runs. */
const ql_kernels *ql_kernels_get(void);

/* Chooses a set by name. False, and no change, if the name is unknown or the
 * machine cannot run it. Not to be called while products run. */
bool ql_kernels_choose(const char *name);

#endif
