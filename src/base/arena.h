/* A bump allocator over one block whose size is known beforehand: activations
 * and scratch of a training step. Taking a piece cannot fail: who sizes the
 * arena adds up the same pieces with ql_arena_piece. */
#ifndef QL_BASE_ARENA_H
#define QL_BASE_ARENA_H

#include "qlora/status.h"
#include "src/base/alloc.h"

typedef struct ql_arena {
    char *data;
    size_t used;
    size_t size;
} ql_arena;

/* Bytes that a piece of n * size bytes takes: rounded up to 64. */
size_t ql_arena_piece(size_t n, size_t size);

/* The larger of two sizes: what work serves that is done one after the other
 * in the same bytes. */
static inline size_t ql_larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Errors: QL_ENOMEM. */
ql_status ql_arena_init(ql_arena *a, ql_tag tag, size_t bytes);
void ql_arena_free(ql_arena *a);

/* The next piece, 64-byte aligned, uninitialised. Borrowed. Asking for more
 * than the arena holds is a fault of the program (assert). */
void *ql_arena_take(ql_arena *a, size_t n, size_t size);

/* Marks and gives back what was taken since a mark (a.used). */
size_t ql_arena_mark(const ql_arena *a);
void ql_arena_reset(ql_arena *a, size_t mark);

#endif
