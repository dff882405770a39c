/* What filters have in common: attributes by path, and keys that disregard
 * case. */
#ifndef QL_TEXT_JINJA_PATH_H
#define QL_TEXT_JINJA_PATH_H

#include "src/text/jinja_state.h"

/* The part of a value that "a.b.0", or a number, leads to; the value itself
 * for none or an absent path. fallback replaces what is undefined, unless it
 * is absent or none. */
ql_status ql_jinja_path(ql_jinja *j, ql_jval v, ql_jval path, ql_jval fallback,
                        ql_jval *out);

/* A string in lower case, unless case counts; other values as they are. */
ql_status ql_jinja_fold(ql_jinja *j, ql_jval v, bool case_counts, ql_jval *out);

/* A key by path, folded. */
ql_status ql_jinja_key(ql_jinja *j, ql_jval v, ql_jval path, bool case_counts,
                       ql_jval *out);

#endif
