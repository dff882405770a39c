/* Bytes that are kept in a file and gone through again and again, in a fixed
 * order: a helper thread reads ahead and writes behind through a few buffers.
 *
 *     for each part, in order:
 *         ql_pages_next(p, &data);   the part, in one of the buffers
 *         ... change it ...
 *         ql_pages_done(p);          to be written some time
 *
 * and after the last part begins with the first again. Reading ahead goes on
 * between the sweeps.
 *
 * The file has no name: it is gone with the process, however that ends. Its
 * space is reserved at the start. Used by one thread. */
#ifndef QL_BASE_PAGES_H
#define QL_BASE_PAGES_H

#include "src/base/alloc.h"

enum {
    QL_PAGES_BUFFERS = 3 /* one is read, one changed and one written */
};

typedef struct ql_pages ql_pages;

/* Makes a file of zeros in dir, of n parts: part i has bytes bound[i] to
 * bound[i + 1]. bound [n + 1] is borrowed; it ascends from 0 by multiples of
 * 64, and n must not be less than the number of buffers. Memory is counted
 * under tag. Errors: QL_ENOSPACE (the file system has no room), QL_EIO,
 * QL_ENOTFOUND (no such folder), QL_ENOMEM. */
ql_status ql_pages_open(ql_pages **p_out, ql_tag tag, const char *dir,
                        const uint64_t *bound, size_t n);
void ql_pages_close(ql_pages **p);

/* Bytes under the tag, when no part is larger than this. */
uint64_t ql_pages_memory(size_t largest);

/* Waits for the next part, 64-byte aligned. It is valid until ql_pages_done.
 * Errors: QL_EIO or QL_ENOSPACE: a read or write failed, now or since the last
 * call. No call makes sense after that. */
ql_status ql_pages_next(ql_pages *p, void **data);
void ql_pages_done(ql_pages *p);

/* Reads or writes n bytes from byte at on, between a done and a next, beside
 * the sweep. Errors: as ql_pages_next. */
ql_status ql_pages_read(ql_pages *p, uint64_t at, void *data, size_t n);
ql_status ql_pages_write(ql_pages *p, uint64_t at, const void *data, size_t n);

#endif
