/* The leading singular triplets of a matrix, by iterating on a subspace that
 * begins at random:
 *
 *   W ~ sum over i < r of s[i] u[i] v[i]^T
 *
 * Source: Halko, Martinsson, Tropp: Finding Structure with Randomness, 2011. */
#ifndef QL_OP_SVD_H
#define QL_OP_SVD_H

#include <stddef.h>
#include <stdint.h>

typedef struct ql_svd {
    size_t M, N;       /* of W */
    size_t r;          /* triplets; those beyond the rank of W are zero */
    size_t iterations; /* 0: until they settle */
    uint64_t key;      /* of the beginning */
} ql_svd;

/* Bytes of scratch. */
size_t ql_svd_work_bytes(const ql_svd *p);

/*   u     [r, M]  written; the rows are orthonormal
 *   s     [r]     written; falling
 *   v     [r, N]  written; as u
 *   w     [M, N]  read
 *   work  ql_svd_work_bytes(p) bytes, 64-byte aligned, any content
 * Cannot fail. Threads: splits products and rows; the result does not depend
 * on their number. */
void ql_svd_run(float *u, float *s, float *v, const float *w, const ql_svd *p,
                void *work);

#endif
