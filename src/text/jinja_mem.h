/* Memory of a template, or of one rendering: taken piece by piece, given back
 * all at once. It has a ceiling, so that no template can use more. */
#ifndef QL_TEXT_JINJA_MEM_H
#define QL_TEXT_JINJA_MEM_H

#include "src/base/alloc.h"

typedef struct ql_jinja_chunk ql_jinja_chunk;

typedef struct ql_jinja_mem {
    ql_jinja_chunk *last; /* each knows the one before it */
    size_t used;          /* bytes of the last one that are taken */
    size_t total;         /* bytes of all */
    size_t max;           /* ceiling of total */
    bool full;            /* it was met */
} ql_jinja_mem;

void ql_jinja_mem_init(ql_jinja_mem *m, size_t max);
void ql_jinja_mem_free(ql_jinja_mem *m);

/* n * size bytes, all zero, aligned for any type. NULL, with the sentence
 * stored, when there is no memory or the ceiling is met; the caller answers
 * QL_ENOMEM. Borrowed from m. */
void *ql_jinja_take(ql_jinja_mem *m, size_t n, size_t size);

/* A copy of n bytes, followed by a NUL that does not count. As above. */
char *ql_jinja_copy(ql_jinja_mem *m, const char *s, size_t n);

#endif
