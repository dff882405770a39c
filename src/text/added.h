/* Added tokens: contents that are found in the text before the model sees it.
 * There are two sets: one is looked for in the raw text, the other (written
 * "normalized": true) in the normalized text, by its normalized content.
 *
 * Matching is leftmost, then longest, as the reference's automaton does it. */
#ifndef QL_TEXT_ADDED_H
#define QL_TEXT_ADDED_H

#include "src/text/normalize.h"
#include "src/text/vocab.h"

typedef struct ql_added_token {
    char *content; /* as it is looked for */
    size_t len;
    int32_t id;
    bool lstrip;      /* takes the white space before it */
    bool rstrip;      /* takes the white space after it */
    bool single_word; /* not inside a word */
} ql_added_token;

typedef struct ql_added_set {
    ql_added_token *tokens; /* [n], in order of content after seal */
    size_t n;
    size_t cap;
    size_t first[257]; /* tokens with first byte b: [first[b], first[b+1]) */
} ql_added_set;

typedef struct ql_added {
    ql_added_set raw;
    ql_added_set normalized;
    uint8_t *special; /* [special_size]: 1 for a special token, by id */
    size_t special_size;
} ql_added;

/* Reads the list "added_tokens" (NULL for none) and puts contents that are
 * new into the vocabulary. Errors: QL_EFORMAT, QL_EUNSUPPORTED, QL_ENOMEM. */
ql_status ql_added_init(ql_added *a, const json_t *list, ql_vocab *vocab,
                        const ql_normalizer *normalizer, const char *where);
void ql_added_free(ql_added *a);

/* Where a token was found: bytes [from, to), id < 0 for nowhere. */
typedef struct ql_added_match {
    size_t from;
    size_t to;
    int32_t id;
} ql_added_match;

/* The first match in v at or after byte pos, which is 0 or the end of the
 * match before. Without one: id -1, from = to = v.n. */
ql_added_match ql_added_find(const ql_added_set *set, ql_view v, size_t pos);

bool ql_added_is_special(const ql_added *a, int32_t id);

#endif
