/* How C is cut: tiles are halved along their longer side until there are
 * enough of them to keep all cores busy to the end, or until a tile is so
 * little work that handing it out would cost more than it gains. */
#include "src/op/gemm.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>

#include "src/op/parallel.h"

enum {
    GRAIN = 16,        /* tile sides are multiples of it */
    SHORTEST = 64,     /* a side of this length is not halved */
    ENOUGH = 16,       /* tiles */
    LARGEST = 1 << 18, /* elements of a tile of C: 1 MiB */
    LEAST = 1 << 22,   /* multiplications worth handing out */
    PACKED = 768,      /* rows that OpenBLAS packs at a time, or so */
    DEPTH = 384        /* and how much of each */
};

static size_t count(size_t n, size_t piece)
{
    return (n + piece - 1) / piece;
}

static size_t round_up(size_t n)
{
    return count(n, GRAIN) * GRAIN;
}

static void choose_tile(size_t *rows, size_t *cols, size_t M, size_t N,
                        size_t K)
{
    size_t m = round_up(M);
    size_t n = round_up(N);

    while (m > SHORTEST || n > SHORTEST) {
        const bool large = m * n > LARGEST;
        const bool few = count(M, m) * count(N, n) < ENOUGH;
        const bool work = m * n * K > 2 * (size_t)LEAST;

        if (!large && !(few && work)) {
            break;
        }
        if (m > n) {
            m = round_up(m / 2);
        } else {
            n = round_up(n / 2);
        }
    }
    *rows = m;
    *cols = n;
}

static void scale_rows(float *c, size_t ldc, size_t M, size_t N, float beta)
{
    for (size_t i = 0; i < M; i++) {
        for (size_t j = 0; j < N; j++) {
            c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
        }
    }
}

static CBLAS_TRANSPOSE trans(ql_mat m)
{
    return m.transposed ? CblasTrans : CblasNoTrans;
}

void ql_gemm_tile(size_t M, size_t N, size_t K, float alpha, ql_mat a, ql_mat b,
                  float beta, float *c, size_t ldc)
{
    assert(M <= INT_MAX && N <= INT_MAX && K <= INT_MAX);
    assert(a.ld <= INT_MAX && b.ld <= INT_MAX && ldc <= INT_MAX);
    if (M == 0 || N == 0) {
        return;
    }
    if (K == 0) {
        scale_rows(c, ldc, M, N, beta);
        return;
    }
    cblas_sgemm(CblasRowMajor, trans(a), trans(b), (blasint)M, (blasint)N,
                (blasint)K, alpha, a.data, (blasint)a.ld, b.data, (blasint)b.ld,
                beta, c, (blasint)ldc);
}

/* A from row i on, B from column j on. */
static ql_mat from_row(ql_mat a, size_t i)
{
    a.data += a.transposed ? i : i * a.ld;
    return a;
}

static ql_mat from_col(ql_mat b, size_t j)
{
    b.data += b.transposed ? j * b.ld : j;
    return b;
}

void ql_gemm(size_t M, size_t N, size_t K, float alpha, ql_mat a, ql_mat b,
             float beta, float *c, size_t ldc)
{
    size_t rows;
    size_t cols;

    if (M == 0 || N == 0) {
        return;
    }
    choose_tile(&rows, &cols, M, N, K);

    const size_t across = count(N, cols);
    const size_t tiles = count(M, rows) * across;

#pragma omp parallel for schedule(dynamic) if (tiles > 1)
    for (size_t t = 0; t < tiles; t++) {
        const size_t i = t / across * rows;
        const size_t j = t % across * cols;
        const size_t m = M - i < rows ? M - i : rows;
        const size_t n = N - j < cols ? N - j : cols;

        ql_gemm_tile(m, n, K, alpha, from_row(a, i), from_col(b, j), beta,
                     c + i * ldc + j, ldc);
    }
}

size_t ql_gemm_memory(size_t n)
{
    const size_t side = n < PACKED ? n : PACKED;
    const size_t depth = n < DEPTH ? n : DEPTH;

    return ql_max_threads() * 2 * side * depth * sizeof(float);
}

void ql_gemm_setup(void)
{
    openblas_set_num_threads(1);
}

const char *ql_gemm_library(void)
{
    return openblas_get_config();
}
