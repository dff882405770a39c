#include "src/text/trie.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/rng.h"

enum {
    FIRST_NODES = 256,
    MAX_NODES = 1 << 26 /* an edge has 28 bits for a node */
};

/* An edge is from << 36 | byte << 28 | to. No edge leads to the root, so none
 * is 0. */
static uint64_t key_of(int32_t from, char byte)
{
    return (uint64_t)from << 36 | (uint64_t)(uint8_t)byte << 28;
}

static size_t slot_of(const ql_trie *t, uint64_t key)
{
    const size_t mask = t->n_slots - 1;
    size_t i = (size_t)ql_rng_mix(key >> 28) & mask;

    while (t->edges[i] && t->edges[i] >> 28 != key >> 28) {
        i = (i + 1) & mask;
    }
    return i;
}

void ql_trie_free(ql_trie *t)
{
    ql_free(t->values);
    ql_free(t->edges);
    *t = (ql_trie){0};
}

static ql_status grow_edges(ql_trie *t, size_t n)
{
    const ql_trie old = *t;
    uint64_t *edges = ql_calloc(QL_TAG_TEXT, n, sizeof(*edges));

    if (!edges) {
        return QL_ENOMEM;
    }
    t->edges = edges;
    t->n_slots = n;
    for (size_t i = 0; i < old.n_slots; i++) {
        if (old.edges[i]) {
            edges[slot_of(t, old.edges[i])] = old.edges[i];
        }
    }
    ql_free(old.edges);
    return QL_OK;
}

/* Room for one more node, and half of the slots empty. */
static ql_status reserve(ql_trie *t)
{
    const size_t cap = t->cap ? 2 * t->cap : FIRST_NODES;
    int32_t *values;

    if (t->n < t->cap) {
        return QL_OK;
    }
    if (cap > MAX_NODES) {
        QL_FAIL(QL_EFORMAT, "the tokens hold too many bytes");
    }
    QL_TRY(grow_edges(t, 2 * cap));
    values = ql_realloc(QL_TAG_TEXT, t->values, cap, sizeof(*values));
    if (!values) {
        return QL_ENOMEM;
    }
    t->values = values;
    t->cap = cap;
    return QL_OK;
}

static ql_status add_node(ql_trie *t, int32_t *node)
{
    QL_TRY(reserve(t));
    t->values[t->n] = -1;
    *node = (int32_t)t->n++;
    return QL_OK;
}

ql_status ql_trie_add(ql_trie *t, const char *s, size_t n, int32_t value)
{
    int32_t node = 0;

    if (t->n == 0) {
        QL_TRY(add_node(t, &node));
    }
    for (size_t i = 0; i < n; i++) {
        const int32_t from = node;

        node = ql_trie_step(t, from, s[i]);
        if (node < 0) {
            const uint64_t key = key_of(from, s[i]);

            QL_TRY(add_node(t, &node));
            t->edges[slot_of(t, key)] = key | (uint64_t)node;
        }
    }
    t->values[node] = value;
    return QL_OK;
}

int32_t ql_trie_step(const ql_trie *t, int32_t node, char byte)
{
    uint64_t edge;

    if (t->n == 0) {
        return -1;
    }
    edge = t->edges[slot_of(t, key_of(node, byte))];
    return edge ? (int32_t)(edge & 0xfffffff) : -1;
}
