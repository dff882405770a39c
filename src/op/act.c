#include "src/op/act.h"

#include "src/op/loops.h"

enum {
    PIECE = 8192 /* elements handed to a thread at a time */
};

/* Rows without gaps are one long row. */
static ql_act_rows joined(ql_act_rows r)
{
    return r.ld == r.F ? (ql_act_rows){1, r.T * r.F, r.T * r.F} : r;
}

/* A row is handed out in pieces of at most PIECE elements. */
static size_t pieces_of(ql_act_rows r)
{
    return (r.F + PIECE - 1) / PIECE;
}

/* Piece i of all: its row, its first element and its length. */
typedef struct part {
    size_t row, at, n;
} part;

static part part_of(ql_act_rows r, size_t i)
{
    const size_t each = pieces_of(r);
    const size_t at = i % each * PIECE;

    return (part){i / each, at, r.F - at < PIECE ? r.F - at : PIECE};
}

void ql_act_fwd(ql_act act, float *y, const float *g, const float *u,
                ql_act_rows rows)
{
    ql_act_fwd_loop *loop = ql_loops_get()->act_fwd[act];
    const ql_act_rows r = joined(rows);
    const size_t pieces = r.T * pieces_of(r);

#pragma omp parallel for schedule(dynamic) if (r.T * r.F > PIECE)
    for (size_t i = 0; i < pieces; i++) {
        const part p = part_of(r, i);
        const size_t at = p.row * r.ld + p.at;

        loop(y + p.row * r.F + p.at, g + at, u ? u + at : NULL, p.n);
    }
}

void ql_act_bwd(ql_act act, float *dg, float *du, const float *dy,
                const float *g, const float *u, ql_act_rows rows)
{
    ql_act_bwd_loop *loop = ql_loops_get()->act_bwd[act];
    const ql_act_rows r = joined(rows);
    const size_t pieces = r.T * pieces_of(r);

#pragma omp parallel for schedule(dynamic) if (r.T * r.F > PIECE)
    for (size_t i = 0; i < pieces; i++) {
        const part p = part_of(r, i);
        const size_t at = p.row * r.ld + p.at;

        loop(dg + at, u ? du + at : NULL, dy + p.row * r.F + p.at, g + at,
             u ? u + at : NULL, p.n);
    }
}
