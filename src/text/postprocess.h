/* The post-processor: which special tokens stand around a text or a pair of
 * texts. All that tokenizer.json knows come down to two rows of items, one
 * for a single text and one for a pair. */
#ifndef QL_TEXT_POSTPROCESS_H
#define QL_TEXT_POSTPROCESS_H

#include "src/text/encoding.h"
#include "src/text/part.h"
#include "src/text/vocab.h"

enum {
    QL_POST_A = -1, /* in place of an id: the text, */
    QL_POST_B = -2  /* the second text */
};

typedef struct ql_post_item {
    int32_t id;   /* of a special token, or one of the above */
    uint8_t type; /* token type: 0 or 1, as BERT counts the texts */
} ql_post_item;

typedef struct ql_post_row {
    ql_post_item *items;
    size_t n;
} ql_post_row;

typedef struct ql_postprocessor {
    ql_post_row single;
    ql_post_row pair;
} ql_postprocessor;

/* json may be null. Errors: QL_EFORMAT; QL_EUNSUPPORTED, naming what;
 * QL_ENOMEM. */
ql_status ql_postprocessor_init(ql_postprocessor *p, const json_t *json,
                                const ql_vocab *vocab, const char *where);
void ql_postprocessor_free(ql_postprocessor *p);

/* Replaces it by one that puts bos before each text and eos after it, -1 for
 * none. Errors: QL_ENOMEM. */
ql_status ql_postprocessor_set(ql_postprocessor *p, int32_t bos, int32_t eos);

#endif
