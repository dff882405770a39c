#include "tools/bench/bench_operands.h"

#include <string.h>

#include "quant/codec.h"
#include "quant/qgemm.h"
#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/rng.h"
#include "src/op/gemm.h"

enum {
    SPREAD = 128 * 1024 * 1024, /* bytes of all copies: beyond the caches */
    MOST = 64                   /* copies */
};

static size_t copies_of(size_t bytes)
{
    const size_t n = (SPREAD + bytes - 1) / bytes;

    return n < MOST ? n : MOST;
}

static ql_status fill_weights(bench_operands *o)
{
    const size_t n = o->N * o->K;

    for (size_t i = 0; i < o->packed_copies; i++) {
        QL_TRY(bench_weight_init(&o->packed[i], o->N, o->K, i));
    }
    ql_dequantize(o->dense, &o->packed[0].view, 0, n);
    for (size_t i = 1; i < o->dense_copies; i++) {
        memcpy(o->dense + i * n, o->dense, n * sizeof(float));
    }
    return QL_OK;
}

static void fill_inputs(bench_operands *o, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        o->x[i] = (float)ql_rng_unit(0, i) - 0.5F;
    }
    memset(o->y, 0, n * sizeof(float));
}

ql_status bench_operands_init(bench_operands *o, size_t N, size_t K, size_t T)
{
    const size_t wide = T * (N > K ? N : K);
    const ql_qtensor shape = {.rows = N, .cols = K};
    const ql_term term = {.w = &shape};
    ql_status st = QL_ENOMEM;

    *o = (bench_operands){.N = N, .K = K};
    o->packed_copies = copies_of(bench_operands_packed_bytes(o));
    o->dense_copies = copies_of(N * K * sizeof(float));
    o->packed = ql_calloc(QL_TAG_WEIGHTS, o->packed_copies, sizeof(*o->packed));
    o->dense = ql_alloc(QL_TAG_WEIGHTS, o->dense_copies * N * K, sizeof(float));
    o->x = ql_alloc(QL_TAG_ACTIV, wide, sizeof(float));
    o->y = ql_alloc(QL_TAG_ACTIV, wide, sizeof(float));
    o->work = ql_alloc(QL_TAG_WORK, ql_qgemm_work_bytes(&term, 1, T), 1);
    if (o->packed && o->dense && o->x && o->y && o->work) {
        fill_inputs(o, wide);
        st = fill_weights(o);
    }
    if (st != QL_OK) {
        bench_operands_free(o);
    }
    return st;
}

void bench_operands_free(bench_operands *o)
{
    for (size_t i = 0; o->packed && i < o->packed_copies; i++) {
        bench_weight_free(&o->packed[i]);
    }
    ql_free(o->packed);
    ql_free(o->dense);
    ql_free(o->x);
    ql_free(o->y);
    ql_free(o->work);
    *o = (bench_operands){0};
}

size_t bench_operands_packed_bytes(const bench_operands *o)
{
    const size_t n = o->N * o->K;

    return ql_codec_packed_bytes(n) + ql_codec_blocks(n, BENCH_BLOCK);
}

void bench_product_4bit(void *arg)
{
    bench_product *p = arg;
    const bench_operands *o = p->o;
    const size_t copy = p->calls++ % o->packed_copies;
    const ql_term term = {.in = o->x, .w = &o->packed[copy].view};

    (p->backward ? ql_qgemm_bwd : ql_qgemm_fwd)(o->y, &term, 1, p->M, false,
                                                o->work);
}

/* A dense product by one of the two functions of src/op/gemm.h. */
typedef void gemm_fn(size_t M, size_t N, size_t K, float alpha, ql_mat a,
                     ql_mat b, float beta, float *c, size_t ldc);

static void dense(bench_product *p, gemm_fn *gemm)
{
    const bench_operands *o = p->o;
    const size_t copy = p->calls++ % o->dense_copies;
    const float *w = o->dense + copy * o->N * o->K;

    if (p->backward) {
        gemm(p->M, o->K, o->N, 1, ql_mat_n(o->x, o->N), ql_mat_n(w, o->K), 0,
             o->y, o->K);
    } else {
        gemm(p->M, o->N, o->K, 1, ql_mat_n(o->x, o->K), ql_mat_t(w, o->K), 0,
             o->y, o->N);
    }
}

void bench_product_sgemm(void *arg)
{
    dense(arg, ql_gemm_tile);
}

void bench_product_tiled(void *arg)
{
    dense(arg, ql_gemm);
}
