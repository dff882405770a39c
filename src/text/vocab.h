/* Tokens by content and by id. Contents lie in one pool; ids may have gaps.
 * Contents hold no NUL byte. */
#ifndef QL_TEXT_VOCAB_H
#define QL_TEXT_VOCAB_H

#include "src/base/buf.h"

enum {
    QL_VOCAB_MAX_ID = 16777215, /* far beyond any vocabulary in use */
    QL_VOCAB_MAX_BYTES = 16384  /* of a token, likewise */
};

typedef struct ql_vocab_entry {
    uint32_t at;  /* offset in the pool */
    uint32_t len; /* bytes; UINT32_MAX where no token has this id */
    bool added;   /* it is none of the model's */
} ql_vocab_entry;

typedef struct ql_vocab {
    ql_buf pool;             /* contents, each followed by a NUL */
    ql_vocab_entry *entries; /* [cap], by id */
    size_t cap;
    size_t size;    /* one more than the largest id */
    size_t count;   /* tokens */
    bool sealed;    /* the model has all its tokens, others are added */
    int32_t *slots; /* [n_slots] ids, -1 for an empty one; open addressing */
    size_t n_slots; /* a power of two, 0 at first */
} ql_vocab;

void ql_vocab_init(ql_vocab *v);
void ql_vocab_free(ql_vocab *v);

/* Adds a token of n bytes. Errors: QL_EFORMAT for an id outside [0,
 * QL_VOCAB_MAX_ID], an id or content that is there already, content that is
 * too long, not UTF-8 or with a NUL byte; QL_ENOMEM. */
ql_status ql_vocab_add(ql_vocab *v, const char *s, size_t n, int64_t id);

/* Id of a content, -1 if there is none. */
int32_t ql_vocab_find(const ql_vocab *v, const char *s, size_t n);

/* The same, of those tokens that the model may make words of. */
int32_t ql_vocab_find_word(const ql_vocab *v, const char *s, size_t n);

/* Content of an id, *n its bytes. NULL where no token has it. Borrowed. */
const char *ql_vocab_get(const ql_vocab *v, int64_t id, size_t *n);

#endif
