/* Escapes in JSON strings, for those who read such strings by themselves. */
#ifndef QL_BASE_JSON_ESCAPE_H
#define QL_BASE_JSON_ESCAPE_H

#include <stdint.h>

/* What ql_json_escape gives for no character. */
enum {
    QL_ESCAPE_UNKNOWN = -1, /* *p stays where it is */
    QL_ESCAPE_NUMBER = -2   /* \u without four digits, or half a pair */
};

/* Reads what follows a backslash, from *p, which moves behind it, and before
 * end: the code point, which a pair of surrogates makes together, or one of the
 * above. */
int32_t ql_json_escape(const char **p, const char *end);

#endif
