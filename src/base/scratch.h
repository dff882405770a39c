/* Bytes that read as memory and lie on disk, in a file without a name: the
 * system may let go of them, and they may be dropped and fetched as what is
 * mapped from any file (map.h). */
#ifndef QL_BASE_SCRATCH_H
#define QL_BASE_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "qlora/status.h"

typedef struct ql_scratch ql_scratch;

/* The file is made in dir and is gone with the process, however that ends.
 * Errors: QL_ENOTFOUND (no such folder), QL_ENOSPACE, QL_EIO, QL_ENOMEM. */
ql_status ql_scratch_open(ql_scratch **out, const char *dir);
void ql_scratch_close(ql_scratch **s);

/* Keeps a copy of n bytes, n > 0. *out is at the start of a page and is valid
 * until the close. Errors: QL_ENOSPACE, QL_EIO, QL_ENOMEM. */
ql_status ql_scratch_put(ql_scratch *s, const void *data, size_t n,
                         const void **out);

/* Whether p lies in it; s may be NULL. */
bool ql_scratch_maps(const ql_scratch *s, const void *p);

#endif
