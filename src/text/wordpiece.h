/* WordPiece, as BERT has it: from the beginning of a word on, the longest
 * token that fits is taken, those within the word with a prefix; a word that
 * cannot be made up is one unknown token. */
#ifndef QL_TEXT_WORDPIECE_H
#define QL_TEXT_WORDPIECE_H

#include "src/text/encoding.h"
#include "src/text/model_text.h"
#include "src/text/trie.h"
#include "src/text/view.h"

typedef struct ql_wordpiece {
    ql_trie tokens;
    int32_t within; /* node after the prefix, -1 if no token begins with it */
    int32_t unk;
    size_t max_chars; /* a longer word is unknown */
} ql_wordpiece;

/* Errors: QL_EFORMAT, QL_ENOMEM. */
ql_status ql_wordpiece_init(ql_wordpiece *p, const ql_model_text *m,
                            ql_vocab *vocab);
void ql_wordpiece_free(ql_wordpiece *p);

/* Errors: QL_ENOMEM. */
ql_status ql_wordpiece_run(const ql_wordpiece *p, ql_view word,
                           ql_encoding *out);

#endif
