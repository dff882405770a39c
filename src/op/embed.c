#include "src/op/embed.h"

#include <assert.h>
#include <math.h>

#include "quant/codec.h"
#include "quant/half.h"
#include "quant/qgemm.h"
#include "src/base/arena.h"
#include "src/base/rng.h"
#include "src/op/dora.h"
#include "src/op/loops.h"
#include "src/op/lora_grad.h"
#include "src/op/parallel.h"

enum {
    PIECE = 512,  /* elements of a row at a time */
    COLUMNS = 64, /* of dw, added to by one thread for all rows */
    DIGIT = 8,    /* bits of an id that are sorted by at a time */
    DIGITS = 1 << DIGIT
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

/* What DoRA multiplies, and its gradient. */
static size_t scaled_bytes(const ql_embedding *e, size_t T)
{
    return e->dora.m ? ql_arena_piece(T * e->w.cols, sizeof(float)) : 0;
}

/* The order of the tokens takes the place of what the pair needs. */
size_t ql_embed_work_bytes(const ql_embedding *e, size_t T)
{
    const ql_qtensor up = up_of(e);
    const ql_term term = {.w = &up};
    const size_t r = e->lora.r;
    const size_t product = r > 0 ? ql_qgemm_work_bytes(&term, 1, T) : 0;
    const size_t grad = r > 0 ? ql_lora_grad_work_bytes(r, T) : 0;
    const size_t pair = scaled_bytes(e, T) +
                        ql_arena_piece(T * r, sizeof(float)) +
                        ql_larger(product, grad);
    const size_t order = ql_arena_piece(2 * T, sizeof(uint32_t));

    return ql_larger(pair, order);
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

/* y without DoRA. */
static void look_up(float *y, const int32_t *ids, const ql_embedding *e,
                    size_t T, void *work)
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

void ql_embed_fwd(float *y, const int32_t *ids, const ql_embedding *e, size_t T,
                  void *work)
{
    look_up(y, ids, e, T, work);
    if (e->dora.m) {
        ql_dora_apply(y, false, y, &e->dora, T, e->w.cols);
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

/* Moves from[T] to to[T] by one digit of their ids, else as they are. */
static void sort_digit(uint32_t *to, const uint32_t *from, const int32_t *ids,
                       size_t T, int shift)
{
    size_t end[DIGITS] = {0};

    for (size_t t = 0; t < T; t++) {
        end[(uint32_t)ids[t] >> shift & (DIGITS - 1)]++;
    }
    for (size_t d = 1; d < DIGITS; d++) {
        end[d] += end[d - 1];
    }
    for (size_t i = T; i-- > 0;) {
        const uint32_t id = (uint32_t)ids[from[i]];

        to[--end[id >> shift & (DIGITS - 1)]] = from[i];
    }
}

/* The tokens by their ids, those of one id in order of t; in work, [2, T]. */
static const uint32_t *order_of(const int32_t *ids, const ql_embedding *e,
                                size_t T, uint32_t *work)
{
    uint32_t *order = work;
    uint32_t *spare = work + T;

    for (size_t t = 0; t < T; t++) {
        order[t] = (uint32_t)t;
    }
    for (int i = 0; i < 32 && (e->w.rows - 1) >> i > 0; i += DIGIT) {
        uint32_t *sorted = spare;

        sort_digit(sorted, order, ids, T, i);
        spare = order;
        order = sorted;
    }
    return order;
}

static size_t columns_from(size_t first, size_t C)
{
    return C - first < COLUMNS ? C - first : COLUMNS;
}

/* Some columns of dw, rows in order of t. */
static void add_rows(const float *dy, const int32_t *ids, const ql_embedding *e,
                     size_t T, size_t first)
{
    const size_t C = e->w.cols;
    const size_t n = columns_from(first, C);

    for (size_t t = 0; t < T; t++) {
        float *to = e->dw + (size_t)ids[t] * C + first;
        const float *from = dy + t * C + first;

        for (size_t c = 0; c < n; c++) {
            to[c] += e->scale * from[c];
        }
    }
}

/* The same in bf16: the sum over the tokens of a row is taken in f32, and
 * rounded where it is added. */
static void add_rows_half(const float *dy, const int32_t *ids,
                          const uint32_t *order, const ql_embedding *e,
                          size_t T, size_t first)
{
    const size_t C = e->w.cols;
    const size_t n = columns_from(first, C);
    size_t i = 0;

    while (i < T) {
        const int32_t id = ids[order[i]];
        uint16_t *to = e->dw16 + (size_t)id * C + first;
        float sum[COLUMNS] = {0};

        for (; i < T && ids[order[i]] == id; i++) {
            const float *from = dy + order[i] * C + first;

            for (size_t c = 0; c < n; c++) {
                sum[c] += e->scale * from[c];
            }
        }
        for (size_t c = 0; c < n; c++) {
            to[c] = ql_f32_to_bf16(ql_bf16_to_f32(to[c]) + sum[c]);
        }
    }
}

/* Gradients of the pair by du, that of y without DoRA. */
static void pair_bwd(const float *du, const int32_t *ids, const ql_embedding *e,
                     size_t T, void *work)
{
    const ql_qtensor up = up_of(e);
    const ql_term term = {.in = du, .w = &up};
    float *product = product_of(e, T, work);

    gather(work, ids, e, T);
    ql_lora_grad(e->lora.db, true, work, du, e->lora.r, T, e->w.cols, product);
    ql_qgemm_bwd(work, &term, 1, T, false, product);
    scatter(work, ids, e, T);
}

/* With DoRA, what it multiplies is made again, and gives way to du. */
static void scaled_bwd(const float *dy, const int32_t *ids,
                       const ql_embedding *e, size_t T, void *work)
{
    float *u = work;
    void *rest = (char *)work + scaled_bytes(e, T);

    look_up(u, ids, e, T, rest);
    ql_dora_bwd(u, dy, u, &e->dora, T, e->w.cols);
    pair_bwd(u, ids, e, T, rest);
}

void ql_embed_bwd(const float *dy, const int32_t *ids, const ql_embedding *e,
                  size_t T, void *work)
{
    const size_t C = e->w.cols;

    if (e->lora.da) {
        (e->dora.m ? scaled_bwd : pair_bwd)(dy, ids, e, T, work);
    }
    if (e->dw) {
#pragma omp parallel for schedule(static) if (T * C > QL_SMALL)
        for (size_t c = 0; c < C; c += COLUMNS) {
            add_rows(dy, ids, e, T, c);
        }
    }
    if (e->dw16) {
        const uint32_t *order = order_of(ids, e, T, work);

#pragma omp parallel for schedule(static) if (T * C > QL_SMALL)
        for (size_t c = 0; c < C; c += COLUMNS) {
            add_rows_half(dy, ids, order, e, T, c);
        }
    }
}

ql_linear ql_embed_linear(const ql_embedding *e)
{
    return (ql_linear){.w = e->w, .lora = e->lora, .dora = e->dora};
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
