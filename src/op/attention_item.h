/* What both directions of attention share: how sequences are cut into items for
 * threads, and how a thread's scratch is. */
#ifndef QL_OP_ATTENTION_ITEM_H
#define QL_OP_ATTENTION_ITEM_H

#include "src/op/attention.h"
#include "src/op/tiles.h"

/* A pair of blocks: rows and columns of the score tile at most, tokens both.
 * Columns are whole panels of any set; for either, whole vectors. Some heads
 * that share keys take these together. */
enum {
    QL_ATTENTION_ROWS = 128,
    QL_ATTENTION_COLUMNS = 128, /* as many as ROWS */
    QL_ATTENTION_SHORT = 64,    /* whole vectors and panels, too */
    QL_ATTENTION_HEADS = 4
};

/* One block of rows of one sequence, for some heads that share keys. */
typedef struct ql_item {
    size_t head, heads; /* the first one, their number */
    ql_span sequence;
    size_t at, n; /* the block: its first token, its length */
} ql_item;

/* Tokens of a block of any kind at most: short texts need less scratch. */
static inline size_t ql_attention_most(const ql_attention_shape *s)
{
    return s->T > QL_ATTENTION_SHORT ? QL_ATTENTION_ROWS : QL_ATTENTION_SHORT;
}

/* Heads of an item at most. */
size_t ql_attention_heads(const ql_attention_shape *s);

/* Items of all sequences. */
size_t ql_attention_items(const ql_attention_shape *s);

/* Item number index: heads change fastest. */
ql_item ql_attention_item(const ql_attention_shape *s, size_t index);

/* Keys that a query sees, and queries that see a key, of its sequence. Queries
 * are counted from the first one, keys from the first of the past. */
static inline ql_span ql_attention_keys(const ql_attention_shape *s,
                                        ql_span sequence, size_t query)
{
    const size_t own = query + s->past;

    if (s->both_ways) {
        return sequence;
    }
    if (s->window > 0 && own - sequence.from >= s->window) {
        sequence.from = own + 1 - s->window;
    }
    sequence.to = own + 1;
    return sequence;
}

static inline ql_span ql_attention_queries(const ql_attention_shape *s,
                                           ql_span sequence, size_t key)
{
    if (s->both_ways) {
        return sequence;
    }
    sequence.to += s->past;
    if (s->window > 0 && sequence.to - key > s->window) {
        sequence.to = key + s->window;
    }
    sequence.from = key > s->past ? key - s->past : 0;
    sequence.to = sequence.to > s->past ? sequence.to - s->past : 0;
    return sequence;
}

/* The part of a within n tokens that start at token at, counted from there. */
static inline ql_span ql_span_within(ql_span a, size_t at, size_t n)
{
    const size_t from = a.from > at ? a.from - at : 0;
    const size_t to = a.to > at ? a.to - at : 0;

    return (ql_span){from < n ? from : n, to < n ? to : n};
}

/* Bytes of scratch for one thread, in either direction. */
size_t ql_attention_fwd_bytes(const ql_attention_shape *s);
size_t ql_attention_bwd_bytes(const ql_attention_shape *s);

#endif
