/* How products are cut: both directions are one loop, C = A B. A are the
 * activations, rounded to the operands of the set and laid out in rows; B is
 * W. Their work is in qgemm_tiles.c; very few tokens go by dot products with
 * rows of W instead, in the forward: see qgemm_few.c.
 *
 * The order of every sum follows from the lengths of its terms; tasks are
 * taken as they come. */
#include "quant/qgemm.h"

#include <assert.h>
#include <omp.h>

#include "quant/qgemm_job.h"

/* Found by measurement; nothing but speed depends on them. */
enum {
    TOKENS = 512,     /* multiplied at a time, about */
    DOT_DEPTH = 4096, /* cells of a chunk of them */
};

/* Tokens multiplied at a time: T in equal parts, in whole tiles. */
static size_t span_tokens(size_t T, const ql_kernels *set)
{
    const size_t spans = ql_ceil_div(T, TOKENS);

    return ql_round_up(ql_ceil_div(T, spans), set->thin.mr);
}

/* True if dot4 takes the rows of w. */
static bool suits_dot4(const ql_qtensor *w)
{
    return w->storage == QL_STORAGE_4BIT && w->block == QL_DOT4_BLOCK &&
           w->cols % QL_DOT4_BLOCK == 0 && w->first % QL_DOT4_BLOCK == 0;
}

/* Lays out A of a depth, in equal chunks of whole cache lines, for dot4 of
 * whole pairs of blocks. Returns its number. */
static size_t open_rows(ql_job *j, size_t depth, size_t T)
{
    const ql_kernels *set = j->set;
    const size_t pair = set->pair;
    const bool few = ql_job_is_few(j, T);
    const size_t most = (few ? DOT_DEPTH : set->cache.depth) * pair;
    const size_t unit = few ? 2 * QL_DOT4_BLOCK : QL_JOB_LINE * pair;
    ql_job_rows *a = &j->a[j->n_a];
    size_t bytes;

    *a = (ql_job_rows){.depth = depth, .chunks = ql_ceil_div(depth, most)};
    a->step = ql_round_up(ql_ceil_div(depth, a->chunks), unit);
    a->lda = a->step / pair + QL_JOB_LINE;
    j->ld = a->lda > j->ld ? a->lda : j->ld;
    bytes = a->chunks * span_tokens(T, set) * a->lda * sizeof(uint32_t);
    a->plain = j->end;
    j->end += bytes;
    if (few) {
        a->dot4 = j->end;
        j->end += bytes;
    }
    return j->n_a++;
}

/* The next part: the product of some A with w. */
static ql_part *open_part(ql_job *j, const ql_qtensor *w, size_t a, size_t T)
{
    ql_part *p = &j->parts[j->n_parts++];

    *p = (ql_part){.w = *w, .a = a, .depth = j->a[a].depth};
    p->dot4 = ql_job_is_few(j, T) && suits_dot4(w);
    j->a[a].need_dot4 |= p->dot4;
    j->a[a].need_plain |= !p->dot4;
    return p;
}

/* Adds a pair to the part that reads the same A, and a part of its own for its
 * second product. */
static void open_pair(ql_job *j, ql_part *p, const ql_pair *pair, size_t T)
{
    const ql_tile thin = j->set->thin;
    const ql_qtensor down = ql_qtensor_dense(pair->down, pair->r, p->w.cols);
    const ql_qtensor up = ql_qtensor_dense(pair->up, p->w.rows, pair->r);
    ql_job_rows *a = &j->a[p->a];

    p->r = pair->r;
    p->scale = pair->scale;
    p->first = j->forward ? down : up;
    p->thin = j->end;
    p->thin_bytes = a->step / j->set->pair * thin.nr * sizeof(uint32_t);
    j->end += ql_ceil_div(p->r, thin.nr) * a->chunks * p->thin_bytes;
    a->need_plain = true;
    open_part(j, j->forward ? &up : &down, open_rows(j, p->r, T), T);
}

static size_t depth_of(const ql_job *j, const ql_qtensor *w)
{
    return j->forward ? w->cols : w->rows;
}

/* The parts of a sum. The first term of each reads what that of the first sum
 * reads. */
static void open_sum(ql_job *j, const ql_sum *sum, size_t T)
{
    ql_job_out *out = &j->outs[j->n_outs++];
    const ql_qtensor *w = sum->terms[0].w;

    *out = (ql_job_out){.width = j->forward ? w->rows : w->cols,
                        .from = j->n_parts};
    for (size_t i = 0; i < sum->n_terms; i++) {
        const ql_term *term = &sum->terms[i];
        const bool shared = i == 0 && j->n_a > 0;
        const size_t a = shared ? 0 : open_rows(j, depth_of(j, term->w), T);
        ql_part *p = open_part(j, term->w, a, T);

        if (term->pair.r > 0) {
            open_pair(j, p, &term->pair, T);
        }
    }
    out->to = j->n_parts;
}

