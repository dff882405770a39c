/* The subspace is wider than what is asked for, so that the triplets asked for
 * converge as the gap to those far behind them. It is kept as rows: Q [L, M] on
 * the side of the outputs, Z [L, N] on that of the inputs. */
#include "src/op/svd.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "src/base/arena.h"
#include "src/base/rng.h"
#include "src/op/gemm.h"

enum {
    MORE = 10,       /* rows of the subspace beyond twice the triplets */
    MOST = 60,       /* iterations until they are taken as settled */
    SWEEPS = 30,     /* of rotations, at most */
    LANES = 8,       /* partial sums of a product */
    SMALL = 1 << 14, /* multiplications that are not worth handing out */
};

static const double SETTLED = 1e-6;  /* growth of what the subspace holds */
static const double NOTHING = 1e-12; /* share of a row's square that is left of
                                        one that depends on those before it */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Rows of the subspace. */
static size_t width(const ql_svd *p)
{
    return least(2 * p->r + MORE, least(p->M, p->N));
}

/* Where things lie in the work space. */
typedef struct room {
    float *q, *z; /* [L, M], [L, N] */
    float *turn;  /* [r, L] */
    double *gram; /* [L, L] */
    double *axes; /* [L, L] */
    size_t *rank; /* [L] rows of axes, the largest first */
} room;

static size_t lay_out(room *r, const ql_svd *p, char *work)
{
    const size_t L = width(p);
    const size_t sizes[] = {
        ql_arena_piece(L * p->M, sizeof(float)),
        ql_arena_piece(L * p->N, sizeof(float)),
        ql_arena_piece(p->r * L, sizeof(float)),
        ql_arena_piece(L * L, sizeof(double)),
        ql_arena_piece(L * L, sizeof(double)),
        ql_arena_piece(L, sizeof(size_t)),
    };
    void *at[6];
    size_t sum = 0;

    for (size_t i = 0; i < 6; i++) {
        at[i] = work ? work + sum : NULL;
        sum += sizes[i];
    }
    *r = (room){at[0], at[1], at[2], at[3], at[4], at[5]};
    return sum;
}

size_t ql_svd_work_bytes(const ql_svd *p)
{
    room r;

    return lay_out(&r, p, NULL);
}

static double dot(const float *x, const float *y, size_t n)
{
    double part[LANES] = {0};
    double sum = 0;
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            part[j] += (double)x[i + j] * (double)y[i + j];
        }
    }
    for (; i < n; i++) {
        sum += (double)x[i] * (double)y[i];
    }
    for (size_t j = 0; j < LANES; j++) {
        sum += part[j];
    }
    return sum;
}

/* y -= by x */
static void take_off(float *y, const float *x, double by, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)((double)y[i] - by * (double)x[i]);
    }
}

/* Takes row i, of length 1 or 0, off those behind it. */
static void take_row(float *q, size_t i, size_t L, size_t n)
{
    const float *row = q + i * n;

#pragma omp parallel for schedule(static) if ((L - i) * n > SMALL)
    for (size_t j = i + 1; j < L; j++) {
        take_off(q + j * n, row, dot(q + j * n, row, n), n);
    }
}

/* Gives a row length 1; one of which nothing is left becomes zero. before: its
 * square as it was. */
static void stretch(float *row, size_t n, double before)
{
    const double square = dot(row, row, n);
    const double by = square > NOTHING * before ? 1 / sqrt(square) : 0;

    for (size_t c = 0; c < n; c++) {
        row[c] = (float)(by * (double)row[c]);
    }
}

/* Makes rows q [L, n] orthonormal, those that depend on others zero: twice, for
 * the first time leaves what rounding makes of nearly equal rows. Scratch:
 * squares [L]. */
static void orthonormalize(float *q, size_t L, size_t n, double *squares)
{
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < L; i++) {
            squares[i] = dot(q + i * n, q + i * n, n);
        }
        for (size_t i = 0; i < L; i++) {
            stretch(q + i * n, n, squares[i]);
            take_row(q, i, L, n);
        }
    }
}

/* Z = Q W */
static void to_inputs(const room *r, const float *w, const ql_svd *p)
{
    ql_gemm(width(p), p->N, p->M, 1, ql_mat_n(r->q, p->M), ql_mat_n(w, p->N), 0,
            r->z, p->N);
}

/* Q = Z W^T, orthonormal. */
static void to_outputs(const room *r, const float *w, const ql_svd *p)
{
    const size_t L = width(p);

    ql_gemm(L, p->M, p->N, 1, ql_mat_n(r->z, p->N), ql_mat_t(w, p->N), 0, r->q,
            p->M);
    orthonormalize(r->q, L, p->M, r->gram);
}

