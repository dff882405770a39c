#include "src/base/crc.h"

#include <zlib.h>

#include "src/base/fail.h"
#include "src/base/file.h"

enum {
    CHUNK = 1 << 16 /* bytes read at a time */
};

uint32_t ql_crc32(uint32_t crc, const void *data, size_t n)
{
    return (uint32_t)crc32_z(crc, data, n);
}

uint32_t ql_crc32_size(uint32_t crc, size_t n)
{
    const uint64_t wide = n;

    return ql_crc32(crc, &wide, sizeof(wide));
}

ql_status ql_file_crc32(const char *path, uint32_t *crc, uint64_t *bytes)
{
    unsigned char data[CHUNK];
    ql_status st = QL_OK;
    ql_infile f;

    *crc = 0;
    *bytes = 0;
    QL_TRY(ql_infile_init(&f, path));
    while (*bytes < f.bytes) {
        const size_t left = f.bytes - (size_t)*bytes;
        const size_t n = left < CHUNK ? left : CHUNK;

        QL_TRY_DONE(ql_infile_read(&f, data, n));
        *crc = ql_crc32(*crc, data, n);
        *bytes += n;
    }
done:
    ql_infile_free(&f);
    return st;
}
