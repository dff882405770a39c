/* The base product runs on the frozen weight as it is stored, and the pair's
 * two thin products ride along with it. Scratch is laid out as
 *
 *   [ dxa: T x R ] [ dropped x, or A's share of dx: T x K ]
 *   [ with DoRA, dU: T x N ] [ products ]
 */
#include "src/op/linear.h"

#include "quant/qgemm.h"
#include "src/base/arena.h"
#include "src/op/dora.h"
#include "src/op/gemm.h"
#include "src/op/lora_grad.h"
#include "src/op/vec.h"

enum {
    GRAD_ROWS = 256 /* of a gradient in bf16, summed in f32 at a time */
};

typedef struct scratch {
    float *dxa;
    float *wide;
    float *du;
    void *product;
} scratch;

/* Bytes of the first pieces. */
static size_t thin_bytes(const ql_linear *lin, size_t T)
{
    return ql_arena_piece(T * lin->lora.r, sizeof(float));
}

static size_t wide_bytes(const ql_linear *lin, size_t T)
{
    return lin->lora.r ? ql_arena_piece(T * lin->w.cols, sizeof(float)) : 0;
}

static size_t du_bytes(const ql_linear *lin, size_t T)
{
    return lin->dora.m ? ql_arena_piece(T * lin->w.rows, sizeof(float)) : 0;
}

static scratch lay_out(const ql_linear *lin, size_t T, void *work)
{
    char *wide = (char *)work + thin_bytes(lin, T);
    char *du = wide + wide_bytes(lin, T);

    return (scratch){
        .dxa = work,
        .wide = (float *)(void *)wide,
        .du = (float *)(void *)du,
        .product = du + du_bytes(lin, T),
    };
}

/* The layer as a term of a product; mid is the pair's. */
static ql_term term_of(const ql_linear *lin, const float *in, float *mid)
{
    const ql_lora *lora = &lin->lora;

    return (ql_term){.in = in,
                     .w = &lin->w,
                     .pair = {.r = lora->r,
                              .scale = lora->scale,
                              .down = lora->a,
                              .up = lora->b,
                              .mid = mid}};
}

/* True if all products are those of BLAS. */
static bool is_whole(const ql_linear *lin)
{
    return lin->trained && lin->w.storage == QL_STORAGE_F32;
}

/* Floats of the gradient of w in bf16 that are summed at a time. */
static size_t grad_floats(const ql_linear *lin)
{
    const size_t rows = lin->w.rows < GRAD_ROWS ? lin->w.rows : GRAD_ROWS;

    return lin->trained && !is_whole(lin) ? rows * lin->w.cols : 0;
}

typedef size_t work_bytes_fn(const ql_term *terms, size_t n_terms, size_t T);

/* Bytes of the products, together and apart, in the directions of bytes. */
static size_t product_bytes(const ql_linear *lin, size_t T,
                            work_bytes_fn *bytes)
{
    const ql_term term = term_of(lin, NULL, NULL);
    const ql_qtensor up = ql_qtensor_dense(NULL, lin->w.rows, lin->lora.r);
    const ql_term apart[] = {{.w = &lin->w}, {.w = &up}};

    return ql_larger(bytes(&term, 1, T),
                     lin->lora.r > 0 ? bytes(apart, 2, T) : 0);
}

/* Bytes of all pieces, the last of which has so many. */
static size_t all_bytes(const ql_linear *lin, size_t T, size_t product)
{
    return thin_bytes(lin, T) + wide_bytes(lin, T) + du_bytes(lin, T) +
           (is_whole(lin) ? 0 : product);
}

size_t ql_linear_work_bytes(const ql_linear *lin, size_t T)
{
    const size_t grad = ql_larger(ql_lora_grad_work_bytes(lin->lora.r, T),
                                  grad_floats(lin) * sizeof(float));

    return all_bytes(
        lin, T, ql_larger(product_bytes(lin, T, ql_qgemm_work_bytes), grad));
}

size_t ql_linear_fwd_work_bytes(const ql_linear *lin, size_t T)
{
    return all_bytes(lin, T, product_bytes(lin, T, ql_qgemm_fwd_work_bytes));
}

/* True if the pair sees another x than the base. */
static bool drops(const ql_linear *lin, ql_drop drop)
{
    return lin->lora.r > 0 && drop.p > 0;
}

/* x as the pair sees it, in the scratch if it is another. */
static const float *seen(const float *x, const ql_linear *lin, size_t T,
                         ql_drop drop, const scratch *s)
{
    if (!drops(lin, drop)) {
        return x;
    }
    ql_vec_dropout(s->wide, x, T * lin->w.cols, drop.p, drop.key);
    return s->wide;
}

void ql_linear_keep(ql_linear_kept kept, const float *x, const ql_linear *lin,
                    size_t T, ql_drop drop, void *work)
{
    const scratch s = lay_out(lin, T, work);
    const ql_term term = term_of(lin, seen(x, lin, T, drop, &s), kept.xa);

    if (lin->lora.r > 0) {
        ql_qgemm_fwd(lin->dora.m ? kept.u : NULL, &term, 1, T, false,
                     s.product);
    }
}

