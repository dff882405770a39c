#include "src/op/embed.h"

#include <assert.h>
#include <math.h>

#include "quant/codec.h"
#include "quant/half.h"
#include "quant/qgemm.h"
#include "src/base/arena.h"
#include "src/base/rng.h"
#include "src/op/loops.h"
#include "src/op/lora_grad.h"
#include "src/op/parallel.h"

enum {
    PIECE = 512, /* elements of a row at a time */
    COLUMNS = 64 /* of dw, added to by one thread for all rows */
};

static float *product_of(const ql_embedding *e, size_t T, void *work)
{
    char *thin = work;

    return (float *)(void *)(thin +
                             ql_arena_piece(T * e->lora.r, sizeof(float)));
}

static ql_qtensor up_of(const ql_embedding *e)
{
    return ql_qtensor_dense(e->lora.b, e->w.cols, e->lora.r);
}

size_t ql_embed_work_bytes(const ql_embedding *e, size_t T)
{
    const ql_qtensor up = up_of(e);
    const ql_term term = {.w = &up};
    const size_t r = e->lora.r;
    const size_t product = r > 0 ? ql_qgemm_work_bytes(&term, 1, T) : 0;
    const size_t grad = r > 0 ? ql_lora_grad_work_bytes(r, T) : 0;

    return ql_arena_piece(T * r, sizeof(float)) +
           (product > grad ? product : grad);
}

/* xa[t,:] = scale s A[:,ids[t]]. */
static void gather(float *xa, const int32_t *ids, const ql_embedding *e,
                   size_t T)
{
    const size_t r = e->lora.r;
    const float by = e->scale * e->lora.scale;

#pragma omp parallel for schedule(static) if (T * r > QL_SMALL)
    for (size_t t = 0; t < T; t++) {
        for (size_t i = 0; i < r; i++) {
            xa[t * r + i] = by * e->lora.a[i * e->w.rows + (size_t)ids[t]];
        }
    }
}

void ql_embed_fwd(float *y, const int32_t *ids, const ql_embedding *e, size_t T,
                  void *work)
{
    const ql_loops *loops = ql_loops_get();
    const size_t C = e->w.cols;
    const ql_qtensor up = up_of(e);
    const ql_term term = {.in = work, .w = &up};

#pragma omp parallel for schedule(static) if (T * C > QL_SMALL)
    for (size_t t = 0; t < T; t++) {
        assert(ids[t] >= 0 && (size_t)ids[t] < e->w.rows);
        ql_dequantize(y + t * C, &e->w, (size_t)ids[t] * C, C);
        if (e->scale != 1) {
            loops->scale(y + t * C, C, e->scale);
        }
    }
    if (e->lora.r > 0) {
        gather(work, ids, e, T);
        ql_qgemm_fwd(y, &term, 1, T, true, product_of(e, T, work));
    }
}

/* dA[:,ids[t]] += by dxa[t,:], in order of t. */
static void scatter(const float *dxa, const int32_t *ids, const ql_embedding *e,
                    size_t T)
{
    const size_t r = e->lora.r;
    const float by = e->scale * e->lora.scale;

#pragma omp parallel for schedule(static) if (T * r > QL_SMALL)
    for (size_t i = 0; i < r; i++) {
        for (size_t t = 0; t < T; t++) {
            e->lora.da[i * e->w.rows + (size_t)ids[t]] += by * dxa[t * r + i];
        }
    }
}

/* Some columns of dw, rows in order of t. */
static void add_rows(const float *dy, const int32_t *ids, const ql_embedding *e,
                     size_t T, size_t first)
{
    const size_t C = e->w.cols;
    const size_t n = C - first < COLUMNS ? C - first : COLUMNS;

    for (size_t t = 0; t < T; t++) {
        const size_t at = (size_t)ids[t] * C + first;
        const float *from = dy + t * C + first;

        for (size_t c = 0; e->dw && c < n; c++) {
            e->dw[at + c] += e->scale * from[c];
        }
        for (size_t c = 0; e->dw16 && c < n; c++) {
            e->dw16[at + c] = ql_f32_to_bf16(ql_bf16_to_f32(e->dw16[at + c]) +
                                             e->scale * from[c]);
        }
    }
}

void ql_embed_bwd(const float *dy, const int32_t *ids, const ql_embedding *e,
                  size_t T, void *work)
{
    const size_t C = e->w.cols;
    const ql_qtensor up = up_of(e);
    const ql_term term = {.in = dy, .w = &up};
    float *product = product_of(e, T, work);

    if (e->lora.da) {
        gather(work, ids, e, T);
        ql_lora_grad(e->lora.db, true, work, dy, e->lora.r, T, C, product);
        ql_qgemm_bwd(work, &term, 1, T, false, product);
        scatter(work, ids, e, T);
    }
    if (e->dw || e->dw16) {
#pragma omp parallel for schedule(static) if (T * C > QL_SMALL)
        for (size_t c = 0; c < C; c += COLUMNS) {
            add_rows(dy, ids, e, T, c);
        }
    }
}

bool ql_embed_trained(const ql_embedding *e)
{
    return e->lora.da || e->dw || e->dw16;
}

void ql_embed_noise(float *y, const size_t *start, size_t sequences, size_t C,
                    float alpha, uint64_t key)
{
    for (size_t s = 0; s < sequences; s++) {
        const size_t n = (start[s + 1] - start[s]) * C;
        const size_t first = start[s] * C;
        const double by = (double)alpha / sqrt((double)n);

#pragma omp parallel for schedule(static) if (n > QL_SMALL)
        for (size_t i = first; i < first + n; i++) {
            y[i] += (float)(by * (2 * ql_rng_unit(key, i) - 1));
        }
    }
}

static void add_row(const ql_loops *loops, float *y, const ql_qtensor *w,
                    size_t row)
{
    float piece[PIECE];

    for (size_t c = 0; c < w->cols; c += PIECE) {
        const size_t n = w->cols - c < PIECE ? w->cols - c : PIECE;

        ql_dequantize(piece, w, row * w->cols + c, n);
        loops->add(y + c, piece, n);
    }
}

void ql_embed_add(float *y, const uint32_t *pos, const ql_qtensor *w, size_t T)
{
    const ql_loops *loops = ql_loops_get();

#pragma omp parallel for schedule(static) if (T * w->cols > QL_SMALL)
    for (size_t t = 0; t < T; t++) {
        assert(pos[t] < w->rows);
        add_row(loops, y + t * w->cols, w, pos[t]);
    }
}
