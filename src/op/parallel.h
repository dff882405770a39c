/* Threads in use: what scratch is sized for. */
#ifndef QL_OP_PARALLEL_H
#define QL_OP_PARALLEL_H

#include <omp.h>
#include <stddef.h>

/* Elements of plain loops below which a parallel region costs more than it
 * brings. It decides who computes, never what: results are the same. */
enum {
    QL_SMALL = 1 << 13
};

/* The most threads that a parallel region will have. */
static inline size_t ql_max_threads(void)
{
    return (size_t)omp_get_max_threads();
}

/* This thread's number inside a parallel region, from 0. */
static inline size_t ql_thread(void)
{
    return (size_t)omp_get_thread_num();
}

#endif