/* y with DoRA. */
static void forward_scaled(float *y, bool add, ql_linear_kept kept,
                           const float *x, const ql_linear *lin, size_t T,
                           ql_drop drop, void *work)
{
    const scratch s = lay_out(lin, T, work);
    const ql_term rest = {.in = s.wide, .w = &lin->w};
    const size_t n = T * lin->w.cols;

    ql_linear_keep(kept, x, lin, T, drop, work);
    if (drops(lin, drop)) {
        ql_vec_sub(s.wide, x, s.wide, n);
        ql_qgemm_fwd(y, &rest, 1, T, add, s.product);
        add = true;
    }
    ql_dora_apply(y, add, kept.u, &lin->dora, T, lin->w.rows);
}

/* A matrix that is trained, which may be some rows of one. */
static const float *trained_of(const ql_linear *lin)
{
    return (const float *)lin->w.data + lin->w.first;
}

static void forward_whole(float *y, bool add, const float *x,
                          const ql_linear *lin, size_t T)
{
    const size_t N = lin->w.rows;
    const size_t K = lin->w.cols;

    ql_gemm(T, N, K, 1, ql_mat_n(x, K), ql_mat_t(trained_of(lin), K),
            add ? 1 : 0, y, N);
}

static void backward_whole(float *dx, bool add, const float *dy, const float *x,
                           const ql_linear *lin, size_t T)
{
    const size_t N = lin->w.rows;
    const size_t K = lin->w.cols;

    if (lin->dw) {
        ql_gemm(N, K, T, 1, ql_mat_t(dy, N), ql_mat_n(x, K), 1, lin->dw, K);
    }
    if (dx) {
        ql_gemm(T, K, N, 1, ql_mat_n(dy, N), ql_mat_n(trained_of(lin), K),
                add ? 1 : 0, dx, K);
    }
}

/* dW in bf16: the sum over the tokens is taken in f32, and rounded where it is
 * added. */
static void gradient_half(const float *dy, const float *x, const ql_linear *lin,
                          size_t T, float *sum)
{
    const size_t N = lin->w.rows;
    const size_t K = lin->w.cols;
    size_t rows;

    for (size_t n = 0; n < N; n += rows) {
        rows = N - n < GRAD_ROWS ? N - n : GRAD_ROWS;
        ql_gemm(rows, K, T, 1, ql_mat_t(dy + n, N), ql_mat_n(x, K), 0, sum, K);
        ql_vec_add_to_bf16(lin->dw16 + n * K, sum, rows * K);
    }
}

static void forward_dropped(float *y, bool add, ql_linear_kept kept,
                            const float *x, const ql_linear *lin, size_t T,
                            ql_drop drop, void *work)
{
    const ql_qtensor up =
        ql_qtensor_dense(lin->lora.b, lin->w.rows, lin->lora.r);
    const ql_term apart[] = {{.in = x, .w = &lin->w},
                             {.in = kept.xa, .w = &up}};

    ql_linear_keep(kept, x, lin, T, drop, work);
    ql_qgemm_fwd(y, apart, 2, T, add, lay_out(lin, T, work).product);
}

static void add_bias(float *y, const ql_linear *lin, size_t T, ql_drop drop)
{
    ql_profile_mark(drop.profile, QL_WORK_LORA);
    if (lin->bias) {
        ql_vec_add_bias(y, lin->bias, T, lin->w.rows);
    }
}

void ql_linear_fwd(float *y, bool add, ql_linear_kept kept, const float *x,
                   const ql_linear *lin, size_t T, ql_drop drop, void *work)
{
    const ql_term term = term_of(lin, x, kept.xa);

    ql_profile_mark(drop.profile, QL_WORK_PRODUCT);
    if (is_whole(lin)) {
        forward_whole(y, add, x, lin, T);
    } else if (lin->dora.m) {
        forward_scaled(y, add, kept, x, lin, T, drop, work);
    } else if (drops(lin, drop)) {
        forward_dropped(y, add, kept, x, lin, T, drop, work);
    } else {
        ql_qgemm_fwd(y, &term, 1, T, add, lay_out(lin, T, work).product);
    }
    add_bias(y, lin, T, drop);
}

/* True if the layer is one product with what comes in. */
static bool is_plain(const ql_linear *lin, ql_drop drop)
{
    return !is_whole(lin) && !lin->dora.m && !drops(lin, drop);
}

/* The calls as sums. */
typedef struct sums {
    ql_term terms[QL_LINEAR_CALLS];
    ql_sum all[QL_LINEAR_CALLS];
} sums;

static void list_sums(sums *s, const ql_linear_call *calls, size_t n,
                      const float *x)
{
    for (size_t i = 0; i < n; i++) {
        s->terms[i] = term_of(calls[i].lin, x, calls[i].kept.xa);
        s->all[i] = (ql_sum){calls[i].y, &s->terms[i], 1};
    }
}