static void iterate(const room *r, const float *w, const ql_svd *p)
{
    const size_t L = width(p);
    const size_t most = p->iterations > 0 ? p->iterations : MOST;
    double held = 0;

    for (size_t i = 0; i < L * p->N; i++) {
        r->z[i] = (float)(2 * ql_rng_unit(p->key, i) - 1);
    }
    to_outputs(r, w, p);
    for (size_t i = 0; i < most; i++) {
        double now;

        to_inputs(r, w, p);
        now = dot(r->z, r->z, L * p->N);
        if (p->iterations == 0 && now - held <= SETTLED * now) {
            break;
        }
        held = now;
        orthonormalize(r->z, L, p->N, r->gram);
        to_outputs(r, w, p);
    }
    to_inputs(r, w, p);
}

/* gram = Z Z^T, axes = I */
static void make_gram(const room *r, size_t L, size_t n)
{
#pragma omp parallel for schedule(dynamic) if (L * L * n > SMALL)
    for (size_t i = 0; i < L; i++) {
        for (size_t j = 0; j < L; j++) {
            r->gram[i * L + j] = dot(r->z + i * n, r->z + j * n, n);
            r->axes[i * L + j] = i == j;
        }
    }
}

/* Turns rows i and j of x [., L] by cosine c and sine s. */
static void turn_rows(double *x, size_t i, size_t j, size_t L, double c,
                      double s)
{
    for (size_t k = 0; k < L; k++) {
        const double a = x[i * L + k];
        const double b = x[j * L + k];

        x[i * L + k] = c * a - s * b;
        x[j * L + k] = s * a + c * b;
    }
}

/* The same of columns. */
static void turn_columns(double *x, size_t i, size_t j, size_t L, double c,
                         double s)
{
    for (size_t k = 0; k < L; k++) {
        const double a = x[k * L + i];
        const double b = x[k * L + j];

        x[k * L + i] = c * a - s * b;
        x[k * L + j] = s * a + c * b;
    }
}

/* One rotation of Jacobi's, which makes element [i, j] zero. Returns false if
 * it is so already. */
static bool rotate(const room *r, size_t i, size_t j, size_t L)
{
    double *g = r->gram;
    const double off = g[i * L + j];
    const double scale = sqrt(fabs(g[i * L + i] * g[j * L + j]));
    double theta;
    double t;
    double c;

    if (fabs(off) <= 1e-15 * scale || off == 0) {
        return false;
    }
    theta = (g[j * L + j] - g[i * L + i]) / (2 * off);
    t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
    c = 1 / sqrt(t * t + 1);
    turn_rows(g, i, j, L, c, t * c);
    turn_columns(g, i, j, L, c, t * c);
    turn_rows(r->axes, i, j, L, c, t * c);
    return true;
}

/* Makes gram diagonal; the rows of axes become its axes, which rank puts in
 * order. */
static void diagonalize(const room *r, size_t L)
{
    bool turned = true;

    for (int sweep = 0; turned && sweep < SWEEPS; sweep++) {
        turned = false;
        for (size_t i = 0; i < L; i++) {
            for (size_t j = i + 1; j < L; j++) {
                turned |= rotate(r, i, j, L);
            }
        }
    }
    for (size_t i = 0; i < L; i++) {
        size_t at = i;

        for (; at > 0 &&
               r->gram[r->rank[at - 1] * (L + 1)] < r->gram[i * (L + 1)];
             at--) {
            r->rank[at] = r->rank[at - 1];
        }
        r->rank[at] = i;
    }
}

/* out [r, n] = turn x, x [L, n] */
static void combine(float *out, const room *r, const float *x, const ql_svd *p,
                    size_t n)
{
    const size_t L = width(p);

    ql_gemm(p->r, n, L, 1, ql_mat_n(r->turn, L), ql_mat_n(x, n), 0, out, n);
}

void ql_svd_run(float *u, float *s, float *v, const float *w, const ql_svd *p,
                void *work)
{
    const size_t L = width(p);
    room r;

    lay_out(&r, p, work);
    iterate(&r, w, p);
    make_gram(&r, L, p->N);
    diagonalize(&r, L);
    memset(r.turn, 0, p->r * L * sizeof *r.turn);
    memset(s, 0, p->r * sizeof *s);
    for (size_t i = 0; i < least(p->r, L); i++) {
        const size_t axis = r.rank[i];

        s[i] = (float)sqrt(fmax(0, r.gram[axis * (L + 1)]));
        for (size_t k = 0; s[i] > 0 && k < L; k++) {
            r.turn[i * L + k] = (float)r.axes[axis * L + k];
        }
    }
    combine(u, &r, r.q, p, p->M);
    combine(v, &r, r.z, p, p->N);
    for (size_t i = 0; i < p->r; i++) {
        stretch(v + i * p->N, p->N, 0);
    }
}
