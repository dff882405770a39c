/* What escapes, properties and classes of Oniguruma are in PCRE2. */
#ifndef QL_TEXT_ONIG_SETS_H
#define QL_TEXT_ONIG_SETS_H

#include "src/base/buf.h"

/* The translation of \c, c a letter: outside of brackets, or within. NULL
 * where there is none. */
const char *ql_onig_escape(char c, bool within);

/* The translation of [:name:] within brackets, or of [:^name:]; NULL if there
 * is none. */
const char *ql_onig_class(const char *name, size_t n, bool negated);

/* Appends the translation of \p{name}, or of \P{name}. False for a name that
 * cannot be one. *st: QL_ENOMEM. */
bool ql_onig_property(const char *name, size_t n, bool negated, ql_buf *out,
                      ql_status *st);

#endif
