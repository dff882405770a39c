/* The alphabet of byte-level tokenizers, as GPT-2 introduced it: each of the
 * 256 bytes is shown as one printable character. */
#ifndef QL_TEXT_BYTE_LEVEL_H
#define QL_TEXT_BYTE_LEVEL_H

#include "src/text/view.h"

/* Appends the bytes of v as characters. Errors: those of ql_draft_put. */
ql_status ql_byte_level_run(ql_view v, ql_draft *out);

/* The byte that a character stands for, -1 if it stands for none. */
int ql_byte_level_get(int32_t c);

#endif
