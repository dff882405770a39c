/* Values as text: Python's str() and repr(). */
#ifndef QL_TEXT_JINJA_TEXT_H
#define QL_TEXT_JINJA_TEXT_H

#include "src/text/jinja_state.h"

/* Appends str(v) or repr(v). Errors: QL_EFORMAT beyond a limit, QL_ENOMEM. */
ql_status ql_jinja_put_str(ql_jinja *j, ql_buf *b, ql_jval v);
ql_status ql_jinja_put_repr(ql_jinja *j, ql_buf *b, ql_jval v);

/* The same as values; a string is its own str(), but is no longer markup.
 * Both use the scratch buffer. */
ql_status ql_jinja_str(ql_jinja *j, ql_jval v, ql_jval *out);
ql_status ql_jinja_repr(ql_jinja *j, ql_jval v, ql_jval *out);

/* str(v), but markup stays what it is. */
ql_status ql_jinja_soft_str(ql_jinja *j, ql_jval v, ql_jval *out);

/* str(v) with & < > ' " spelled as HTML has them, unless it is markup. The
 * result is. */
ql_status ql_jinja_escape(ql_jinja *j, ql_jval v, ql_jval *out);

#endif