size_t ql_linear_calls_bytes(const ql_linear_call *calls, size_t n, size_t T)
{
    sums s = {0};
    size_t most;

    list_sums(&s, calls, n, NULL);
    most = ql_qgemm_sums_work_bytes(s.all, n, T);
    for (size_t i = 0; i < n; i++) {
        most = ql_larger(most, ql_linear_fwd_work_bytes(calls[i].lin, T));
    }
    return most;
}

/* All as one product. */
static void forward_plain(const ql_linear_call *calls, size_t n, const float *x,
                          size_t T, void *work)
{
    sums s = {0};

    list_sums(&s, calls, n, x);
    ql_profile_mark(calls[0].drop.profile, QL_WORK_PRODUCT);
    ql_qgemm_sums(s.all, n, T, work);
    for (size_t i = 0; i < n; i++) {
        add_bias(calls[i].y, calls[i].lin, T, calls[i].drop);
    }
}

void ql_linear_fwd_calls(const ql_linear_call *calls, size_t n, const float *x,
                         size_t T, void *work)
{
    bool plain = true;

    for (size_t i = 0; i < n; i++) {
        plain = plain && is_plain(calls[i].lin, calls[i].drop);
    }
    if (plain) {
        forward_plain(calls, n, x, T, work);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const ql_linear_call *c = &calls[i];

        ql_linear_fwd(c->y, false, c->kept, x, c->lin, T, c->drop, work);
    }
}

/* What goes back through dropout: drop'(dxa A), and with DoRA also drop' of
 * (dU - dY) W; it is added to dx. */
static void backward_dropped(float *dx, const float *dy, const ql_linear *lin,
                             size_t T, ql_drop drop, const scratch *s)
{
    const size_t n = T * lin->w.cols;
    const ql_qtensor down =
        ql_qtensor_dense(lin->lora.a, lin->lora.r, lin->w.cols);
    const ql_term terms[] = {{.in = s->dxa, .w = &down},
                             {.in = s->du, .w = &lin->w}};

    if (lin->dora.m) {
        ql_vec_sub(s->du, s->du, dy, T * lin->w.rows);
    }
    ql_qgemm_bwd(s->wide, terms, lin->dora.m ? 2 : 1, T, false, s->product);
    ql_vec_dropout(s->wide, s->wide, n, drop.p, drop.key);
    ql_vec_add(dx, s->wide, n);
}

/* Gradients of the pair, from du. */
static void backward_pair(const float *du, const float *x, ql_linear_kept kept,
                          const ql_linear *lin, size_t T, ql_drop drop,
                          const scratch *s)
{
    const ql_lora *lora = &lin->lora;

    if (lora->da) {
        ql_lora_grad(lora->db, true, kept.xa, du, lora->r, T, lin->w.rows,
                     s->product);
        ql_lora_grad(lora->da, false, s->dxa, seen(x, lin, T, drop, s), lora->r,
                     T, lin->w.cols, s->product);
    }
}

/* The base's part of dx, and the pair with its own. */
static void backward_frozen(float *dx, bool add, const float *dy,
                            const float *x, ql_linear_kept kept,
                            const ql_linear *lin, size_t T, ql_drop drop,
                            void *work)
{
    const scratch s = lay_out(lin, T, work);
    const bool scaled = lin->dora.m != NULL;
    const float *du = scaled ? s.du : dy;
    const ql_term term = term_of(lin, du, s.dxa);
    const ql_term base = {.in = dy, .w = &lin->w};
    const bool apart = dx && drops(lin, drop);

    if (scaled) {
        ql_dora_bwd(s.du, dy, kept.u, &lin->dora, T, lin->w.rows);
    }
    if (dx || lin->lora.r > 0) {
        ql_qgemm_bwd(apart ? NULL : dx, &term, 1, T, add, s.product);
    }
    if (apart) {
        ql_qgemm_bwd(dx, &base, 1, T, add, s.product);
    }
    ql_profile_mark(drop.profile, QL_WORK_LORA);
    backward_pair(du, x, kept, lin, T, drop, &s);
    if (apart) {
        backward_dropped(dx, dy, lin, T, drop, &s);
    }
}

void ql_linear_bwd(float *dx, bool add, const float *dy, const float *x,
                   ql_linear_kept kept, const ql_linear *lin, size_t T,
                   ql_drop drop, void *work)
{
    ql_profile_mark(drop.profile, QL_WORK_PRODUCT);
    if (is_whole(lin)) {
        backward_whole(dx, add, dy, x, lin, T);
        ql_profile_mark(drop.profile, QL_WORK_LORA);
    } else {
        if (lin->dw16) {
            gradient_half(dy, x, lin, T, lay_out(lin, T, work).product);
        }
        backward_frozen(dx, add, dy, x, kept, lin, T, drop, work);
    }
    if (lin->dbias) {
        ql_vec_sum_rows(lin->dbias, dy, T, lin->w.rows);
    }
}
