/* The hot functions of each instruction set, and the choice among them.
 *
 * A product is C [M, N] += A [M, depth] B [depth, N]. Its operands come in
 * cells of four bytes: one float or, in sets that compute in bf16, two bf16
 * values that follow each other along the depth; where the depth is odd, the
 * last cell ends with a zero. A keeps the order of elements. B lies in panels
 * of some columns, cell by cell along the depth:
 *
 *   panel[p * width + j] = cell p of column j < width
 *
 * A set that packs whole panels (lanes is nr) may order the 2 width cells of
 * rows p and p + 1, p even, as it likes.
 */
#ifndef QL_QUANT_KERNELS_H
#define QL_QUANT_KERNELS_H

#include <stdbool.h>

#include "quant/qtensor.h"

/* Values of elements [start, start + n) of w into out; see ql_dequantize. */
typedef void ql_decode_fn(float *out, const ql_qtensor *w, size_t start,
                          size_t n);

/* The same as operands: floats, or rounded to bf16. */
typedef void ql_fetch_fn(void *out, const ql_qtensor *w, size_t start,
                         size_t n);

/* n floats as operands. */
typedef void ql_narrow_fn(void *out, const float *x, size_t n);

/* Some columns of a panel, as many as the set packs at a time, each stored as
 * a row of operands; rows are ld cells apart. Rows and panel have room for
 * cells rounded up to four; what lies beyond may be anything. */
typedef void ql_pack_nt_fn(uint32_t *panel, size_t width, const void *rows,
                           size_t ld, size_t cells);

/* A panel from depth rows of B, of width operands each; rows are ld operands
 * apart. */
typedef void ql_pack_nn_fn(uint32_t *panel, size_t width, const void *rows,
                           size_t ld, size_t depth);

enum {
    QL_SLAB_ROWS = 16
};

/* Columns of some rows of W, which are rows of B. */
typedef struct ql_slab {
    const ql_qtensor *w;
    size_t start; /* element of the first row; others are cols apart */
    size_t rows;  /* QL_SLAB_ROWS, or the last ones of a panel */
    size_t n;     /* columns */
    size_t width; /* of a panel */
    size_t step;  /* cells from panel to panel */
    void *room;   /* for rows of n operands, rounded up to width */
} ql_slab;

/* Rows of panels, which are filled up with zero columns. */
typedef void ql_fill_nn_fn(uint32_t *panel, const ql_slab *s);

/* C [rows, nr] = A [rows, cells] B, or C += A B, for one panel of B that is nr
 * wide; rows of A are lda cells apart, and there are mr of them to be read.
 * Each sum runs along the depth, from zero, and is then stored or added to c.
 * 1 <= rows <= mr; cells >= 1. */
typedef void ql_ukr_fn(float *c, size_t ldc, const void *a, size_t lda,
                       const uint32_t *panel, size_t cells, size_t rows,
                       bool add);

/* A micro-kernel and its tile of C. */
typedef struct ql_tile {
    size_t mr, nr;
    ql_ukr_fn *ukr;
} ql_tile;

/* What of a product stays in the caches, found by measurement: a chunk of B and
 * a block of A. Nothing but speed and the order of sums depends on it. */
typedef struct ql_cached {
    size_t depth;   /* cells of a chunk */
    size_t columns; /* of a chunk of B, at most; a multiple of nr */
    size_t tokens;  /* of a block of A, about */
} ql_cached;

/* Dot product of n operands, in an order that depends on the set and n only. */
typedef float ql_dot_fn(const void *a, const void *b, size_t n);

enum {
    QL_DOT4_ROWS = 4,
    QL_DOT4_TOKENS = 4,
    QL_DOT4_BLOCK = 64,
    QL_DOT4_DEPTH = 8192
};

/* Some rows of W by few tokens. Scales and codes are no NaN. */
typedef struct ql_dots {
    const ql_qtensor *w; /* 4-bit, blocks of 64, double quantized or not */
    size_t start;        /* of the first row, counted from the start of the
                            storage, a multiple of 64 as cols of w are */
    size_t rows;         /* 1 to QL_DOT4_ROWS */
    size_t n;            /* a multiple of 64, QL_DOT4_DEPTH at most */
    const uint32_t *x;   /* arranged n at a time */
    size_t ldx;          /* cells between tokens */
    size_t tokens;       /* 1 to QL_DOT4_TOKENS */
} ql_dots;

/* sum[t][r] += w[r][0] x[t][0] + ... + w[r][n - 1] x[t][n - 1] for all rows and
 * tokens; beyond them, sums may become anything. Sets in bf16 round codes and
 * x, and scale the sum of a block in f32. */
typedef void ql_dot4_fn(float sum[][QL_DOT4_ROWS], const ql_dots *d);

/* n floats as operands in the order that dot4 takes them; n is a multiple of
 * 64, and out has room for a multiple of 128. */
typedef void ql_arrange_fn(void *out, const float *x, size_t n);

typedef struct ql_kernels {
    const char *name;  /* "avx2": as QL_ISA and --isa spell it */
    uint32_t cpu_need; /* capability bits of cpu.h, all required */
    size_t pair;       /* operands in a cell: 1, or 2 in bf16 */
    size_t lanes;      /* columns that pack_nt packs: divides both nr */
    ql_tile tile;      /* for products with W */
    ql_cached cache;   /* for these */
    ql_tile thin;      /* for those with few columns; mr a multiple of tile's */
    ql_decode_fn *decode;
    ql_fetch_fn *fetch;
    ql_narrow_fn *narrow;
    ql_pack_nt_fn *pack_nt;
    ql_pack_nn_fn *pack_nn;
    ql_fill_nn_fn *fill_nn;
    ql_pack_nt_fn *turn; /* pack_nt in plain order: a matrix turned round */
    ql_dot_fn *dot;
    ql_dot_fn *dot_bf16; /* a is stored in bf16, whatever operands are */
    size_t few;          /* tokens up to which products go by dot products */
    ql_arrange_fn *arrange;
    ql_dot4_fn *dot4;
} ql_kernels;

/* Brings n bytes nearer. */
static inline void ql_prefetch(const void *data, size_t n)
{
    enum {
        LINE_BYTES = 64
    };

    for (size_t i = 0; i < n; i += LINE_BYTES) {
        __builtin_prefetch((const char *)data + i);
    }
}

/* Bytes of an operand. */
static inline size_t ql_operand_bytes(const ql_kernels *k)
{
    return sizeof(uint32_t) / k->pair;
}

/* All sets of this build, weakest first; n receives their number. */
const ql_kernels *const *ql_kernels_list(size_t *n);

/* True if this machine can run the set. */
bool ql_kernels_runnable(const ql_kernels *k);

/* The best set that this machine runs, with so many operands in a cell. */
const ql_kernels *ql_kernels_best(size_t pair);

/* The set in use. Before any choice: the best in f32. */
const ql_kernels *ql_kernels_get(void);

/* Chooses a set by name. False, and no change, if the name is unknown or the
 * machine cannot run it. Not to be called while products run. */
bool ql_kernels_choose(const char *name);

#endif
