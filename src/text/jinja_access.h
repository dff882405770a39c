/* Parts of values: elements, keys, attributes, slices. */
#ifndef QL_TEXT_JINJA_ACCESS_H
#define QL_TEXT_JINJA_ACCESS_H

#include "src/text/jinja_state.h"

/* The elements of whatever can be iterated, in a list that must not be
 * changed; of an iterator the rest, which is then gone. Borrowed. Errors:
 * QL_EFORMAT, QL_ENOMEM. */
ql_status ql_jinja_iterate(ql_jinja *j, ql_jval v, ql_jlist **out);
bool ql_jinja_can_iterate(ql_jval v);

/* obj.name, which looks for attributes first, and obj[key], which looks for
 * elements first. What is missing is undefined. */
ql_status ql_jinja_attr(ql_jinja *j, ql_jval obj, ql_jval name, ql_jval *out);
ql_status ql_jinja_item(ql_jinja *j, ql_jval obj, ql_jval key, ql_jval *out);

/* obj.name without looking for elements. */
ql_status ql_jinja_attr_only(ql_jinja *j, ql_jval obj, ql_jval name,
                             ql_jval *out);

/* obj[from:to:step]; absent or none where nothing is written. */
ql_status ql_jinja_slice(ql_jinja *j, ql_jval obj, const ql_jval bounds[3],
                         ql_jval *out);

/* The value of a key of a mapping; NULL if there is none. */
ql_status ql_jinja_lookup(ql_jinja *j, ql_jdict *d, ql_jval key, ql_jval **out);

/* Adds or replaces a key. The mapping must not be visible to the template
 * yet, or be a namespace. */
ql_status ql_jinja_put(ql_jinja *j, ql_jdict *d, ql_jval key, ql_jval v);

/* Fails unless the value can be a key. */
ql_status ql_jinja_need_key(ql_jinja *j, ql_jval key);

/* The bounds of a slice with step 1 of n elements: negative numbers count
 * from the end, what lies beyond is cut, and *from <= *to. */
void ql_jinja_clip(int64_t n, int64_t *from, int64_t *to);

#endif
