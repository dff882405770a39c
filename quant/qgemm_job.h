/* Products in work: what the files of qgemm share. */
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

static inline size_t ql_round_up(size_t a, size_t b)
{
    return ql_ceil_div(a, b) * b;
}

enum {
    QL_JOB_LINE = 16,      /* cells in a cache line */
    QL_JOB_SMALL = 1 << 21 /* products of pairs that one thread does alone */
};

/* Activations as they are multiplied, A: rounded to the operands of the set, in
 * chunks of their depth. */
typedef struct ql_job_rows {
    const float *in; /* of the span */
    size_t depth;
    size_t step;   /* values of a chunk, but for the last */
    size_t chunks; /* of the depth */
    size_t lda;    /* cells between rows: off powers of two */
    size_t plain;  /* in the scratch: [chunks][rows of the span][lda] cells */
    size_t dot4;   /* the same as dot4 takes it */
    bool need_plain, need_dot4;
} ql_job_rows;

/* A product A B with one matrix, and how it is cut. */
typedef struct ql_part {
    ql_qtensor w;
    size_t a;     /* A, of the job's rows */
    size_t depth; /* of A */
    bool dot4;    /* takes rows of w */

    /* The pair that reads the same A: mid = scale A first. */
    size_t r;
    float scale;
    ql_qtensor first;
    float *mid;        /* of the span */
    size_t thin;       /* in the scratch: panels of first, of all its columns */
    size_t thin_bytes; /* of a panel, for one chunk */
} ql_part;

/* What is written: the sum of some parts. */
typedef struct ql_job_out {
    float *y; /* of the span; NULL, of an only one: not wanted */
    size_t width;
    size_t from, to; /* parts [from, to) */
} ql_job_out;

/* Products over one span of tokens, and how they are cut. */
typedef struct ql_job {
    const ql_kernels *set;
    ql_job_rows a[2 * QL_TERMS]; /* a pair's second product is one of its own */
    ql_part parts[2 * QL_TERMS];
    ql_job_out outs[QL_SUMS];
    size_t n_a, n_parts, n_outs;
    bool forward, add;
    size_t T;       /* Y is [T, width] */
    size_t rows;    /* of A, for a span: whole tiles, thin ones too */
    size_t columns; /* of a task */
    size_t ld;      /* cells between rows that are to be packed */
    char *work;
    size_t threads; /* in the scratch: each bytes for each of them */
    size_t each;
    size_t end; /* of the scratch */
} ql_job;

/* False where only the pairs' mid are wanted. */
static inline bool ql_job_is_wanted(const ql_job *j)
{
    return j->outs[0].y != NULL;
}

/* True where dot products are faster. */
static inline bool ql_job_is_few(const ql_job *j, size_t T)
{
    return j->forward && T <= j->set->few;
}

/* Products of pairs of numbers in the span. */
static inline size_t ql_job_pairs(const ql_job *j)
{
    size_t sum = 0;

    for (size_t o = 0; o < j->n_outs; o++) {
        for (size_t i = j->outs[o].from; i < j->outs[o].to; i++) {
            sum += j->T * j->outs[o].width * j->parts[i].depth;
        }
    }
    return sum;
}

/* True where a second thread would bring less than waking it costs. */
static inline bool ql_job_is_small(const ql_job *j)
{
    return ql_job_pairs(j) < QL_JOB_SMALL;
}

/* Tasks of so many columns each, or fewer. */
static inline size_t ql_job_tasks(const ql_job *j, size_t columns)
{
    size_t sum = 0;

    for (size_t o = 0; o < j->n_outs; o++) {
        sum += ql_ceil_div(j->outs[o].width, columns);
    }
    return sum;
}

/* Where a task lies: columns from at on of what is written. */
typedef struct ql_job_place {
    const ql_job_out *out;
    size_t at;
} ql_job_place;

/* The place of a task of so many columns. There are more than task. */
static inline ql_job_place ql_job_place_of(const ql_job *j, size_t task,
                                           size_t columns)
{
    const ql_job_out *out = j->outs;

    for (size_t tasks; task >= (tasks = ql_ceil_div(out->width, columns));) {
        task -= tasks;
        out++;
    }
    return (ql_job_place){out, task * columns};
}

/* This thread's panel, or a row of one. */
static inline uint32_t *ql_job_panel(const ql_job *j)
{
    const size_t i = (size_t)omp_get_thread_num();

    return (uint32_t *)(void *)(j->work + j->threads + i * j->each);
}

/* A of a part. */
static inline const ql_job_rows *ql_job_a(const ql_job *j, const ql_part *p)
{
    return &j->a[p->a];
}

/* Row i of A in a chunk. */
static inline char *ql_job_row(const ql_job *j, const ql_job_rows *a,
                               size_t chunk, size_t i)
{
    return j->work + a->plain +
           (chunk * j->rows + i) * a->lda * sizeof(uint32_t);
}

/* The same, as dot4 takes it. */
static inline char *ql_job_dot4_row(const ql_job *j, const ql_job_rows *a,
                                    size_t chunk, size_t i)
{
    return j->work + a->dot4 +
           (chunk * j->rows + i) * a->lda * sizeof(uint32_t);
}

/* One row of operands; the last cell is filled up. */
static inline void ql_job_narrow(const ql_job *j, void *to, const float *x,
                                 size_t n)
{
    uint32_t *cells = to;

    cells[(n - 1) / j->set->pair] = 0;
    j->set->narrow(to, x, n);
}

/* Row i of a chunk of A, in the orders in which it is read. */
static inline void ql_job_pack_row(const ql_job *j, const ql_job_rows *a,
                                   size_t chunk, size_t i)
{
    const size_t k = chunk * a->step;
    const size_t n = ql_min_size(a->step, a->depth - k);
    const float *x = a->in + i * a->depth + k;

    if (a->need_dot4) {
        j->set->arrange(ql_job_dot4_row(j, a, chunk, i), x, n);
    }
    if (a->need_plain) {
        ql_job_narrow(j, ql_job_row(j, a, chunk, i), x, n);
    }
}

/* Columns of a task, and bytes of scratch of a thread. */
size_t ql_job_columns(const ql_job *j);
size_t ql_job_thread_bytes(const ql_job *j);

/* The products over a span; the pairs' first matrices are laid out in chunks,
 * or 0 where they are already. */
void ql_job_do_tiles(const ql_job *j, size_t chunks);

/* The same of few tokens. */
void ql_job_do_few(const ql_job *j);

#endif
