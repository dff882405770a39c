/* Normalizers that look at one character at a time: what each becomes. */
#ifndef QL_TEXT_NORMAL_CHARS_H
#define QL_TEXT_NORMAL_CHARS_H

#include "src/text/view.h"

/* Writes what c becomes, 0 to 3 code points, and gives how many. */
typedef size_t ql_normal_char_fn(int32_t c, int32_t out[3]);

/* Lower case of Unicode, without the rules that depend on a language or on
 * the characters beside it. */
ql_normal_char_fn ql_normal_lowercase;

/* Without marks; without those that take no room of their own. */
ql_normal_char_fn ql_normal_without_marks;
ql_normal_char_fn ql_normal_without_nonspacing;

/* What BERT does first: no control characters, one kind of white space. */
ql_normal_char_fn ql_normal_clean;

/* A space on both sides of Chinese characters, as BERT counts them. */
ql_normal_char_fn ql_normal_chinese;

/* The character rules of sentencepiece's nmt. */
ql_normal_char_fn ql_normal_nmt;

/* Appends v character by character. Errors: those of ql_draft_put. */
ql_status ql_normal_chars_run(ql_normal_char_fn *fn, ql_view v, ql_draft *out);

#endif
