/* A product in work: what the files of qgemm share. */
#ifndef QL_QUANT_QGEMM_JOB_H
#define QL_QUANT_QGEMM_JOB_H

#include <omp.h>

#include "quant/kernels.h"
#include "quant/qgemm.h"

static inline size_t ql_min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t ql_ceil_div(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

/* A product A B with one matrix, and how it is cut. */
typedef struct ql_part {
    ql_qtensor w;
    const float *in; /* of the span */
    size_t depth;
    size_t step;   /* values of a chunk, but for the last */
    size_t chunks; /* of the depth */
    size_t lda;    /* cells between rows of A: off powers of two */
    size_t a;      /* in the scratch: [chunks][rows of the span][lda] cells */
    size_t dot4;   /* the same as dot4 takes it; 0: it does not */

    /* The pair that reads the same A: mid = scale A first. */
    size_t r;
    float scale;
    ql_qtensor first;
    float *mid;        /* of the span */
    size_t thin;       /* in the scratch: panels of first, of all its columns */
    size_t thin_bytes; /* of a panel, for one chunk */
} ql_part;

/* A product over one span of tokens, and how it is cut. */
typedef struct ql_job {
    const ql_kernels *set;
    ql_part parts[2 * QL_TERMS]; /* a pair's second product is one of its own */
    size_t n_parts;
    bool forward, add;
    float *out;
    size_t T, width; /* C is [T, width] */
    size_t rows;     /* of A, for a span: whole tiles, thin ones too */
    size_t columns;  /* of a task */
    size_t ld;       /* cells between rows that are to be packed */
    char *work;
    size_t threads; /* in the scratch: each bytes for each of them */
    size_t each;
    size_t end; /* of the scratch */
} ql_job;

/* True where dot products are faster. */
static inline bool ql_job_is_few(const ql_job *j, size_t T)
{
    return j->forward && T <= j->set->few;
}

/* Products of pairs of numbers in the span. */
static inline size_t ql_job_pairs(const ql_job *j)
{
    size_t depth = 0;

    for (size_t i = 0; i < j->n_parts; i++) {
        depth += j->parts[i].depth;
    }
    return j->T * j->width * depth;
}

/* This thread's panel, or a row of one. */
static inline uint32_t *ql_job_panel(const ql_job *j)
{
    const size_t i = (size_t)omp_get_thread_num();

    return (uint32_t *)(void *)(j->work + j->threads + i * j->each);
}

/* Row i of a part's A in a chunk. */
static inline char *ql_job_row(const ql_job *j, const ql_part *p, size_t chunk,
                               size_t i)
{
    return j->work + p->a + (chunk * j->rows + i) * p->lda * sizeof(uint32_t);
}

/* The same, as dot4 takes it. */
static inline char *ql_job_dot4_row(const ql_job *j, const ql_part *p,
                                    size_t chunk, size_t i)
{
    return ql_job_row(j, p, chunk, i) + (p->dot4 - p->a);
}

/* Row i of a chunk of A, in the orders in which it is read. */
void ql_job_pack_row(const ql_job *j, const ql_part *p, size_t chunk, size_t i);

/* The product over a span of few tokens. */
void ql_job_do_few(const ql_job *j);

#endif
