/* Dense products in f32: the only user of BLAS. The output is cut into tiles
 * that depend on the shapes only; OpenBLAS, held to one thread, computes each
 * tile inside our own parallel region. */
#ifndef QL_OP_GEMM_H
#define QL_OP_GEMM_H

#include <stdbool.h>
#include <stddef.h>

/* A factor of a product: row-major, its rows ld apart; or stored transposed,
 * which ql_mat_t says. */
typedef struct ql_mat {
    const float *data;
    size_t ld;
    bool transposed;
} ql_mat;

static inline ql_mat ql_mat_n(const float *data, size_t ld)
{
    return (ql_mat){.data = data, .ld = ld};
}

static inline ql_mat ql_mat_t(const float *data, size_t ld)
{
    return (ql_mat){.data = data, .ld = ld, .transposed = true};
}

/* C = alpha A B + beta C, A [M, K], B [K, N] (after transposing what is stored
 * so), C [M, N] with rows ldc apart. With beta 0, C may hold anything. K = 0
 * gives beta C. No number may exceed INT_MAX. Cannot fail. Threads: splits
 * C. */
void ql_gemm(size_t M, size_t N, size_t K, float alpha, ql_mat a, ql_mat b,
             float beta, float *c, size_t ldc);

/* The same by the calling thread alone: for use inside a parallel region. */
void ql_gemm_tile(size_t M, size_t N, size_t K, float alpha, ql_mat a, ql_mat b,
                  float beta, float *c, size_t ldc);

/* Bytes that BLAS takes in the course of products whose sides do not exceed n,
 * on all threads: what it packs pieces of both factors into. */
size_t ql_gemm_memory(size_t n);

/* Holds BLAS to one thread. Called once by the runtime. */
void ql_gemm_setup(void);

/* Name and version of the BLAS in use. Borrowed, constant. */
const char *ql_gemm_library(void);

#endif
