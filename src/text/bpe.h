/* Byte pair encoding (Sennrich, Haddow, Birch, 2016) as the reference does
 * it: the pair of neighbours with the lowest rank is merged first, the
 * leftmost one on a tie, until no pair is in the list of merges. */
#ifndef QL_TEXT_BPE_H
#define QL_TEXT_BPE_H

#include "src/text/encoding.h"
#include "src/text/model_text.h"
#include "src/text/view.h"
#include "src/text/vocab.h"

enum {
    QL_BPE_CHARS = 512 /* of these first code points the tokens are kept */
};

typedef struct ql_bpe_merge {
    int32_t left; /* -1: an empty slot */
    int32_t right;
    uint32_t rank;
    int32_t id; /* of the merged token */
} ql_bpe_merge;

typedef struct ql_bpe {
    ql_bpe_merge *merges; /* [n_slots], open addressing by the pair */
    size_t n_slots;       /* a power of two */
    /* Bit (x, y): some merge joins a token that ends in byte x with one whose
     * first character ends in byte y. Where the bit is clear no merge can
     * ever reach across, so a word may be cut there: what makes long texts
     * without a pre-tokenizer cheap. */
    uint8_t joins[256 * 256 / 8];
    int32_t chars[QL_BPE_CHARS]; /* ids of single characters, -1: none */
    int32_t bytes[256]; /* ids of "<0x00>" to "<0xFF>", -1 where absent */
    int32_t unk;        /* -1: characters without a token are left out */
    bool fuse_unk;      /* one unk for a run of them */
    bool byte_fallback; /* such characters become bytes, if all are there */
    bool ignore_merges; /* a word that is a token is taken whole */
    char *prefix;       /* put before all characters of a word but the first, */
    char *suffix;       /* and after the last; NULL for none */
} ql_bpe;

/* Reads the model into b and its vocabulary into vocab, which must be empty.
 * Errors: QL_EFORMAT, QL_EUNSUPPORTED, QL_ENOMEM. */
ql_status ql_bpe_init(ql_bpe *b, const ql_model_text *m, ql_vocab *vocab);
void ql_bpe_free(ql_bpe *b);

/* The merge of two neighbours; NULL where there is none. */
const ql_bpe_merge *ql_bpe_merge_of(const ql_bpe *b, int32_t left,
                                    int32_t right);

/* Some merge may reach across the border between two tokens. */
bool ql_bpe_joins(const ql_bpe *b, const ql_vocab *vocab, int32_t left,
                  int32_t right);

/* Scratch of one encoding, reused from word to word. */
typedef struct ql_bpe_work {
    ql_buf text; /* a character with prefix and suffix */
    struct ql_bpe_symbol *symbols;
    struct ql_bpe_pair *heap;
    size_t n;      /* symbols of the stretch at hand */
    size_t n_heap; /* pairs that wait */
    size_t cap;    /* symbols there is room for; twice as many pairs */
} ql_bpe_work;

void ql_bpe_work_init(ql_bpe_work *w);
void ql_bpe_work_free(ql_bpe_work *w);

/* Encodes one word of valid UTF-8. Time n log n in its length. Errors:
 * QL_ENOMEM. */
ql_status ql_bpe_run(const ql_bpe *b, const ql_vocab *vocab, ql_view word,
                     ql_bpe_work *work, ql_encoding *out);

#endif
