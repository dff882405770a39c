/* Chunks grow with what was taken so far: a short template stays small, and a
 * long one makes few calls. */
#include "src/text/jinja_mem.h"

#include <stddef.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/base/fail.h"

enum {
    LEAST = 1 << 12,
    MOST = 1 << 20,
    ALIGN = _Alignof(max_align_t)
};

struct ql_jinja_chunk {
    ql_jinja_chunk *before;
    size_t size;
    _Alignas(max_align_t) char data[];
};

void ql_jinja_mem_init(ql_jinja_mem *m, size_t max)
{
    *m = (ql_jinja_mem){.max = max};
}

void ql_jinja_mem_free(ql_jinja_mem *m)
{
    while (m->last) {
        ql_jinja_chunk *before = m->last->before;

        ql_free(m->last);
        m->last = before;
    }
    ql_jinja_mem_init(m, m->max);
}

static bool add_chunk(ql_jinja_mem *m, size_t need)
{
    size_t size = m->total < LEAST ? LEAST : m->total < MOST ? m->total : MOST;
    ql_jinja_chunk *c;

    size = size < need ? need : size;
    if (size > m->max - m->total) {
        size = need;
    }
    if (size > m->max - m->total) {
        m->full = true;
        ql_fail(QL_ENOMEM,
                "the template wants more than the limit of %zu bytes of memory",
                m->max);
        return false;
    }
    c = ql_alloc(QL_TAG_TEXT, sizeof(*c) + size, 1);
    if (!c) {
        return false;
    }
    c->before = m->last;
    c->size = size;
    m->last = c;
    m->used = 0;
    m->total += size;
    return true;
}

void *ql_jinja_take(ql_jinja_mem *m, size_t n, size_t size)
{
    size_t bytes;
    char *p;

    if (ql_mul_overflows(n, size, &bytes) || bytes > SIZE_MAX - ALIGN) {
        bytes = SIZE_MAX - ALIGN; /* beyond any ceiling */
    }
    bytes += ALIGN - 1;
    bytes -= bytes % ALIGN;
    if (!m->last || bytes > m->last->size - m->used) {
        if (!add_chunk(m, bytes)) {
            return NULL;
        }
    }
    p = m->last->data + m->used;
    m->used += bytes;
    memset(p, 0, bytes);
    return p;
}

char *ql_jinja_copy(ql_jinja_mem *m, const char *s, size_t n)
{
    char *p = ql_jinja_take(m, n + 1, 1);

    if (p && n > 0) {
        memcpy(p, s, n);
    }
    return p;
}
