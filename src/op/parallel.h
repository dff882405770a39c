/* Threads in use: what scratch is sized for. */
#ifndef QL_OP_PARALLEL_H
#define QL_OP_PARALLEL_H

#include <omp.h>
#include <stddef.h>

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
