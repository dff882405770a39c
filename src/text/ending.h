/* Where turns end in a rendered text: behind the special token that closes
 * them, if there is one. */
#ifndef QL_TEXT_ENDING_H
#define QL_TEXT_ENDING_H

#include "qlora/tokenizer.h"

/* Bytes that two texts have in common at their start. */
size_t ql_ending_common(const char *a, size_t n, const char *b, size_t m);

/* Where word[m] first stands in text[n]; SIZE_MAX if it does not. */
size_t ql_ending_word(const char *text, size_t n, const char *word, size_t m);

/* Bytes of tail[n] that still belong to a turn, and not to what the template
 * puts behind the last turn only. tail follows the turn's content where it is
 * the last one; longer[m] does where another turn comes after it. */
size_t ql_ending_find(const ql_tokenizer *tok, const char *tail, size_t n,
                      const char *longer, size_t m);

/* The end of a turn that is [from, to) of a text: white space behind its last
 * special token is no part of it. */
size_t ql_ending_trim(const ql_tokenizer *tok, const char *text, size_t from,
                      size_t to);

/* The end of the special token at text[at], at most len; at if there is
 * none. */
size_t ql_ending_pass(const ql_tokenizer *tok, const char *text, size_t at,
                      size_t len);

#endif
