#include "src/op/tiles.h"

#include <string.h>

enum {
    GROUP = 16, /* rows packed at a time: even, and as many as any lanes */
    PIECE = 64, /* values scaled at a time: even */
    AHEAD = 4   /* rows */
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
    return n + set->thin.mr - 1;
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

/* Brings a row nearer: far apart, the processor would not do it by itself. */
static void prefetch(const ql_rows *r, size_t i)
{
    for (size_t k = 0; i < r->n && k < r->width; k += QL_TILES_LINE) {
        __builtin_prefetch(r->x + i * r->ld + k);
    }
}

void ql_tiles_a(const ql_kernels *set, uint32_t *a, size_t lda,
                const ql_rows *r)
{
    for (size_t i = 0; i < r->n; i++) {
        prefetch(r, i + AHEAD);
        make_row(set, a + i * lda, r, i);
    }
}

ql_left ql_tiles_left(const ql_kernels *set, uint32_t *a, size_t lda,
                      const ql_rows *r)
{
    if (set->pair == 1) {
        return (ql_left){(const uint32_t *)(const void *)r->x, r->ld};
    }
    ql_tiles_a(set, a, lda, r);
    return (ql_left){a, lda};
}

/* True if floats of r are operands as they are. */
static bool is_plain(const ql_kernels *set, const ql_rows *r)
{
    return set->pair == 1 && r->scale == 1;
}

void ql_tiles_nt(const ql_kernels *set, uint32_t *panel, const ql_rows *r,
                 void *work)
{
    const size_t cells = ql_tiles_cells(set, r->width);
    const size_t ld = ql_tiles_lda(set, r->width);
    /* Of four cells at a time all must be there. */
    const size_t whole = is_plain(set, r) && r->width % 4 == 0 ? r->n : 0;
    uint32_t *rows = work;

    for (size_t at = 0; at < r->n;) {
        const size_t nr = panel_width(set, r->n - at);

        for (size_t j = at; j < at + nr; j += set->lanes) {
            uint32_t *to = panel + at * cells + (j - at);

            if (j + set->lanes <= whole) {
                set->pack_nt(to, nr, r->x + j * r->ld, r->ld, cells);
                continue;
            }
            for (size_t i = 0; i < set->lanes; i++) {
                if (j + i < r->n) {
                    make_row(set, rows + i * ld, r, j + i);
                } else {
                    memset(rows + i * ld, 0, cells * sizeof(*rows));
                }
            }
            set->pack_nt(to, nr, rows, ld, cells);
        }
        at += nr;
    }
}

/* Panels of r where its floats are operands and fill them. */
static void pack_plain(const ql_kernels *set, uint32_t *panel, const ql_rows *r)
{
    for (size_t at = 0; at < r->width;) {
        const size_t nr = panel_width(set, r->width - at);

        set->pack_nn(panel + at * r->n, nr, r->x + at, r->ld, r->n);
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

    if (is_plain(set, r) && ld == r->width) {
        pack_plain(set, panel, r);
        return;
    }
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

/* Some rows of C in columns [at, at + nr). */
static void strip(const ql_kernels *set, const ql_tile *tile,
                  const ql_product *p, size_t at, size_t row, size_t rows)
{
    const uint32_t *panel = p->panel + at * p->cells;
    const uint32_t *a = p->left.a + row * p->left.ld;
    float *c = p->c + row * p->ldc + at;
    ql_span depth = {0, p->cells};

    if (p->wanted) {
        if (p->wanted[row].from >= at + tile->nr ||
            p->wanted[row + rows - 1].to <= at) {
            return;
        }
    }
    if (p->band) {
        /* Two cells of a panel may be in any order. */
        const size_t unit = 2 * set->pair;
        const size_t end = p->band[row + rows - 1].to + unit - 1;

        depth.from = p->band[row].from / unit * 2;
        depth.to = min_size(end / unit * 2, p->cells);
    }
    if (depth.from < depth.to) {
        tile->ukr(c, p->ldc, a + depth.from, p->left.ld,
                  panel + depth.from * tile->nr, depth.to - depth.from, rows,
                  p->add);
        return;
    }
    for (size_t i = 0; i < rows && !p->add; i++) {
        memset(c + i * p->ldc, 0, tile->nr * sizeof(*c));
    }
}

void ql_tiles_product(const ql_kernels *set, const ql_product *p)
{
    for (size_t at = 0; at < p->columns;) {
        const size_t nr = panel_width(set, p->columns - at);
        const ql_tile *tile = nr == set->tile.nr ? &set->tile : &set->thin;
        const size_t strips = (p->rows + tile->mr - 1) / tile->mr;
        const size_t each = p->rows / strips;
        const size_t more = p->rows % strips; /* strips have one row more */
        size_t row = 0;

        for (size_t i = 0; i < strips; i++) {
            const size_t rows = each + (i < more);

            strip(set, tile, p, at, row, rows);
            row += rows;
        }
        at += nr;
    }
}
