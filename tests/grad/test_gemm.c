/* Dense products against three loops in double: every transposition, the
 * shapes of adapters, empty sides, strided matrices. */
#include "src/op/gemm.h"

#include "tests/grad/grad.h"

/* A product and its arguments. */
typedef struct product {
    size_t M, N, K;
    bool trans_a, trans_b;
    float alpha, beta;
    size_t pad; /* added to each leading dimension */
} product;

typedef struct matrices {
    float *a, *b, *c;
    size_t lda, ldb, ldc;
    size_t na, nb, nc; /* elements */
} matrices;

static matrices matrices_open(const product *p)
{
    matrices m = {.lda = (p->trans_a ? p->M : p->K) + p->pad,
                  .ldb = (p->trans_b ? p->K : p->N) + p->pad,
                  .ldc = p->N + p->pad};

    m.lda += m.lda == 0;
    m.ldb += m.ldb == 0;
    m.ldc += m.ldc == 0;
    m.na = m.lda * (p->trans_a ? p->K : p->M);
    m.nb = m.ldb * (p->trans_b ? p->N : p->K);
    m.nc = m.ldc * p->M;
    m.a = room_fill(m.na, 1);
    m.b = room_fill(m.nb, 2);
    m.c = p->beta == 0 ? room_open(m.nc) : room_fill(m.nc, 3);
    return m;
}

static void matrices_close(matrices *m)
{
    room_close(m->a, m->na);
    room_close(m->b, m->nb);
    room_close(m->c, m->nc);
}

typedef void gemm(size_t M, size_t N, size_t K, float alpha, ql_mat a, ql_mat b,
                  float beta, float *c, size_t ldc);

static void multiply(gemm *f, const product *p, matrices *m)
{
    const ql_mat a = {m->a, m->lda, p->trans_a};
    const ql_mat b = {m->b, m->ldb, p->trans_b};

    f(p->M, p->N, p->K, p->alpha, a, b, p->beta, m->c, m->ldc);
}

/* Element [i, j] of the product; size receives sum |a| |b|. */
static double element(const product *p, const matrices *m, size_t i, size_t j,
                      double *size)
{
    double sum = 0;

    *size = 0;
    for (size_t k = 0; k < p->K; k++) {
        const double a =
            (double)(p->trans_a ? m->a[k * m->lda + i] : m->a[i * m->lda + k]);
        const double b =
            (double)(p->trans_b ? m->b[j * m->ldb + k] : m->b[k * m->ldb + j]);

        sum += a * b;
        *size += fabs(a * b);
    }
    return (double)p->alpha * sum;
}

static void check_product(gemm *f, const product *p)
{
    matrices m = matrices_open(p);
    float *before = room_open(m.nc);
    const size_t step = p->M * p->N > 5000 ? 37 : 1;

    memcpy(before, m.c, m.nc * sizeof *before);
    multiply(f, p, &m);
    for (size_t e = 0; e < p->M * p->N; e += step) {
        const size_t at = e / p->N * m.ldc + e % p->N;
        double size;
        double want = element(p, &m, e / p->N, e % p->N, &size);

        want += p->beta == 0 ? 0 : (double)(p->beta * before[at]);
        size = (size + 2) * (double)(p->K + 8) * 0x1p-24;
        if (!(fabs((double)m.c[at] - want) <= size)) {
            fail_msg("[%zu, %zu, %zu] %d%d at %zu: %.9g, not %.9g", p->M, p->N,
                     p->K, p->trans_a, p->trans_b, e, (double)m.c[at], want);
        }
    }
    for (size_t i = 0; i < m.nc && p->pad; i++) {
        assert_true(i % m.ldc < p->N ||
                    memcmp(&m.c[i], &before[i], sizeof *before) == 0);
    }
    room_close(before, m.nc);
    matrices_close(&m);
}

static const size_t shapes[][3] = {
    {1, 1, 1},       {3, 5, 7},      {65, 130, 64},   {130, 65, 1},
    {1, 4096, 8},    {512, 1, 33},   {512, 1024, 16}, {16, 1024, 512},
    {512, 16, 1024}, {257, 300, 65}, {100, 0, 5},     {0, 100, 5},
    {70, 33, 0},
};

static void gemm__agrees_with_double(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (int how = 0; how < 12; how++) {
            const float betas[] = {0, 1, 0.5F};
            const product p = {.M = shapes[i][0],
                               .N = shapes[i][1],
                               .K = shapes[i][2],
                               .trans_a = how & 1,
                               .trans_b = how >> 1 & 1,
                               .alpha = how & 1 ? 1 : 0.75F,
                               .beta = betas[how / 4],
                               .pad = how % 3 == 0 ? 3 : 0};

            check_product(ql_gemm, &p);
            check_product(ql_gemm_tile, &p);
        }
    }
}

static void gemm__does_not_depend_on_threads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const product p = {.M = shapes[i][0],
                           .N = shapes[i][1],
                           .K = shapes[i][2],
                           .trans_b = true,
                           .alpha = 1};
        matrices first = matrices_open(&p);

        omp_set_num_threads(1);
        multiply(ql_gemm, &p, &first);
        for (int threads = 2; threads <= 3; threads++) {
            matrices m = matrices_open(&p);

            omp_set_num_threads(threads);
            multiply(ql_gemm, &p, &m);
            check_same(m.c, first.c, m.nc, "c");
            matrices_close(&m);
        }
        matrices_close(&first);
    }
}

static void gemm__names_its_library(void **state)
{
    (void)state;
    assert_non_null(strstr(ql_gemm_library(), "BLAS"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm__agrees_with_double),
        cmocka_unit_test(gemm__does_not_depend_on_threads),
        cmocka_unit_test(gemm__names_its_library),
    };

    ql_gemm_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
