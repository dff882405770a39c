#include "src/base/arena.h"

#include <assert.h>

size_t ql_arena_piece(size_t n, size_t size)
{
    return (n * size + 63) / 64 * 64;
}

ql_status ql_arena_init(ql_arena *a, ql_tag tag, size_t bytes)
{
    *a = (ql_arena){.data = ql_alloc(tag, bytes, 1), .size = bytes};
    return a->data ? QL_OK : QL_ENOMEM;
}

void ql_arena_free(ql_arena *a)
{
    ql_free(a->data);
    *a = (ql_arena){0};
}

void *ql_arena_take(ql_arena *a, size_t n, size_t size)
{
    const size_t bytes = ql_arena_piece(n, size);
    void *piece = a->data + a->used;

    assert(bytes <= a->size - a->used);
    a->used += bytes;
    return piece;
}

size_t ql_arena_mark(const ql_arena *a)
{
    return a->used;
}

void ql_arena_reset(ql_arena *a, size_t mark)
{
    assert(mark <= a->used);
    a->used = mark;
}
