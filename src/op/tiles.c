#include "src/op/tiles.h"

#include <string.h>

enum {
    GROUP = 16, /* rows packed at a time: even, and as many as any lanes */
    PIECE = 64  /* values scaled at a time: even */
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

void *ql_pieces_take(ql_pieces *p, size_t cells)
{
    uint32_t *at = p->start ? p->start + p->used : NULL;

    p->used += round_up(cells, QL_TILES_LINE);
    return at;
}

size_t ql_tiles_rows(const ql_kernels *set, size_t n)
{
    return round_up(n, set->thin.mr);
}

/* Width of the panel for so many columns or more: thin where few are left. */
static size_t panel_width(const ql_kernels *set, size_t columns)
{
    return columns > set->tile.nr / 2 ? set->tile.nr : set->thin.nr;
}

size_t ql_tiles_columns(const ql_kernels *set, size_t n)
{
    size_t at = 0;

    while (at < n) {
        at += panel_width(set, n - at);
    }
    return at;
}

size_t ql_tiles_cells(const ql_kernels *set, size_t depth)
{
    return round_up(depth, set->pair) / set->pair;
}

size_t ql_tiles_lda(const ql_kernels *set, size_t depth)
{
    return round_up(ql_tiles_cells(set, depth), QL_TILES_LINE) + QL_TILES_LINE;
}

size_t ql_tiles_panel(const ql_kernels *set, size_t n, size_t depth)
{
    /* pack_nt writes four cells at a time. */
    return ql_tiles_columns(set, n) * round_up(ql_tiles_cells(set, depth), 4);
}

size_t ql_tiles_work(const ql_kernels *set, size_t width)
{
    return GROUP * ql_tiles_lda(set, width * set->pair);
}

/* One row as operands; the last cell is filled up. */
static void make_row(const ql_kernels *set, uint32_t *to, const ql_rows *r,
                     size_t i)
{
    const float *x = r->x + i * r->ld;
    float piece[PIECE];

    to[(r->width - 1) / set->pair] = 0;
    if (r->scale == 1) {
        set->narrow(to, x, r->width);
        return;
    }
    for (size_t k = 0; k < r->width; k += PIECE) {
        const size_t n = min_size(PIECE, r->width - k);

        for (size_t j = 0; j < n; j++) {
            piece[j] = r->scale * x[k + j];
        }
        set->narrow(to + k / set->pair, piece, n);
    }
}

void ql_tiles_a(const ql_kernels *set, uint32_t *a, size_t lda,
                const ql_rows *r)
{
    const size_t rows = ql_tiles_rows(set, r->n);

    for (size_t i = 0; i < r->n; i++) {
        make_row(set, a + i * lda, r, i);
    }
    memset(a + r->n * lda, 0, (rows - r->n) * lda * sizeof(*a));
}

void ql_tiles_nt(const ql_kernels *set, uint32_t *panel, const ql_rows *r,
                 void *work)
{
    const size_t cells = ql_tiles_cells(set, r->width);
    const size_t ld = ql_tiles_lda(set, r->width);
    uint32_t *rows = work;

    for (size_t at = 0; at < r->n;) {
        const size_t nr = panel_width(set, r->n - at);

        for (size_t j = 0; j < nr; j += set->lanes) {
            for (size_t i = 0; i < set->lanes; i++) {
                if (at + j + i < r->n) {
                    make_row(set, rows + i * ld, r, at + j + i);
                } else {
                    memset(rows + i * ld, 0, cells * sizeof(*rows));
                }
            }
            set->pack_nt(panel + at * cells + j, nr, rows, ld, cells);
        }
        at += nr;
    }
}

void ql_tiles_nn(const ql_kernels *set, uint32_t *panel, const ql_rows *r,
                 void *work)
{
    const size_t size = ql_operand_bytes(set);
    const size_t cells = ql_tiles_cells(set, r->n);
    const size_t ld = ql_tiles_columns(set, r->width); /* operands */
    char *rows = work;

    for (size_t d = 0; d < r->n; d += GROUP) {
        const size_t live = min_size(GROUP, r->n - d);

        for (size_t i = 0; i < live; i++) {
            char *row = rows + i * ld * size;

            make_row(set, (uint32_t *)(void *)row, r, d + i);
            memset(row + r->width * size, 0, (ld - r->width) * size);
        }
        for (size_t at = 0; at < r->width;) {
            const size_t nr = panel_width(set, r->width - at);

            set->pack_nn(panel + at * cells + d / set->pair * nr, nr,
                         rows + at * size, ld, live);
            at += nr;
        }
    }
}

void ql_tiles_product(const ql_kernels *set, float *c, size_t ldc, size_t rows,
                      size_t columns, const uint32_t *a, size_t lda,
                      const uint32_t *panel, size_t cells, bool add)
{
    for (size_t at = 0; at < columns;) {
        const size_t nr = panel_width(set, columns - at);
        const ql_tile *tile = nr == set->tile.nr ? &set->tile : &set->thin;

        for (size_t i = 0; i < rows; i += tile->mr) {
            tile->ukr(c + i * ldc + at, ldc, a + i * lda, lda,
                      panel + at * cells, cells, min_size(tile->mr, rows - i),
                      add);
        }
        at += nr;
    }
}
