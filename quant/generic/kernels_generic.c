#include "quant/generic/kernels_generic.h"

#include <string.h>

enum {
    MR = 4,
    NR = 8
};

/* Plain multiply and add; compilers keep the tile in vector registers. */
static void ukr(float *c, size_t ldc, const float *a, size_t lda,
                const float *b, size_t ldb, size_t k)
{
    float acc[MR][NR];

    memset(acc, 0, sizeof(acc));
    for (size_t p = 0; p < k; p++) {
        for (size_t i = 0; i < MR; i++) {
            for (size_t j = 0; j < NR; j++) {
                acc[i][j] += a[i * lda + p] * b[p * ldb + j];
            }
        }
    }
    for (size_t i = 0; i < MR; i++) {
        for (size_t j = 0; j < NR; j++) {
            c[i * ldc + j] += acc[i][j];
        }
    }
}

const ql_kernels ql_kernels_generic = {
    .name = "generic",
    .mr = MR,
    .nr = NR,
    .decode = ql_decode_generic,
    .ukr = ukr,
};
