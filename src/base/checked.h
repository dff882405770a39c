/* Arithmetic on sizes that come from files. Each returns true when the
 * result does not fit; *out is then unspecified. */
#ifndef QL_BASE_CHECKED_H
#define QL_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>

static inline bool ql_mul_overflows(size_t a, size_t b, size_t *out)
{
    return __builtin_mul_overflow(a, b, out);
}

static inline bool ql_add_overflows(size_t a, size_t b, size_t *out)
{
    return __builtin_add_overflow(a, b, out);
}

#endif
