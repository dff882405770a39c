/* CRC-32 as zlib, gzip and PNG have it. */
#ifndef QL_BASE_CRC_H
#define QL_BASE_CRC_H

#include "qlora/status.h"

/* Of what crc is the sum of (0: of nothing), followed by n bytes. */
uint32_t ql_crc32(uint32_t crc, const void *data, size_t n);

/* The same, followed by a number as one of 64 bits. */
uint32_t ql_crc32_size(uint32_t crc, size_t n);

/* Of a file, and its size. Errors: QL_ENOTFOUND, QL_EIO, QL_EFORMAT (no
 * regular file), QL_ENOMEM. */
ql_status ql_file_crc32(const char *path, uint32_t *crc, uint64_t *bytes);

#endif
