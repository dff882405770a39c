/* Numbered blocks that go to a file one after the other, up from 0, and come
 * back down again: a helper thread writes behind and reads ahead through a few
 * buffers, so that neither is waited for if there is work enough in between.
 *
 *     up:    data = ql_spill_put(s, i, bytes); ... fill it ...
 *            ql_spill_done(s, i);
 *     down:  data = ql_spill_get(s, i);
 *
 * What came last is still in memory then. The file has no name and is gone with
 * the process; its space is reserved at the start. Used by one thread. */
#ifndef QL_BASE_SPILL_H
#define QL_BASE_SPILL_H

#include "src/base/alloc.h"

enum {
    QL_SPILL_BUFFERS = 3
};

typedef struct ql_spill ql_spill;

/* n blocks of at most so many bytes. Buffers are counted under tag. Errors:
 * QL_ENOSPACE, QL_EIO, QL_ENOTFOUND (no such folder), QL_ENOMEM. */
ql_status ql_spill_open(ql_spill **out, ql_tag tag, const char *dir, size_t n,
                        size_t bytes);
void ql_spill_close(ql_spill **s);

/* Bytes of memory, and of the file, that it takes. */
uint64_t ql_spill_memory(size_t bytes);
uint64_t ql_spill_file(size_t n, size_t bytes);

/* Where block i, which will have so many bytes, is to be written, 64-byte
 * aligned: valid until ql_spill_done. */
void *ql_spill_put(ql_spill *s, size_t i, size_t bytes);
void ql_spill_done(ql_spill *s, size_t i);

/* Block i as it was put last; valid until the next call. Any order is right,
 * but only down is fast. */
const void *ql_spill_get(ql_spill *s, size_t i);

/* QL_EIO or QL_ENOSPACE when a read or write failed since the start: what was
 * got since is not what was put. */
ql_status ql_spill_check(ql_spill *s);

#endif
