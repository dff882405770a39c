/* How much memory this process may still take. */
#ifndef QL_BASE_ROOM_H
#define QL_BASE_ROOM_H

#include <stdint.h>

/* Bytes that can be taken on top of what is held now: the least of what the
 * kernel calls available and of what each control group that the process is in
 * leaves (version 1 or 2; cached files that can be given up count as free).
 * UINT64_MAX where nothing is known.
 *
 * root stands before all paths that are read: "" for this machine, or a folder
 * with such files for a test. */
uint64_t ql_memory_room(const char *root);

#endif
