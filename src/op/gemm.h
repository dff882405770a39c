/* Dense products in f32: the only user of BLAS. The output is cut into tiles
 * that depend on the shapes only; OpenBLAS, held to one thread, computes each
 * tile inside our own parallel region. */
#ifndef QL_OP_GEMM_H
#define QL_OP_GEMM_H

#include <stdbool.h>
#include <stddef.h>

/* C = alpha op(A) op(B) + beta C, op(A) [M, K], op(B) [K, N], C [M, N], all
 * row-major with leading dimensions lda, ldb, ldc. trans: the matrix is stored
 * transposed. With beta 0, C may hold anything. K = 0 gives beta C. No
 * number may exceed INT_MAX. Cannot fail. Threads: splits C. */
void ql_gemm(bool trans_a, bool trans_b, size_t M, size_t N, size_t K,
             float alpha, const float *a, size_t lda, const float *b,
             size_t ldb, float beta, float *c, size_t ldc);

/* The same by the calling thread alone: for use inside a parallel region. */
void ql_gemm_tile(bool trans_a, bool trans_b, size_t M, size_t N, size_t K,
                  float alpha, const float *a, size_t lda, const float *b,
                  size_t ldb, float beta, float *c, size_t ldc);

/* Holds BLAS to one thread. Called once by the runtime. */
void ql_gemm_setup(void);

/* Name and version of the BLAS in use. Borrowed, constant. */
const char *ql_gemm_library(void);

#endif