/* What all spans have in common. */
static ql_job open_job(const ql_sum *sums, size_t n, size_t T, bool forward)
{
    const ql_kernels *set = ql_kernels_get();
    ql_job j = {.set = set, .forward = forward};
    size_t terms = 0;

    assert(n >= 1 && n <= QL_SUMS);
    j.rows = span_tokens(T, set);
    for (size_t i = 0; i < n; i++) {
        terms += sums[i].n_terms;
        assert(sums[i].n_terms >= 1 && terms <= QL_TERMS);
        open_sum(&j, &sums[i], T);
    }
    j.columns = ql_job_columns(&j);
    j.threads = j.end;
    j.each = ql_job_thread_bytes(&j);
    j.end += (size_t)omp_get_max_threads() * j.each;
    return j;
}

/* Bytes of scratch in one direction. */
static size_t work_bytes(const ql_sum *sums, size_t n, size_t T, bool forward)
{
    /* Spans are longest up to TOKENS; very few tokens have deeper chunks. */
    const size_t few = ql_min_size(T, ql_kernels_get()->few);
    const ql_job longest = open_job(sums, n, ql_min_size(T, TOKENS), forward);
    const ql_job deepest = open_job(sums, n, few, forward);

    return longest.end > deepest.end ? longest.end : deepest.end;
}

size_t ql_qgemm_sums_work_bytes(const ql_sum *sums, size_t n_sums, size_t T)
{
    return work_bytes(sums, n_sums, T, true);
}

size_t ql_qgemm_fwd_work_bytes(const ql_term *terms, size_t n_terms, size_t T)
{
    const ql_sum sum = {.terms = terms, .n_terms = n_terms};

    return work_bytes(&sum, 1, T, true);
}

size_t ql_qgemm_work_bytes(const ql_term *terms, size_t n_terms, size_t T)
{
    const ql_sum sum = {.terms = terms, .n_terms = n_terms};
    const size_t fwd = work_bytes(&sum, 1, T, true);
    const size_t bwd = work_bytes(&sum, 1, T, false);

    return fwd > bwd ? fwd : bwd;
}

static size_t thin_chunks(const ql_job *j)
{
    size_t most = 0;

    for (const ql_part *p = j->parts; p < j->parts + j->n_parts; p++) {
        const size_t chunks = p->r > 0 ? ql_job_a(j, p)->chunks : 0;

        most = chunks > most ? chunks : most;
    }
    return most;
}

/* Points a sum to a span that starts at token t. A pair's second product
 * follows its first, whose result it takes. */
static void set_sum(ql_job *j, ql_job_out *out, const ql_sum *sum, size_t t)
{
    const ql_term *term = sum->terms;

    out->y = sum->y ? sum->y + t * out->width : NULL;
    for (ql_part *p = j->parts + out->from; p < j->parts + out->to; p++) {
        j->a[p->a].in = term->in + t * p->depth;
        if (p->r > 0) {
            p->mid = term->pair.mid + t * p->r;
            j->a[p[1].a].in = p->mid;
            p++;
        }
        term++;
    }
}

static void multiply(const ql_sum *sums, size_t n, size_t T, bool forward,
                     bool add, void *work)
{
    ql_job j = open_job(sums, n, T, forward);
    size_t chunks = thin_chunks(&j);

    j.work = work;
    j.add = add;
    for (size_t t = 0; t < T; t += j.rows) {
        j.T = ql_min_size(j.rows, T - t);
        for (size_t i = 0; i < n; i++) {
            set_sum(&j, &j.outs[i], &sums[i], t);
        }
        if (ql_job_is_few(&j, j.T)) {
            ql_job_do_few(&j);
        } else {
            ql_job_do_tiles(&j, chunks);
        }
        chunks = 0; /* they stay for the next span */
    }
}

void ql_qgemm_sums(const ql_sum *sums, size_t n_sums, size_t T, void *work)
{
    multiply(sums, n_sums, T, true, false, work);
}

void ql_qgemm_fwd(float *y, const ql_term *terms, size_t n_terms, size_t T,
                  bool add, void *work)
{
    multiply(&(ql_sum){y, terms, n_terms}, 1, T, true, add, work);
}

void ql_qgemm_bwd(float *dx, const ql_term *terms, size_t n_terms, size_t T,
                  bool add, void *work)
{
    multiply(&(ql_sum){dx, terms, n_terms}, 1, T, false, add, work);
}
