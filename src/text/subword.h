/* The model of a tokenizer: how a word becomes tokens. Which one it is, its
 * "type" says: BPE, Unigram, WordLevel (a word is a token or unknown) or
 * WordPiece. */
#ifndef QL_TEXT_SUBWORD_H
#define QL_TEXT_SUBWORD_H

#include "src/text/bpe.h"
#include "src/text/unigram.h"
#include "src/text/wordpiece.h"

/* All zero: none. */
typedef struct ql_subword {
    const struct ql_subword_kind *kind;
    ql_bpe bpe; /* one of these three is in use */
    ql_unigram unigram;
    ql_wordpiece wordpiece;
    int32_t unk; /* WordLevel */
} ql_subword;

/* Scratch of one thread. */
typedef struct ql_subword_work {
    ql_bpe_work bpe;
    ql_unigram_work unigram;
} ql_subword_work;

void ql_subword_work_init(ql_subword_work *w);
void ql_subword_work_free(ql_subword_work *w);

/* Reads the model, and its vocabulary into an empty one. Errors: QL_EFORMAT,
 * QL_EUNSUPPORTED, QL_ENOMEM. */
ql_status ql_subword_init(ql_subword *s, const ql_model_text *m,
                          ql_vocab *vocab);
void ql_subword_free(ql_subword *s);

/* Appends the tokens of a word of valid UTF-8. Errors: those of
 * ql_unigram_run. */
ql_status ql_subword_run(const ql_subword *s, const ql_vocab *vocab,
                         ql_view word, ql_subword_work *w, ql_encoding *out);

#endif
