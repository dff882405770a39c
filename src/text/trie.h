/* A set of byte strings, each with a number, that is walked byte by byte. */
#ifndef QL_TEXT_TRIE_H
#define QL_TEXT_TRIE_H

#include "qlora/status.h"

/* All zero: empty. Node 0 is the root. */
typedef struct ql_trie {
    int32_t *values; /* [cap] by node: the number, -1 where no string ends */
    size_t n;        /* nodes */
    size_t cap;
    uint64_t *edges; /* [n_slots] node, byte and node it leads to; 0: empty */
    size_t n_slots;  /* a power of two; open addressing */
} ql_trie;

void ql_trie_free(ql_trie *t);

/* Puts a string of n bytes in, with a number >= 0 which replaces that of an
 * equal one. Errors: QL_ENOMEM; QL_EFORMAT beyond 2^26 bytes in all. */
ql_status ql_trie_add(ql_trie *t, const char *s, size_t n, int32_t value);

/* The node that a byte leads to from a node, -1 if there is none. */
int32_t ql_trie_step(const ql_trie *t, int32_t node, char byte);

/* The number of the string that ends at a node, -1 if none does. */
static inline int32_t ql_trie_value(const ql_trie *t, int32_t node)
{
    return t->values[node];
}

#endif
