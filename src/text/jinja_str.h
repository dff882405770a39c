/* Operations on strings that filters and methods share. The results of markup
 * are markup. Errors of all: QL_EFORMAT, QL_ENOMEM. */
#ifndef QL_TEXT_JINJA_STR_H
#define QL_TEXT_JINJA_STR_H

#include "src/text/jinja_chars.h"
#include "src/text/jinja_state.h"

enum {
    QL_J_LEFT = 1,
    QL_J_RIGHT = 2
};

ql_status ql_jstr_case(ql_jinja *j, ql_jval s, ql_jcase how, ql_jval *out);

/* Without blanks, or characters of a string chars, at these sides. */
ql_status ql_jstr_strip(ql_jinja *j, ql_jval s, ql_jval chars, int sides,
                        ql_jval *out);

/* At most count replacements; negative: all. */
ql_status ql_jstr_replace(ql_jinja *j, ql_jval s, ql_jval old, ql_jval fresh,
                          int64_t count, ql_jval *out);

/* Filled up at these sides to a width in characters. */
ql_status ql_jstr_pad(ql_jinja *j, ql_jval s, int64_t width, ql_jval fill,
                      int sides, ql_jval *out);

/* The pieces between separators (blanks when it is absent), at most count
 * cuts; negative: all. from_end: the last cuts, not the first. */
ql_status ql_jstr_split(ql_jinja *j, ql_jval s, ql_jval separator,
                        int64_t count, bool from_end, ql_jlist **out);

/* Bytes of the first line of s[n], without its end; bytes of the line end
 * that s[n] begins with, 0 if there is none. */
size_t ql_jstr_line(const char *s, size_t n);
size_t ql_jstr_line_end(const char *s, size_t n);

#endif
