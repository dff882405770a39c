/* JSON strings as two well-known writers spell them, for files that must be
 * equal to theirs byte by byte. */
#ifndef QL_BASE_QUOTE_H
#define QL_BASE_QUOTE_H

#include "src/base/buf.h"

/* Appends s in quotes. The short escapes are used where there is one, \u00xx
 * for other control characters. s is valid UTF-8. Errors: those of
 * ql_buf_append.
 *
 *   _utf8   the rest as it is: serde_json, and so the safetensors crate
 *   _utf8_n s[n]; the same, for text that may hold NULs
 *   _ascii  s[n]; the rest as \uxxxx, in pairs beyond the basic plane:
 *           Python's json.dumps */
ql_status ql_quote_utf8(ql_buf *b, const char *s);
ql_status ql_quote_utf8_n(ql_buf *b, const char *s, size_t n);
ql_status ql_quote_ascii(ql_buf *b, const char *s, size_t n);

#endif
