/* What both directions of attention share: how sequences are cut into items for
 * threads, and how a thread's scratch is. */
#ifndef QL_OP_ATTENTION_ITEM_H
#define QL_OP_ATTENTION_ITEM_H

#include "src/op/attention.h"
#include "src/op/tiles.h"

/* A pair of blocks: rows and columns of the score tile, tokens both. Rows are
 * whole tiles of every set, columns a whole panel of the widest. */
enum {
    QL_ATTENTION_ROWS = 120,
    QL_ATTENTION_COLUMNS = 64
};

/* One block of rows of one head of one sequence. */
typedef struct ql_item {
    size_t head;
    size_t first, end; /* the sequence */
    size_t at, n;      /* the block: its first token, its length */
} ql_item;

/* Blocks of rows of all sequences. */
size_t ql_attention_blocks(const ql_attention_shape *s);

/* Item number index of H * blocks: heads change fastest. */
ql_item ql_attention_item(const ql_attention_shape *s, size_t index);

/* Keys that a query sees, of n that start at key <= query. */
static inline size_t ql_attention_seen(size_t query, size_t key, size_t n)
{
    return query - key < n ? query - key + 1 : n;
}

/* Bytes of scratch for one thread, in either direction. */
size_t ql_attention_fwd_bytes(const ql_attention_shape *s);
size_t ql_attention_bwd_bytes(const ql_attention_shape *s);

#endif
