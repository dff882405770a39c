/* Reads JSON text value by value, where a tree of it would take too much
 * memory: a vocabulary has hundreds of thousands of entries. The caller says
 * what it expects; ql_json_scan_skip passes over the rest.
 *
 * All errors are QL_EFORMAT, naming where and the byte, unless said
 * otherwise. Strings are not checked to be UTF-8. */
#ifndef QL_BASE_JSON_SCAN_H
#define QL_BASE_JSON_SCAN_H

#include "src/base/buf.h"

/* Borrowed: text, which a NUL byte must follow, and where. */
typedef struct ql_json_scan {
    const char *begin; /* of the file, for error sentences */
    const char *p;
    const char *end;
    const char *where;
} ql_json_scan;

/* The next character that is no white space, -1 at the end. */
int ql_json_scan_peek(ql_json_scan *s);

/* Passes over it if it is c. */
bool ql_json_scan_take(ql_json_scan *s, char c);
ql_status ql_json_scan_expect(ql_json_scan *s, char c);

/* A string, which replaces the content of out. Also: QL_ENOMEM. */
ql_status ql_json_scan_string(ql_json_scan *s, ql_buf *out);

/* A number; a whole one. */
ql_status ql_json_scan_real(ql_json_scan *s, double *out);
ql_status ql_json_scan_integer(ql_json_scan *s, int64_t *out);

/* Any value. Objects and lists may nest as deep as jansson lets them. */
ql_status ql_json_scan_skip(ql_json_scan *s);

/* "where: not valid JSON: what (byte N)". */
ql_status ql_json_scan_wrong(const ql_json_scan *s, const char *what);

#endif
