/* A list of strings, which lie one after the other in one buffer. */
#ifndef QL_TEXT_STRINGS_H
#define QL_TEXT_STRINGS_H

#include "src/base/buf.h"

typedef struct ql_strings {
    ql_buf text;
    ql_buf ends; /* size_t each: where string i ends in text */
} ql_strings;

/* One of them. Borrowed until the list changes. */
typedef struct ql_string {
    const char *s;
    size_t n;
} ql_string;

void ql_strings_init(ql_strings *s);
void ql_strings_free(ql_strings *s);
void ql_strings_clear(ql_strings *s);

size_t ql_strings_size(const ql_strings *s);
ql_string ql_strings_at(const ql_strings *s, size_t i);

/* Errors: QL_ENOMEM, QL_EFORMAT beyond what a text may become. */
ql_status ql_strings_push(ql_strings *s, const char *text, size_t n);

/* Ends the string whose bytes were appended to text. Errors as above. */
ql_status ql_strings_end(ql_strings *s);

/* Appends t to out, with to in place of each from, which is not empty. Errors
 * as above. */
ql_status ql_string_replace(ql_string t, const char *from, const char *to,
                            ql_buf *out);

#endif
