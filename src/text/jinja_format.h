/* Text made by a pattern, in Python's two ways. */
#ifndef QL_TEXT_JINJA_FORMAT_H
#define QL_TEXT_JINJA_FORMAT_H

#include "src/text/jinja_state.h"

/* pattern % args: args is a tuple, a mapping, or one value. */
ql_status ql_jinja_percent(ql_jinja *j, ql_jval pattern, ql_jval args,
                           ql_jval *out);

/* The method format() of strings. */
ql_jentry_fn ql_jinja_format;

/* How a field is to be written. */
typedef struct ql_jspec {
    int64_t width;
    int precision; /* -1: not given */
    char fill[5];  /* one character and a NUL */
    char align;    /* < > ^ =, or 0 */
    char sign;     /* + - blank, or 0 */
    bool alternate;
    bool grouped; /* commas between thousands */
    char type;    /* 0: not given */
} ql_jspec;

/* Appends a field: a number by type d x X o b e E f F g G %; text, cut to the
 * precision. Errors: QL_EFORMAT, QL_EUNSUPPORTED, QL_ENOMEM. */
ql_status ql_jspec_put_number(ql_jinja *j, ql_buf *b, const ql_jspec *spec,
                              ql_jval v);
ql_status ql_jspec_put_text(ql_jinja *j, ql_buf *b, const ql_jspec *spec,
                            ql_jval s);

/* Reads digits at s[*i]; -1 when there are none. Fails beyond a million. */
ql_status ql_jspec_digits(ql_jinja *j, ql_jval s, size_t *i, int64_t *out);

#endif
