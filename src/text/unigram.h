/* Unigram (Kudo, 2018): the tokens that a word is made of are those whose
 * scores add up to the most, found by dynamic programming. */
#ifndef QL_TEXT_UNIGRAM_H
#define QL_TEXT_UNIGRAM_H

#include "src/text/encoding.h"
#include "src/text/model_text.h"
#include "src/text/trie.h"
#include "src/text/view.h"

typedef struct ql_unigram {
    ql_trie tokens;
    double *scores; /* by id */
    int32_t unk;    /* -1: a text that cannot be made up is refused */
    double unk_score;
    bool byte_fallback; /* what is unknown becomes bytes, if all are there */
    int32_t bytes[256];
    char *where;
} ql_unigram;

/* Scratch of one thread. */
typedef struct ql_unigram_work {
    struct ql_unigram_node *nodes; /* [cap] by the byte where they end */
    size_t cap;
    ql_buf cuts; /* size_t each: where the tokens of a word end */
} ql_unigram_work;

void ql_unigram_work_init(ql_unigram_work *w);
void ql_unigram_work_free(ql_unigram_work *w);

/* Errors: QL_EFORMAT, QL_ENOMEM. */
ql_status ql_unigram_init(ql_unigram *u, const ql_model_text *m,
                          ql_vocab *vocab);
void ql_unigram_free(ql_unigram *u);

/* Errors: QL_EFORMAT for what is unknown to a model without a token for it;
 * QL_ENOMEM. */
ql_status ql_unigram_run(const ql_unigram *u, const ql_vocab *vocab,
                         ql_view word, ql_unigram_work *w, ql_encoding *out);

#endif
