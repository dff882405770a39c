#include "src/model/cache.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"

enum {
    FIRST_ROOM = 256
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Floats of a token's keys in one layer, and of its values. */
static size_t width(const ql_config *c)
{
    return c->KV * c->D;
}

/* Rows that layer i has for a text of so many tokens. */
static size_t rows_of(const ql_config *c, size_t i, size_t tokens, size_t batch)
{
    const size_t window = c->layer[i].window;

    if (window == 0 || window >= SIZE_MAX - batch) {
        return tokens;
    }
    return min_size(tokens, window - 1 + batch);
}

size_t ql_cache_bytes(const ql_config *c, size_t tokens, size_t batch)
{
    size_t rows = 0;

    for (size_t i = 0; i < c->layers; i++) {
        rows += rows_of(c, i, tokens, batch);
    }
    return 2 * rows * width(c) * sizeof(float) + tokens * sizeof(int32_t);
}

ql_status ql_cache_init(ql_cache *cache, const ql_config *c, size_t context,
                        size_t batch)
{
    *cache = (ql_cache){.c = c, .context = context, .batch = batch};
    if (context == 0 || context > c->max_position) {
        QL_FAIL(QL_EINVAL,
                "a context of %zu tokens, but the model was made for %zu; give "
                "a number from 1 to that",
                context, c->max_position);
    }
    cache->past = ql_calloc(QL_TAG_MISC, c->layers, sizeof(*cache->past));
    return cache->past ? QL_OK : QL_ENOMEM;
}

void ql_cache_free(ql_cache *cache)
{
    for (size_t i = 0; cache->past && i < cache->c->layers; i++) {
        ql_free(cache->past[i].k);
        ql_free(cache->past[i].v);
    }
    ql_free(cache->past);
    ql_free(cache->ids);
    *cache = (ql_cache){0};
}

static ql_status grow(float **rows, size_t n, size_t size)
{
    float *p = ql_realloc(QL_TAG_ACTIV, *rows, n, size);

    *rows = p ? p : *rows;
    return p ? QL_OK : QL_ENOMEM;
}

static ql_status grow_past(ql_past *p, size_t rows, size_t size)
{
    if (rows > p->room) {
        QL_TRY(grow(&p->k, rows, size));
        QL_TRY(grow(&p->v, rows, size));
        p->room = rows;
    }
    return QL_OK;
}

ql_status ql_cache_reserve(ql_cache *cache, size_t tokens)
{
    const size_t size = width(cache->c) * sizeof(float);
    size_t room = cache->room ? cache->room : FIRST_ROOM;
    int32_t *ids;

    if (tokens > cache->context) {
        QL_FAIL(QL_EINVAL, "a text of %zu tokens, but the context has %zu",
                tokens, cache->context);
    }
    if (tokens <= cache->room) {
        return QL_OK;
    }
    while (room < tokens) {
        room *= 2;
    }
    room = min_size(room, cache->context);
    ids = ql_realloc(QL_TAG_ACTIV, cache->ids, room, sizeof(*ids));
    if (!ids) {
        return QL_ENOMEM;
    }
    cache->ids = ids;
    for (size_t i = 0; i < cache->c->layers; i++) {
        QL_TRY(grow_past(&cache->past[i],
                         rows_of(cache->c, i, room, cache->batch), size));
    }
    cache->room = room;
    return QL_OK;
}

void ql_cache_shift(ql_cache *cache, size_t T)
{
    const size_t w = width(cache->c);

    for (size_t i = 0; i < cache->c->layers; i++) {
        ql_past *p = &cache->past[i];
        const size_t keep = min_size(p->n, cache->c->layer[i].window - 1);
        const size_t drop = p->n - keep;

        if (p->n + T > p->room) {
            memmove(p->k, p->k + drop * w, keep * w * sizeof(float));
            memmove(p->v, p->v + drop * w, keep * w * sizeof(float));
            p->n = keep;
        }
    }
}

/* True if layer i still has what the token behind the first n sees. */
static bool has_seen(const ql_cache *cache, size_t i, size_t n)
{
    const size_t gone = cache->n - cache->past[i].n;
    const size_t window = cache->c->layer[i].window;

    return gone == 0 || (n >= window && n - (window - 1) >= gone);
}

size_t ql_cache_cut(ql_cache *cache, size_t n)
{
    if (n >= cache->n) {
        return cache->n;
    }
    for (size_t i = 0; i < cache->c->layers; i++) {
        n = has_seen(cache, i, n) ? n : 0;
    }
    for (size_t i = 0; i < cache->c->layers; i++) {
        ql_past *p = &cache->past[i];

        p->n = n == 0 ? 0 : p->n - (cache->n - n);
    }
    cache->n = n;
    return n;
}
