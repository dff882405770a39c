/* The pre-tokenizer: cuts a text into words that the model encodes one by
 * one. Known: null (the text is one word) and Metaspace. */
#ifndef QL_TEXT_PRETOKENIZE_H
#define QL_TEXT_PRETOKENIZE_H

#include "src/text/metaspace.h"

/* All zero: null. */
typedef struct ql_pretokenizer {
    bool given;
    ql_metaspace metaspace;
} ql_pretokenizer;

/* json may be null. Errors: QL_EFORMAT; QL_EUNSUPPORTED, naming what. */
ql_status ql_pretokenizer_init(ql_pretokenizer *p, const json_t *json,
                               const char *where);

/* What is done to a stretch of v.n > 0 bytes before it is cut. first: it
 * begins the text. *out is v itself or borrowed from the draft. Errors: those
 * of ql_draft_copy. */
ql_status ql_pretokenizer_run(const ql_pretokenizer *p, ql_view v, bool first,
                              ql_draft *draft, ql_view *out);

/* Bytes of the first word of v, v.n > 0. */
size_t ql_pretokenizer_word(const ql_pretokenizer *p, ql_view v);

#endif
