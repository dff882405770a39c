/* Products of small matrices by one thread, on the micro-kernels of the set in
 * use: C = A B, where A is rows of operands and B is panels of columns; see
 * quant/kernels.h. Panels are as wide as the set's tile; the last ones, where
 * few columns are left, as its thin tile. Nothing here allocates or fails. */
#ifndef QL_OP_TILES_H
#define QL_OP_TILES_H

#include "quant/kernels.h"

enum {
    QL_TILES_LINE = 16 /* cells in a cache line */
};

/* Pieces of scratch, taken one after the other; without a start they are only
 * counted. */
typedef struct ql_pieces {
    uint32_t *start;
    size_t used; /* cells */
} ql_pieces;

void *ql_pieces_take(ql_pieces *p, size_t cells);

/* From, and on to but not including to; none if they are not in order. */
typedef struct ql_span {
    size_t from, to;
} ql_span;

/* A matrix of floats: n rows of width values, ld apart, taken times scale. */
typedef struct ql_rows {
    const float *x;
    size_t ld;
    size_t n, width;
    float scale;
} ql_rows;

/* Rows of A that are read for n rows of C, from any row on; columns of panels
 * for n columns, in whole tiles. */
size_t ql_tiles_rows(const ql_kernels *set, size_t n);
size_t ql_tiles_columns(const ql_kernels *set, size_t n);

/* Cells of a depth; cells between rows of A of that depth, off powers of
 * two. */
size_t ql_tiles_cells(const ql_kernels *set, size_t depth);
size_t ql_tiles_lda(const ql_kernels *set, size_t depth);

/* Cells that panels of n columns need. */
size_t ql_tiles_panel(const ql_kernels *set, size_t n, size_t depth);

/* Cells of scratch for the two functions that fill panels, of rows up to so
 * wide. */
size_t ql_tiles_work(const ql_kernels *set, size_t width);

/* Rows of operands, ld cells apart. */
typedef struct ql_left {
    const uint32_t *a;
    size_t ld;
} ql_left;

/* a[i] = r[i] as operands, lda cells apart. */
void ql_tiles_a(const ql_kernels *set, uint32_t *a, size_t lda,
                const ql_rows *r);

/* The same, or the rows of r themselves where they are operands; there must be
 * ql_tiles_rows of them then, and their scale is 1. */
ql_left ql_tiles_left(const ql_kernels *set, uint32_t *a, size_t lda,
                      const ql_rows *r);

/* Panels of r^T: rows of r are columns of B, its width is the depth. Columns
 * beyond the last are zero. */
void ql_tiles_nt(const ql_kernels *set, uint32_t *panel, const ql_rows *r,
                 void *work);

/* Panels of r: its rows run along the depth. */
void ql_tiles_nn(const ql_kernels *set, uint32_t *panel, const ql_rows *r,
                 void *work);

/* C [rows, columns] = A B, or C += A B if add.
 *
 *   c       ldc floats between rows, which have ql_tiles_columns values
 *   left    A: ql_tiles_rows of it may be read
 *   panel   columns of B, cells deep; rows, columns and cells >= 1
 *   wanted  [rows] columns of C that are wanted of each row: tiles without any
 *           are left as they are. NULL: all
 *   band    [rows] where each row of A is not zero, along the depth in values;
 *           other parts of a strip of rows are not read. NULL: everywhere
 *
 * Neither end of a span is before that of the row above. */
typedef struct ql_product {
    float *c;
    size_t ldc;
    size_t rows, columns;
    ql_left left;
    const uint32_t *panel;
    size_t cells;
    const ql_span *wanted, *band;
    bool add;
} ql_product;

void ql_tiles_product(const ql_kernels *set, const ql_product *p);

#endif
