#include "src/text/vocab.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/base/rng.h"
#include "src/text/utf8.h"

#define ABSENT UINT32_MAX

enum {
    FIRST_SLOTS = 1024,
    POOL_BYTES = 1 << 30
};

void ql_vocab_init(ql_vocab *v)
{
    *v = (ql_vocab){0};
    ql_buf_init(&v->pool, QL_TAG_TEXT, POOL_BYTES);
}

void ql_vocab_free(ql_vocab *v)
{
    ql_buf_free(&v->pool);
    ql_free(v->entries);
    ql_free(v->slots);
    ql_vocab_init(v);
}

/* FNV-1a, finished by a mixer since slots are taken from the low bits. */
static uint64_t hash(const char *s, size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < n; i++) {
        h = (h ^ (unsigned char)s[i]) * UINT64_C(0x100000001b3);
    }
    return ql_rng_mix(h);
}

static bool holds(const ql_vocab *v, int32_t id, const char *s, size_t n)
{
    const ql_vocab_entry e = v->entries[id];

    return e.len == n && memcmp(v->pool.data + e.at, s, n) == 0;
}

/* The slot of a content, or the empty one where it belongs. At least half of
 * the slots are empty, so there is one. */
static size_t slot_of(const ql_vocab *v, const char *s, size_t n)
{
    const size_t mask = v->n_slots - 1;
    size_t i = (size_t)hash(s, n) & mask;

    while (v->slots[i] >= 0 && !holds(v, v->slots[i], s, n)) {
        i = (i + 1) & mask;
    }
    return i;
}

static void fill_slots(ql_vocab *v)
{
    for (size_t id = 0; id < v->size; id++) {
        const ql_vocab_entry e = v->entries[id];

        if (e.len != ABSENT) {
            v->slots[slot_of(v, v->pool.data + e.at, e.len)] = (int32_t)id;
        }
    }
}

static ql_status grow_slots(ql_vocab *v)
{
    const size_t n = v->n_slots ? 2 * v->n_slots : FIRST_SLOTS;
    int32_t *slots;

    if (2 * (v->count + 1) <= v->n_slots) {
        return QL_OK;
    }
    slots = ql_alloc(QL_TAG_TEXT, n, sizeof(*slots));
    if (!slots) {
        return QL_ENOMEM;
    }
    memset(slots, 0xff, n * sizeof(*slots));
    ql_free(v->slots);
    v->slots = slots;
    v->n_slots = n;
    fill_slots(v);
    return QL_OK;
}

static ql_status grow_entries(ql_vocab *v, size_t id)
{
    size_t cap = v->cap ? v->cap : FIRST_SLOTS;
    ql_vocab_entry *entries;

    if (id < v->cap) {
        return QL_OK;
    }
    while (cap <= id) {
        cap *= 2;
    }
    entries = ql_realloc(QL_TAG_TEXT, v->entries, cap, sizeof(*entries));
    if (!entries) {
        return QL_ENOMEM;
    }
    memset(entries + v->cap, 0xff, (cap - v->cap) * sizeof(*entries));
    v->entries = entries;
    v->cap = cap;
    return QL_OK;
}

static ql_status check(const ql_vocab *v, const char *s, size_t n, int64_t id)
{
    int32_t other;

    if (n > QL_VOCAB_MAX_BYTES) {
        QL_FAIL(QL_EFORMAT, "the token with id %lld has %zu bytes (limit %d)",
                (long long)id, n, QL_VOCAB_MAX_BYTES);
    }
    if (memchr(s, 0, n) || ql_utf8_check(s, n) != n) {
        QL_FAIL(QL_EFORMAT, "the token with id %lld is not text",
                (long long)id);
    }
    if (id < 0 || id > QL_VOCAB_MAX_ID) {
        QL_FAIL(QL_EFORMAT, "token \"%s\": id %lld is not in 0 to %d", s,
                (long long)id, QL_VOCAB_MAX_ID);
    }
    if (ql_vocab_get(v, id, NULL)) {
        QL_FAIL(QL_EFORMAT, "tokens \"%s\" and \"%s\" have the same id %lld",
                ql_vocab_get(v, id, NULL), s, (long long)id);
    }
    other = ql_vocab_find(v, s, n);
    if (other >= 0) {
        QL_FAIL(QL_EFORMAT, "token \"%s\" has two ids, %d and %lld", s, other,
                (long long)id);
    }
    return QL_OK;
}

ql_status ql_vocab_add(ql_vocab *v, const char *s, size_t n, int64_t id)
{
    const size_t at = v->pool.len;

    QL_TRY(check(v, s, n, id));
    QL_TRY(grow_slots(v));
    QL_TRY(grow_entries(v, (size_t)id));
    QL_TRY(ql_buf_append(&v->pool, s, n));
    QL_TRY(ql_buf_putc(&v->pool, '\0'));
    v->slots[slot_of(v, s, n)] = (int32_t)id;
    v->entries[id] = (ql_vocab_entry){(uint32_t)at, (uint32_t)n, v->sealed};
    v->size = (size_t)id >= v->size ? (size_t)id + 1 : v->size;
    v->count++;
    return QL_OK;
}

int32_t ql_vocab_find(const ql_vocab *v, const char *s, size_t n)
{
    return v->n_slots ? v->slots[slot_of(v, s, n)] : -1;
}

int32_t ql_vocab_find_word(const ql_vocab *v, const char *s, size_t n)
{
    const int32_t id = ql_vocab_find(v, s, n);

    return id >= 0 && v->entries[id].added ? -1 : id;
}

const char *ql_vocab_get(const ql_vocab *v, int64_t id, size_t *n)
{
    if (id < 0 || (size_t)id >= v->size || v->entries[id].len == ABSENT) {
        return NULL;
    }
    if (n) {
        *n = v->entries[id].len;
    }
    return v->pool.data + v->entries[id].at;
}
