/* A pattern as tokenizer.json has it, compiled for PCRE2. */
#ifndef QL_TEXT_REGEX_H
#define QL_TEXT_REGEX_H

#include "src/text/part.h"

struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;

/* All zero: none. */
typedef struct ql_regex {
    struct pcre2_real_code_8 *code;
    struct pcre2_real_match_context_8 *limits;
    char *where; /* file and part, for error sentences */
} ql_regex;

/* Scratch of one thread. All zero at first. */
typedef struct ql_regex_work {
    struct pcre2_real_match_data_8 *match;
} ql_regex_work;

/* Errors: QL_EUNSUPPORTED for a pattern that is wrong or that we cannot
 * match as Oniguruma does; QL_ENOMEM. */
ql_status ql_regex_init(ql_regex *r, const char *pattern, size_t n,
                        const ql_part *part);
void ql_regex_free(ql_regex *r);

/* One that is spelled for PCRE2. */
ql_status ql_regex_compile(ql_regex *r, const char *pattern, size_t n,
                           const ql_part *part);

void ql_regex_work_free(ql_regex_work *w);

/* The first match in s[n], valid UTF-8, at or after byte at: *from is SIZE_MAX
 * if there is none. Errors: QL_EFORMAT for a pattern that would take too many
 * steps; QL_ENOMEM. */
ql_status ql_regex_find(const ql_regex *r, ql_regex_work *w, const char *s,
                        size_t n, size_t at, size_t *from, size_t *to);

#endif
