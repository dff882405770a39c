/* Query, key and value heads as columns of one matrix, and apart: fused
 * projections give them side by side. */
#ifndef QL_OP_HEADS_H
#define QL_OP_HEADS_H

#include <stdbool.h>
#include <stddef.h>

/* The heads of T tokens in a matrix of W = (H + 2 KV) D columns:
 *
 *   all q heads, then all k, then all v;
 *   or, by_head, for each head its q, k and v (then KV is H). */
typedef struct ql_heads {
    size_t T, H, KV, D;
    bool by_head;
} ql_heads;

/*   q     [T, H, D]   written
 *   k, v  [T, KV, D]  written
 *   x     [T, W]      read
 * Threads: splits T. */
void ql_heads_split(float *q, float *k, float *v, const float *x, ql_heads h);

/* The inverse: x is written, q, k and v are read. */
void ql_heads_join(float *x, const float *q, const float *k, const float *v,
                   ql_heads h);

#endif
