/* Keys and values of the tokens of one text that a model has read, so that the
 * text can go on without reading it again. Layers that see a window keep no
 * more than that and what one pass adds; the others keep all. Rows are as
 * attention reads them, keys turned. Memory grows with the text. */
#ifndef QL_MODEL_CACHE_H
#define QL_MODEL_CACHE_H

#include "src/model/config.h"

/* Rows of one layer, [n, KV, D] each: those of the tokens before the next
 * one. */
typedef struct ql_past {
    float *k, *v;
    size_t n;
    size_t room;
} ql_past;

typedef struct ql_cache {
    const ql_config *c;
    size_t context;         /* tokens at most */
    size_t batch;           /* tokens of a pass at most */
    size_t n;               /* tokens read */
    size_t room;            /* of ids */
    size_t phase[QL_ROPES]; /* ql_rope_phase that its keys are turned in */
    int32_t *ids;           /* [n] */
    ql_past *past;          /* [layers] */
} ql_cache;

/* Bytes that a cache takes for a text of so many tokens. */
size_t ql_cache_bytes(const ql_config *c, size_t tokens, size_t batch);

/* An empty one; c is borrowed. Errors: QL_EINVAL for a context of 0 or beyond
 * the positions that the model has; QL_ENOMEM. */
ql_status ql_cache_init(ql_cache *cache, const ql_config *c, size_t context,
                        size_t batch);
void ql_cache_free(ql_cache *cache);

/* Makes room for the rows of so many tokens in all; what there is stays.
 * Errors: QL_EINVAL beyond the context; QL_ENOMEM. */
ql_status ql_cache_reserve(ql_cache *cache, size_t tokens);

/* Before a pass that adds T tokens, T <= batch, for which there is room: lets
 * go of what no window sees any more, where rows would not fit. */
void ql_cache_shift(ql_cache *cache, size_t T);

/* Forgets all tokens from n on, if there are any. Where a window has let go of
 * rows that the token after them would see, all are forgotten. Returns how many
 * are left. */
size_t ql_cache_cut(ql_cache *cache, size_t n);

#endif
