/* Fields of a record, an object in JSON. */
#ifndef QL_BASE_FIELD_H
#define QL_BASE_FIELD_H

#include "src/base/json.h"

/* A string that must be there. Borrowed: *s. Errors: QL_EFORMAT. */
ql_status ql_field_string(const json_t *o, const char *key, const char **s,
                          size_t *n);

/* The first of the keys, which a NULL ends, that o has and that is not null;
 * NULL if there is none. */
const char *ql_field_any(const json_t *o, const char *const *keys);

/* QL_ENOMEM with its sentence, unless ok: what jansson could not hold. */
ql_status ql_field_held(bool ok);

#endif
