/* JSON into values, and values as JSON. */
#ifndef QL_TEXT_JINJA_JSON_H
#define QL_TEXT_JINJA_JSON_H

#include <jansson.h>

#include "src/text/jinja_state.h"

/* The value of a JSON value; NULL is none. Strings are borrowed from json.
 * Errors: QL_EFORMAT beyond a limit, QL_ENOMEM. */
ql_status ql_jinja_from_json(ql_jinja *j, const json_t *json, ql_jval *out);

/* The filter tojson(indent, ensure_ascii, separators, sort_keys), which is
 * Python's json.dumps. */
ql_jentry_fn ql_jinja_tojson;

#endif
