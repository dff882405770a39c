/* Results as JSON objects. */
#ifndef QL_BENCH_JSON_H
#define QL_BENCH_JSON_H

#include <jansson.h>

#include "qlora/status.h"

/* Sets a member; a number that is not finite becomes null. */
void bench_set_real(json_t *o, const char *key, double x);
void bench_set_size(json_t *o, const char *key, uint64_t n);
void bench_set_text(json_t *o, const char *key, const char *text);

/* A member that is a number, or NAN; that is a text, or "". Borrowed. */
double bench_get_real(const json_t *o, const char *key);
const char *bench_get_text(const json_t *o, const char *key);

/* A number of object member `of`; 0 where there is none. */
double bench_get_part(const json_t *o, const char *of, const char *key);

/* Writes an object as one line to stdout. Errors: QL_ENOMEM. */
ql_status bench_put_line(const json_t *o);

/* The same of each object of a list. */
void bench_put_lines(const json_t *list);

#endif
