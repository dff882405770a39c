/* Few tokens, as they are generated: dot products with rows of W, four bits at
 * a time straight from the codes. It is reading W that takes the time, and
 * waiting for each other, for a token has many small products. */
#include "quant/qgemm_job.h"

/* Found by measurement; nothing but speed depends on them. */
enum {
    MOST_FEW = 16,  /* of any set */
    DOT_ROWS = 32,  /* rows of W in a task */
    FIRST_ROWS = 4, /* of a pair's first matrix in a task of them */
};

/* What takes rows of w as they are stored, or NULL: they must be fetched. */
static ql_dot_fn *stored_dot(const ql_job *j, const ql_qtensor *w)
{
    const size_t pair = j->set->pair;

    switch (w->storage) {
    case QL_STORAGE_F32:
        return pair == 1 && (uintptr_t)w->data % sizeof(float) == 0
                   ? j->set->dot
                   : NULL;
    case QL_STORAGE_BF16:
        return (pair == 2 || j->T == 1) &&
                       (uintptr_t)w->data % sizeof(uint16_t) == 0
                   ? j->set->dot_bf16
                   : NULL;
    default:
        return NULL;
    }
}

/* Adds to sum[t ld + r] the products of rows n + r of w with all tokens, for
 * one chunk of the depth of a part. */
static void add_rows(const ql_job *j, const ql_part *p, const ql_qtensor *w,
                     size_t chunk, size_t n, size_t rows, float *sum, size_t ld)
{
    const ql_job_rows *a = ql_job_a(j, p);
    const size_t k = chunk * a->step;
    const size_t depth = ql_min_size(a->step, p->depth - k);
    const size_t size = w->storage == QL_STORAGE_BF16 ? 2 : sizeof(float);
    const char *data = w->data;
    ql_dot_fn *stored = stored_dot(j, w);
    ql_dot_fn *dot = stored ? stored : j->set->dot;

    for (size_t r = 0; r < rows; r++) {
        const size_t start = (n + r) * p->depth + k;
        const void *row = ql_job_panel(j);

        if (stored) {
            row = data + (w->first + start) * size;
        } else {
            j->set->fetch(ql_job_panel(j), w, start, depth);
        }
        for (size_t t = 0; t < j->T; t++) {
            sum[t * ld + r] += dot(row, ql_job_row(j, a, chunk, t), depth);
        }
    }
}

/* The same for a part's W. */
static void add_dots(const ql_job *j, const ql_part *p, size_t chunk, size_t n,
                     size_t rows, float sum[][QL_DOT4_ROWS])
{
    const ql_job_rows *a = ql_job_a(j, p);
    const size_t k = chunk * a->step;
    const size_t depth = ql_min_size(a->step, p->depth - k);

    if (!p->dot4) {
        add_rows(j, p, &p->w, chunk, n, rows, sum[0], QL_DOT4_ROWS);
        return;
    }
    for (size_t t = 0; t < j->T; t += QL_DOT4_TOKENS) {
        const ql_dots d = {.w = &p->w,
                           .start = p->w.first + n * p->depth + k,
                           .rows = rows,
                           .n = depth,
                           .x = (void *)ql_job_dot4_row(j, a, chunk, t),
                           .ldx = a->lda,
                           .tokens = ql_min_size(QL_DOT4_TOKENS, j->T - t)};

        j->set->dot4(sum + t, &d);
    }
}

/* Columns of C by dot products with rows of W, which are read from end to
 * end. */
static void do_dots(const ql_job *j, size_t task)
{
    const ql_job_place place = ql_job_place_of(j, task, DOT_ROWS);
    const ql_job_out *out = place.out;
    const size_t end = ql_min_size(place.at + DOT_ROWS, out->width);
    size_t rows;

    for (size_t n = place.at; n < end; n += rows) {
        float sum[MOST_FEW][QL_DOT4_ROWS] = {{0}};

        rows = ql_min_size(QL_DOT4_ROWS, end - n);
        for (size_t i = out->from; i < out->to; i++) {
            const ql_part *p = &j->parts[i];

            for (size_t c = 0; c < ql_job_a(j, p)->chunks; c++) {
                add_dots(j, p, c, n, rows, sum);
            }
        }
        for (size_t t = 0; t < j->T; t++) {
            float *to = out->y + t * out->width + n;

            for (size_t r = 0; r < rows; r++) {
                to[r] = sum[t][r] + (j->add ? to[r] : 0);
            }
        }
    }
}

/* mid = scale A first of few tokens, for some rows of all pairs' first
 * matrices. */
static void do_firsts(const ql_job *j, size_t task)
{
    const size_t n = task * FIRST_ROWS;

    for (const ql_part *p = j->parts; p < j->parts + j->n_parts; p++) {
        const size_t rows = n < p->r ? ql_min_size(FIRST_ROWS, p->r - n) : 0;
        float sum[MOST_FEW][FIRST_ROWS] = {{0}};

        for (size_t c = 0; rows > 0 && c < ql_job_a(j, p)->chunks; c++) {
            add_rows(j, p, &p->first, c, n, rows, sum[0], FIRST_ROWS);
        }
        for (size_t t = 0; t < j->T; t++) {
            for (size_t r = 0; r < rows; r++) {
                p->mid[t * p->r + n + r] = p->scale * sum[t][r];
            }
        }
    }
}

/* Rows of A of few tokens: those that are given or, if second, those that come
 * of a pair's first matrix. */
static void pack_few(const ql_job *j, bool second)
{
    size_t packed = 0;

    for (size_t i = 0; i < j->n_parts; i++) {
        const ql_part *p = &j->parts[i];
        const ql_job_rows *a = ql_job_a(j, p);
        const bool is_second = i > 0 && p[-1].r > 0;

        if (p->a < packed) { /* a part before reads it */
            continue;
        }
        packed++;
        for (size_t c = 0; is_second == second && c < a->chunks; c++) {
            for (size_t t = 0; t < j->T; t++) {
                ql_job_pack_row(j, a, c, t);
            }
        }
    }
}

static size_t first_tasks(const ql_job *j)
{
    size_t most = 0;

    for (size_t i = 0; i < j->n_parts; i++) {
        const size_t tasks = ql_ceil_div(j->parts[i].r, FIRST_ROWS);

        most = tasks > most ? tasks : most;
    }
    return most;
}

/* Waiting is what counts here: there is none but for pairs. */
void ql_job_do_few(const ql_job *j)
{
    const size_t firsts = first_tasks(j);
    const size_t tasks = ql_job_is_wanted(j) ? ql_job_tasks(j, DOT_ROWS) : 0;

    pack_few(j, false);
#pragma omp parallel if (!ql_job_is_small(j))
    {
        if (firsts > 0) {
#pragma omp for schedule(dynamic)
            for (size_t i = 0; i < firsts; i++) {
                do_firsts(j, i);
            }
#pragma omp single
            pack_few(j, true);
        }
#pragma omp for schedule(dynamic) nowait
        for (size_t i = 0; i < tasks; i++) {
            do_dots(j, i);
        }
    }
}
