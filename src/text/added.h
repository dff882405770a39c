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
    size_t rank;      /* among those with the same content the least is found */
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
    ql_added_set written; /* special tokens of the normalized set, by the
                             content that they are written with */
    uint8_t *special;     /* [special_size]: 1 for a special token, by id */
    size_t special_size;
} ql_added;

/* Reads the list "added_tokens" (NULL for none) and puts contents that are
 * new into the vocabulary. Errors: QL_EFORMAT, QL_EUNSUPPORTED, QL_ENOMEM. */
ql_status ql_added_init(ql_added *a, const json_t *list, ql_vocab *vocab,
                        const ql_normalizer *normalizer, const char *where);
void ql_added_free(ql_added *a);

/* Where a search stands. All zero at first. */
typedef struct ql_added_search {
    size_t from; /* the match found: bytes [from, to), */
    size_t to;   /* white space that the token takes included */
    int32_t id;
    size_t pos; /* where to look on: the end of its content */
} ql_added_search;

/* Moves on to the next match in v; false if there is none. A token may begin
 * within the white space that the match before has taken, as in the reference,
 * unless it takes white space before it itself. */
bool ql_added_next(const ql_added_set *set, ql_view v, ql_added_search *search);

bool ql_added_is_special(const ql_added *a, int32_t id);

/* Bytes of the longest special token that s[n] begins with, as it is written;
 * 0 for none. */
size_t ql_added_special_at(const ql_added *a, const char *s, size_t n);

#endif
