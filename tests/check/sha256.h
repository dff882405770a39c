/* SHA-256, to compare bytes with sums that others have made. Source: FIPS
 * 180-4. */
#ifndef QL_TESTS_SHA256_H
#define QL_TESTS_SHA256_H

#include <stddef.h>

enum {
    SHA256_BYTES = 32
};

void sha256(const void *data, size_t n, unsigned char sum[SHA256_BYTES]);

#endif
