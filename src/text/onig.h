/* Patterns of tokenizer.json are written for Oniguruma; we match by PCRE2.
 * This rewrites the one as the other, so that the same is matched:
 *
 *   ^ $ match at lines, . and (?m) differ, (?i) ends with its group
 *   \s \w \d \h \b and [[:classes:]] by the same tables of Unicode
 *   \v is one character, \p{Script} the property and not its extension
 *   [a[b]] is a union, {,n} an interval
 *
 * The result is meant for UTF mode with Unicode properties, lines that end in
 * a line feed, and the option that ^ and $ match at lines. */
#ifndef QL_TEXT_ONIG_H
#define QL_TEXT_ONIG_H

#include "src/text/part.h"

/* Appends the rewritten pattern of n bytes to out. Errors: QL_EUNSUPPORTED,
 * naming file, part and what we cannot say in PCRE2; QL_ENOMEM. */
ql_status ql_onig_rewrite(const char *pattern, size_t n, const ql_part *part,
                          ql_buf *out);

#endif
