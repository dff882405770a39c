/* Characters of text as Python's str takes them: code points, their case, and
 * what counts as a blank. Texts are valid UTF-8. */
#ifndef QL_TEXT_JINJA_CHARS_H
#define QL_TEXT_JINJA_CHARS_H

#include "src/base/buf.h"

typedef enum ql_jcase {
    QL_J_UPPER,
    QL_J_LOWER,
    QL_J_TITLE,      /* each run of letters */
    QL_J_CAPITALIZE, /* the first character only */
    QL_J_SWAPCASE
} ql_jcase;

/* What str.isspace() and \s say: White_Space, and four separators. */
bool ql_jchar_is_space(int32_t c);

/* Letters that have case; letters; decimal digits; those and raised or lowered
 * ones; letters and numbers of all kinds; what repr() prints. */
bool ql_jchar_is_upper(int32_t c);
bool ql_jchar_is_lower(int32_t c);
bool ql_jchar_is_alpha(int32_t c);
bool ql_jchar_is_decimal(int32_t c);
bool ql_jchar_is_digit(int32_t c);
bool ql_jchar_is_alnum(int32_t c);
bool ql_jchar_is_printable(int32_t c);

/* True when s[n] has letters of this case and none of the other. */
bool ql_jchars_all_case(const char *s, size_t n, bool upper);

/* True when each word of s[n] begins with a capital and has no other. */
bool ql_jchars_is_title(const char *s, size_t n);

/* Byte offset of character i of s[n]; n for one beyond the end. */
size_t ql_jchars_offset(const char *s, size_t n, size_t i);

/* Bytes of s[n] without blanks at the end; blanks at the start. */
size_t ql_jchars_rstrip(const char *s, size_t n);
size_t ql_jchars_blanks(const char *s, size_t n);

/* Appends a character, or s[n] in another case. Errors: those of
 * ql_buf_append. */
ql_status ql_jchar_put(ql_buf *b, int32_t c);
ql_status ql_jchars_put_case(ql_buf *b, const char *s, size_t n, ql_jcase how);

/* Appends s[n] with & < > ' " spelled as HTML has them. */
ql_status ql_jchars_put_html(ql_buf *b, const char *s, size_t n);

/* Where what[m] begins in s[n]: the first place, or the last. SIZE_MAX if
 * nowhere. */
size_t ql_jchars_find(const char *s, size_t n, const char *what, size_t m);
size_t ql_jchars_rfind(const char *s, size_t n, const char *what, size_t m);

#endif
