/* How an optimizer's state is cut and where it lies: a row of pieces, of which
 * those in front are kept in memory, and the others, if any, in parts of a page
 * file. */
#ifndef QL_TRAIN_OPTIMIZER_LAYOUT_H
#define QL_TRAIN_OPTIMIZER_LAYOUT_H

#include "src/train/optimizer.h"

enum {
    QL_LAYOUT_HANDLE = 256 /* an optimizer's own bytes, or a few more */
};

typedef struct ql_layout {
    ql_adam_piece *pieces; /* [n_pieces]; none crosses the border of a tensor */
    size_t n_pieces;
    size_t count;   /* floats that the parameters take */
    uint64_t bytes; /* of state */
    bool eight;     /* some pieces are in 8 bits */

    size_t resident_pieces;
    uint64_t resident_bytes;

    size_t n_parts;  /* 0: all is resident */
    size_t *first;   /* [n_parts + 1] pieces of the parts */
    uint64_t *bound; /* [n_parts + 1] and where they lie in the file */
    size_t part;     /* bytes of the largest */
} ql_layout;

/* Errors: those of ql_optimizer_plan; QL_ENOMEM. */
ql_status ql_layout_init(ql_layout *l, const ql_optimizer_options *opt,
                         const size_t *size, size_t n);
void ql_layout_free(ql_layout *l);

#endif
