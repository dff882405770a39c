/* A file mapped into memory, read-only. */
#ifndef QL_BASE_MAP_H
#define QL_BASE_MAP_H

#include "qlora/status.h"

typedef struct ql_map {
    const unsigned char *data; /* NULL for an empty file */
    size_t len;
} ql_map;

/* Maps a whole regular file. Errors: QL_ENOTFOUND, QL_EIO (also when path is
 * not a regular file). *m is zero after a failure. */
ql_status ql_map_open(ql_map *m, const char *path);
void ql_map_close(ql_map *m);

/* Brings len bytes at p, which lie in a mapped file, into memory; returns when
 * they are there. */
void ql_map_fetch(const void *p, size_t len);

/* Brings len bytes at p into memory, if they lie in a mapped file, and not all
 * that the kernel would read with them: for a look here and there. */
void ql_map_peek(const void *p, size_t len);

/* Tells the kernel that len bytes at p, which lie in a mapped file, will not
 * be needed soon: they no longer count as resident. Pages that hold other
 * bytes too stay. */
void ql_map_drop(const void *p, size_t len);

#endif
