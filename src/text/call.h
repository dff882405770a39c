/* Tools and calls of tools, in the many ways that records write them, brought
 * into the one that chat templates know: {"type": "function", "function":
 * {"name", "arguments"}}. */
#ifndef QL_TEXT_CALL_H
#define QL_TEXT_CALL_H

#include "src/base/field.h"

/* A list of calls, each with its "function" or bare. Owned: *out. Errors of
 * all: QL_EFORMAT, QL_ENOMEM. */
ql_status ql_calls_read(json_t **out, const json_t *list);

/* Calls from a text: one in JSON, or a list of them. *out is NULL when the
 * text is none. Owned: *out. */
ql_status ql_calls_parse(json_t **out, const char *text, size_t len);

/* The tools of a record: a list, or one as a string of JSON. *out is NULL when
 * there are none. Owned: *out. */
ql_status ql_tools_read(json_t **out, const json_t *v);

/* Makes the arguments of all calls objects, where they are strings of one, or
 * strings, where they are not. */
ql_status ql_calls_set_arguments(json_t *calls, bool objects);

/* Appends calls as text, a line of JSON each. */
ql_status ql_calls_put(ql_buf *out, const json_t *calls);

/* Appends a value as Python's json.dumps writes it, on one line, without
 * escapes for what is not ASCII. */
ql_status ql_call_put_json(ql_buf *out, const json_t *v);

#endif
