/* Whether text is UTF-8. */
#ifndef QL_BASE_UTF8_CHECK_H
#define QL_BASE_UTF8_CHECK_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes at the start of s[n] that are valid UTF-8; n when all of it is.
 * Surrogates, overlong forms and code points beyond U+10FFFF are not. */
size_t ql_utf8_check(const char *s, size_t n);

/* True when the n bytes are valid UTF-8. */
static inline bool ql_utf8_valid(const char *s, size_t n)
{
    return ql_utf8_check(s, n) == n;
}

#endif
