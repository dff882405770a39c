/* Random numbers that depend on a key and a counter only, never on threads
 * or on what was drawn elsewhere: the same seed gives the same run.
 *
 * The mixing function is the finalizer of SplitMix64 (Steele, Lea, Flood:
 * Fast Splittable Pseudorandom Number Generators, 2014). */
#ifndef QL_BASE_RNG_H
#define QL_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t ql_rng_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* The n-th 64-bit number of the sequence that belongs to key. */
static inline uint64_t ql_rng_at(uint64_t key, uint64_t n)
{
    return ql_rng_mix(key + (n + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

/* A new key from a key and a name or number, for independent sequences. */
static inline uint64_t ql_rng_split(uint64_t key, uint64_t n)
{
    return ql_rng_mix(ql_rng_at(key, n) ^ UINT64_C(0x6a09e667f3bcc909));
}

/* Uniform in [0, 1), 53 bits. */
static inline double ql_rng_unit(uint64_t key, uint64_t n)
{
    return (double)(ql_rng_at(key, n) >> 11) * 0x1p-53;
}

/* Uniform integer in [0, bound), bound > 0; bias below 2^-32 for the bounds
 * met here. */
static inline size_t ql_rng_below(uint64_t key, uint64_t n, size_t bound)
{
    return (size_t)(ql_rng_unit(key, n) * (double)bound);
}

/* x[i] normal with mean 0 and deviation by: those of the key, in order. */
void ql_rng_fill(uint64_t key, double by, float *x, size_t n);

/* Fisher-Yates shuffle of order[n]. */
void ql_rng_shuffle(uint64_t key, size_t *order, size_t n);

#endif
