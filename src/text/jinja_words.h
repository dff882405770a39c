/* The words inside a tag: names, numbers, strings and signs. */
#ifndef QL_TEXT_JINJA_WORDS_H
#define QL_TEXT_JINJA_WORDS_H

#include "src/text/jinja_lex.h"

/* Reads the word that s[n] begins with, n > 0, which is no blank. before: the
 * character before it, 0 for none. Sets *len to its bytes; 0 when no word
 * begins like this. Errors: QL_EFORMAT with a bare sentence, QL_EUNSUPPORTED,
 * QL_ENOMEM. */
ql_status ql_jinja_word(ql_jinja_mem *mem, const char *s, size_t n, char before,
                        ql_jtoken *t, size_t *len);

#endif
