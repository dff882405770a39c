/* The pre-tokenizer UnicodeScripts as a pattern. */
#ifndef QL_TEXT_SCRIPTS_H
#define QL_TEXT_SCRIPTS_H

#include "src/text/regex.h"

/* A pattern that matches each stretch of one script. Spaces and characters
 * without a script belong to the stretch before them; Hiragana, Katakana and
 * their mark of length count as Han. Errors: those of ql_regex_init. */
ql_status ql_scripts_regex(ql_regex *out, const ql_part *part);

#endif
