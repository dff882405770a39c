#include "tests/check/sha256.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    BLOCK = 64,
    ROUNDS = 64
};

/* The first 32 bits of the fractional part of a root of the i-th prime: the
 * constants of the standard. */
static uint32_t constant(int i, bool cube)
{
    int prime = 1;
    long double root;

    for (int found = -1; found < i;) {
        bool is = true;

        prime++;
        for (int d = 2; d * d <= prime; d++) {
            is = is && prime % d != 0;
        }
        found += is;
    }
    root = cube ? cbrtl((long double)prime) : sqrtl((long double)prime);
    return (uint32_t)((root - floorl(root)) * 4294967296.0L);
}

static uint32_t turn(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void mix(uint32_t h[8], const uint32_t k[ROUNDS],
                const unsigned char *block)
{
    uint32_t w[ROUNDS];
    uint32_t s[8];

    for (int i = 0; i < 16; i++) {
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    }
    for (int i = 16; i < ROUNDS; i++) {
        const uint32_t a = w[i - 15];
        const uint32_t b = w[i - 2];

        w[i] = w[i - 16] + (turn(a, 7) ^ turn(a, 18) ^ a >> 3) + w[i - 7] +
               (turn(b, 17) ^ turn(b, 19) ^ b >> 10);
    }
    memcpy(s, h, sizeof(s));
    for (int i = 0; i < ROUNDS; i++) {
        const uint32_t e = turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25);
        const uint32_t a = turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22);
        const uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
        const uint32_t most = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        const uint32_t one = s[7] + e + choice + k[i] + w[i];

        memmove(s + 1, s, 7 * sizeof(*s));
        s[4] += one;
        s[0] = one + a + most;
    }
    for (int i = 0; i < 8; i++) {
        h[i] += s[i];
    }
}

void sha256(const void *data, size_t n, unsigned char sum[SHA256_BYTES])
{
    unsigned char end[2 * BLOCK] = {0};
    const unsigned char *p = data;
    const size_t rest = n % BLOCK;
    const size_t last = rest < BLOCK - 8 ? BLOCK : 2 * BLOCK;
    uint32_t k[ROUNDS];
    uint32_t h[8];

    for (int i = 0; i < ROUNDS; i++) {
        k[i] = constant(i, true);
    }
    for (int i = 0; i < 8; i++) {
        h[i] = constant(i, false);
    }
    for (size_t i = 0; i + BLOCK <= n; i += BLOCK) {
        mix(h, k, p + i);
    }
    memcpy(end, p + n - rest, rest);
    end[rest] = 0x80;
    for (size_t i = 0; i < 8; i++) {
        end[last - 1 - i] = (unsigned char)((uint64_t)n * 8 >> 8 * i);
    }
    for (size_t i = 0; i < last; i += BLOCK) {
        mix(h, k, end + i);
    }
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        sum[i] = (unsigned char)(h[i / 4] >> 8 * (3 - i % 4));
    }
}
