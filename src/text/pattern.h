/* What is looked for in a text: a string or a regular expression, written
 * {"String": ...} or {"Regex": ...}. */
#ifndef QL_TEXT_PATTERN_H
#define QL_TEXT_PATTERN_H

#include "src/text/regex.h"

/* All zero: none. */
typedef struct ql_pattern {
    char *literal; /* NULL: the regular expression counts */
    size_t n;
    ql_regex regex;
} ql_pattern;

/* Reads member "pattern" of a part. Errors: QL_EFORMAT, and those of
 * ql_regex_init. */
ql_status ql_pattern_init(ql_pattern *p, const ql_part *part);
void ql_pattern_free(ql_pattern *p);

/* Where a search stands. All zero at first. */
typedef struct ql_search {
    size_t from; /* the match found: bytes [from, to) */
    size_t to;
    size_t pos;   /* where to look on */
    bool matched; /* there was a match before */
} ql_search;

/* Moves on to the next match in s[n]; *found: there is one. Matches do not
 * overlap; an empty one does not touch the end of the one before it. Errors:
 * those of ql_regex_find. */
ql_status ql_pattern_next(const ql_pattern *p, ql_regex_work *w, const char *s,
                          size_t n, ql_search *search, bool *found);

#endif
