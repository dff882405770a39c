/* Numbers from text, as Python's int() and float() read them. */
#ifndef QL_TEXT_JINJA_NUMBER_H
#define QL_TEXT_JINJA_NUMBER_H

#include "src/text/jinja_state.h"

/* False when s is not a number. int: base 2 to 36, or 0 for what a prefix
 * says. Fails for a number beyond 64 bits, or without memory. */
ql_status ql_jinja_parse_int(ql_jinja *j, ql_jval s, int base, bool *good,
                             int64_t *out);
ql_status ql_jinja_parse_float(ql_jinja *j, ql_jval s, bool *good, double *out);

/* A float cut to a whole number. Fails where Python does. */
ql_status ql_jinja_truncate(ql_jinja *j, double f, int64_t *out);

#endif
