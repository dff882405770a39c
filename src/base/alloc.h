/* The one allocator. Every block carries a purpose, so that what memory is
 * spent on can be planned, measured and tested. Blocks are 64-byte aligned.
 *
 * Thread-safe. A failure stores the sentence and returns NULL; the caller
 * answers QL_ENOMEM. */
#ifndef QL_BASE_ALLOC_H
#define QL_BASE_ALLOC_H

#include "qlora/runtime.h" /* ql_free */

typedef enum ql_tag {
    QL_TAG_WEIGHTS, /* frozen weights that are not mapped from a file */
    QL_TAG_ADAPTER, /* LoRA matrices */
    QL_TAG_GRAD,    /* their gradients */
    QL_TAG_OPTIM,   /* optimizer state */
    QL_TAG_ACTIV,   /* activations kept for the backward */
    QL_TAG_WORK,    /* scratch */
    QL_TAG_DATA,    /* tokenized records */
    QL_TAG_TEXT,    /* vocabulary, names, strings */
    QL_TAG_MISC,
    QL_TAG_COUNT
} ql_tag;

/* n * size bytes, uninitialised; n * size is checked for overflow. A request
 * of 0 bytes gives a valid pointer. Owned: ql_free. */
void *ql_alloc(ql_tag tag, size_t n, size_t size);

/* As ql_alloc, all bytes zero. */
void *ql_calloc(ql_tag tag, size_t n, size_t size);

/* Resizes block p (NULL: a new one) to n * size bytes, keeping its content
 * and, for an old block, its tag. On failure p stays as it was. */
void *ql_realloc(ql_tag tag, void *p, size_t n, size_t size);

/* A copy of a string, or of n bytes of it and a NUL. Owned: ql_free. */
char *ql_strdup(ql_tag tag, const char *s);
char *ql_strndup(ql_tag tag, const char *s, size_t n);

/* Bytes now held under a tag, and the most ever held; QL_TAG_COUNT: under all
 * of them together. */
size_t ql_alloc_bytes(ql_tag tag);
size_t ql_alloc_peak(ql_tag tag);

/* Calls that allocated since start, over all tags. */
uint64_t ql_alloc_calls(void);

/* For tests: lets n more allocations succeed, then fails one and all that
 * follow, until called again. Negative: never fail (the start). */
void ql_alloc_fail_after(long n);

#endif
