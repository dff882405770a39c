/* The base product runs on the frozen weight as it is stored, and takes the
 * pair's second matrix along as a thin second term. Scratch is laid out as
 *
 *   [ dxa: T x R ] [ dropped x, or A's share of dx: T x K ] [ base product ]
 */
#include "src/op/linear.h"

#include "quant/qgemm.h"
#include "src/base/arena.h"
#include "src/op/gemm.h"
#include "src/op/vec.h"

typedef struct scratch {
    float *dxa;
    float *wide;
    void *product;
} scratch;

/* Bytes of the first two pieces. */
static size_t thin_bytes(const ql_linear *lin, size_t T)
{
    return ql_arena_piece(T * lin->lora.r, sizeof(float));
}

static size_t wide_bytes(const ql_linear *lin, size_t T)
{
    return lin->lora.r ? ql_arena_piece(T * lin->w.cols, sizeof(float)) : 0;
}

static scratch lay_out(const ql_linear *lin, size_t T, void *work)
{
    char *wide = (char *)work + thin_bytes(lin, T);

    return (scratch){
        .dxa = work,
        .wide = (float *)(void *)wide,
        .product = wide + wide_bytes(lin, T),
    };
}

size_t ql_linear_work_bytes(const ql_linear *lin, size_t T)
{
    const size_t most = lin->w.rows > lin->w.cols ? lin->w.rows : lin->w.cols;

    return thin_bytes(lin, T) + wide_bytes(lin, T) +
           ql_qgemm_work_bytes(T, most + lin->lora.r);
}

/* One matrix of a pair, as a term of a product has it. */
static ql_qtensor thin(const float *data, size_t rows, size_t cols)
{
    return (ql_qtensor){
        .rows = rows, .cols = cols, .storage = QL_STORAGE_F32, .data = data};
}

/* x, or x with dropout in the scratch. */
static const float *dropped(const float *x, size_t n, ql_drop drop,
                            const scratch *s)
{
    if (drop.p <= 0) {
        return x;
    }
    ql_vec_dropout(s->wide, x, n, drop.p, drop.key);
    return s->wide;
}

void ql_linear_xa(float *xa, const float *x, const ql_linear *lin, size_t T,
                  ql_drop drop, void *work)
{
    const scratch s = lay_out(lin, T, work);
    const size_t K = lin->w.cols;
    const size_t R = lin->lora.r;

    ql_profile_mark(drop.profile, QL_WORK_LORA);
    if (R > 0) {
        ql_gemm(T, R, K, lin->lora.scale,
                ql_mat_n(dropped(x, T * K, drop, &s), K),
                ql_mat_t(lin->lora.a, K), 0, xa, R);
    }
}

void ql_linear_fwd(float *y, bool add, float *xa, const float *x,
                   const ql_linear *lin, size_t T, ql_drop drop, void *work)
{
    const scratch s = lay_out(lin, T, work);
    const size_t N = lin->w.rows;
    const size_t R = lin->lora.r;
    const ql_qtensor b = thin(lin->lora.b, N, R);
    const ql_term terms[] = {{x, &lin->w}, {xa, &b}};

    ql_linear_xa(xa, x, lin, T, drop, work);
    ql_profile_mark(drop.profile, QL_WORK_PRODUCT);
    ql_qgemm_fwd(y, terms, R > 0 ? 2 : 1, T, add, s.product);
    ql_profile_mark(drop.profile, QL_WORK_LORA);
    if (lin->bias) {
        ql_vec_add_bias(y, lin->bias, T, N);
    }
}

/* dX. The pair's share is drop'(dxa A), which is a term of the product where
 * nothing is dropped. */
static void backward_dx(float *dx, bool add, const float *dy,
                        const ql_linear *lin, size_t T, ql_drop drop,
                        const scratch *s)
{
    const size_t K = lin->w.cols;
    const size_t R = lin->lora.r;
    const ql_qtensor a = thin(lin->lora.a, R, K);
    const ql_term terms[] = {{dy, &lin->w}, {s->dxa, &a}};
    const bool dropped = R > 0 && drop.p > 0;

    ql_qgemm_bwd(dx, terms, R > 0 && !dropped ? 2 : 1, T, add, s->product);
    if (dropped) {
        ql_qgemm_bwd(s->wide, &terms[1], 1, T, false, s->product);
        ql_vec_dropout(s->wide, s->wide, T * K, drop.p, drop.key);
        ql_vec_add(dx, s->wide, T * K);
    }
}

/* dxa, and the gradients of the pair. */
static void backward_pair(const float *dy, const float *x, const float *xa,
                          const ql_linear *lin, size_t T, ql_drop drop,
                          const scratch *s)
{
    const ql_lora *lora = &lin->lora;
    const size_t N = lin->w.rows;
    const size_t K = lin->w.cols;
    const size_t R = lora->r;

    ql_gemm(T, R, N, lora->scale, ql_mat_n(dy, N), ql_mat_n(lora->b, R), 0,
            s->dxa, R);
    if (lora->da) {
        ql_gemm(N, R, T, 1, ql_mat_t(dy, N), ql_mat_n(xa, R), 1, lora->db, R);
        ql_gemm(R, K, T, 1, ql_mat_t(s->dxa, R),
                ql_mat_n(dropped(x, T * K, drop, s), K), 1, lora->da, K);
    }
}

void ql_linear_bwd(float *dx, bool add, const float *dy, const float *x,
                   const float *xa, const ql_linear *lin, size_t T,
                   ql_drop drop, void *work)
{
    const scratch s = lay_out(lin, T, work);

    ql_profile_mark(drop.profile, QL_WORK_LORA);
    if (lin->lora.r > 0) {
        backward_pair(dy, x, xa, lin, T, drop, &s);
    }
    if (dx) {
        ql_profile_mark(drop.profile, QL_WORK_PRODUCT);
        backward_dx(dx, add, dy, lin, T, drop, &s);
        ql_profile_mark(drop.profile, QL_WORK_LORA);
    }
}
