#include "src/base/scratch.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/pagefile.h"

typedef struct piece {
    void *at;
    size_t bytes;
} piece;

struct ql_scratch {
    int fd;
    uint64_t end; /* of the file, whole pages */
    piece *pieces;
    size_t n;
};

ql_status ql_scratch_open(ql_scratch **out, const char *dir)
{
    ql_scratch *s = ql_calloc(QL_TAG_MISC, 1, sizeof(*s));
    ql_status st = QL_ENOMEM;

    *out = s;
    if (s) {
        s->fd = -1;
        st = ql_pagefile_open(&s->fd, dir, 0);
    }
    if (st != QL_OK) {
        ql_scratch_close(out);
    }
    return st;
}

void ql_scratch_close(ql_scratch **s)
{
    if (!*s) {
        return;
    }
    for (size_t i = 0; i < (*s)->n; i++) {
        munmap((*s)->pieces[i].at, (*s)->pieces[i].bytes);
    }
    if ((*s)->fd >= 0) {
        close((*s)->fd);
    }
    ql_free((*s)->pieces);
    ql_free(*s);
    *s = NULL;
}

/* Room for one more piece in the list. */
static ql_status grow(ql_scratch *s)
{
    piece *grown = ql_realloc(QL_TAG_MISC, s->pieces, s->n + 1, sizeof(*grown));

    if (!grown) {
        return QL_ENOMEM;
    }
    s->pieces = grown;
    return QL_OK;
}

ql_status ql_scratch_put(ql_scratch *s, const void *data, size_t n,
                         const void **out)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *at;

    QL_TRY(grow(s));
    errno = ql_pagefile_write(s->fd, s->end, data, n);
    if (errno != 0) {
        return ql_fail_errno("cannot write %.1f MB to a file for weights",
                             (double)n / 1e6);
    }
    at = mmap(NULL, n, PROT_READ, MAP_SHARED, s->fd, (off_t)s->end);
    if (at == MAP_FAILED) {
        return ql_fail_errno("cannot map a file for weights");
    }
    s->pieces[s->n++] = (piece){at, n};
    s->end += (n + page - 1) / page * page;
    *out = at;
    return QL_OK;
}

bool ql_scratch_maps(const ql_scratch *s, const void *p)
{
    const unsigned char *q = p;

    for (size_t i = 0; s && i < s->n; i++) {
        const unsigned char *at = s->pieces[i].at;

        if (q >= at && q < at + s->pieces[i].bytes) {
            return true;
        }
    }
    return false;
}
