/* Characters of UTF-8 text. Unless said otherwise the text must be valid,
 * which ql_utf8_check finds out. */
#ifndef QL_TEXT_UTF8_H
#define QL_TEXT_UTF8_H

#include "qlora/types.h"
#include "src/base/utf8_check.h"

/* Bytes at the start of s[n], which is not valid there (n > 0), that begin a
 * character, but at least 1. */
size_t ql_utf8_broken(const char *s, size_t n);

/* Bytes of the character that starts at s[0] (n > 0), at most n. */
size_t ql_utf8_len(const char *s, size_t n);

/* The code point that starts at s[0] (n > 0). */
int32_t ql_utf8_get(const char *s, size_t n);

/* Start of the character that ends before s[n] (n > 0). */
size_t ql_utf8_back(const char *s, size_t n);

/* Writes a code point, gives its bytes. */
size_t ql_utf8_put(int32_t c, char out[4]);

/* What \s and \w match in a pattern: the property White_Space; letters,
 * marks, decimal and letter numbers, connectors and joiners. */
bool ql_utf8_is_space(int32_t c);
bool ql_utf8_is_word(int32_t c);

/* General categories N; M; Mn; P, or any ASCII symbol. */
bool ql_utf8_is_number(int32_t c);
bool ql_utf8_is_mark(int32_t c);
bool ql_utf8_is_nonspacing(int32_t c);
bool ql_utf8_is_punctuation(int32_t c);

#endif
