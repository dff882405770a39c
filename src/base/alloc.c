/* Each block is preceded by one 64-byte line that holds its size and tag, so
 * that the block itself stays aligned. */
#include "src/base/alloc.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/base/fail.h"

enum {
    LINE = 64
};

typedef struct header {
    size_t bytes;
    ql_tag tag;
} header;

/* The last ones are of all tags. */
static atomic_size_t held[QL_TAG_COUNT + 1];
static atomic_size_t peak[QL_TAG_COUNT + 1];
static atomic_uint_fast64_t calls;
static atomic_long fail_after = -1;

static const char *const tag_names[QL_TAG_COUNT] = {
    [QL_TAG_WEIGHTS] = "weights",   [QL_TAG_ADAPTER] = "adapter",
    [QL_TAG_GRAD] = "gradients",    [QL_TAG_OPTIM] = "optimizer",
    [QL_TAG_ACTIV] = "activations", [QL_TAG_WORK] = "work space",
    [QL_TAG_DATA] = "data",         [QL_TAG_TEXT] = "text",
    [QL_TAG_MISC] = "other",
};

static header *header_of(void *p)
{
    return (header *)(void *)((char *)p - LINE);
}

static void add(ql_tag tag, size_t bytes)
{
    const size_t now = atomic_fetch_add(&held[tag], bytes) + bytes;
    size_t top = atomic_load(&peak[tag]);

    while (now > top && !atomic_compare_exchange_weak(&peak[tag], &top, now)) {
    }
}

static void count_up(ql_tag tag, size_t bytes)
{
    add(tag, bytes);
    add(QL_TAG_COUNT, bytes);
    atomic_fetch_add(&calls, 1);
}

static void count_down(ql_tag tag, size_t bytes)
{
    atomic_fetch_sub(&held[tag], bytes);
    atomic_fetch_sub(&held[QL_TAG_COUNT], bytes);
}

/* True when the test hook wants this allocation to fail. */
static bool planned_failure(void)
{
    long left = atomic_load(&fail_after);

    while (left > 0) {
        if (atomic_compare_exchange_weak(&fail_after, &left, left - 1)) {
            return false;
        }
    }
    return left == 0;
}

void *ql_alloc(ql_tag tag, size_t n, size_t size)
{
    size_t bytes;
    size_t total;
    header *h;

    if (ql_mul_overflows(n, size, &bytes) ||
        ql_add_overflows(bytes, (size_t)2 * LINE - 1, &total)) {
        ql_fail(QL_ENOMEM, "%s: a block of %zu x %zu bytes cannot exist",
                tag_names[tag], n, size);
        return NULL;
    }
    total -= total % LINE;
    h = planned_failure() ? NULL : aligned_alloc(LINE, total);
    if (!h) {
        ql_fail(QL_ENOMEM,
                "%s: out of memory (%zu bytes asked for); use a smaller "
                "model, length or batch",
                tag_names[tag], bytes);
        return NULL;
    }
    h->bytes = bytes;
    h->tag = tag;
    count_up(tag, bytes);
    return (char *)h + LINE;
}

void *ql_calloc(ql_tag tag, size_t n, size_t size)
{
    void *p = ql_alloc(tag, n, size);

    if (p) {
        memset(p, 0, n * size);
    }
    return p;
}

void *ql_realloc(ql_tag tag, void *p, size_t n, size_t size)
{
    void *fresh;

    if (!p) {
        return ql_alloc(tag, n, size);
    }
    fresh = ql_alloc(header_of(p)->tag, n, size);
    if (fresh) {
        const size_t old = header_of(p)->bytes;
        memcpy(fresh, p, old < n * size ? old : n * size);
        ql_free(p);
    }
    return fresh;
}

void ql_free(void *p)
{
    header *h;

    if (!p) {
        return;
    }
    h = header_of(p);
    assert(h->tag < QL_TAG_COUNT);
    count_down(h->tag, h->bytes);
    free(h);
}

char *ql_strndup(ql_tag tag, const char *s, size_t n)
{
    char *copy = ql_alloc(tag, n + 1, 1);

    if (copy) {
        memcpy(copy, s, n);
        copy[n] = '\0';
    }
    return copy;
}

char *ql_strdup(ql_tag tag, const char *s)
{
    return ql_strndup(tag, s, strlen(s));
}

size_t ql_alloc_bytes(ql_tag tag)
{
    return atomic_load(&held[tag]);
}

size_t ql_alloc_peak(ql_tag tag)
{
    return atomic_load(&peak[tag]);
}

uint64_t ql_alloc_calls(void)
{
    return atomic_load(&calls);
}

void ql_alloc_fail_after(long n)
{
    atomic_store(&fail_after, n);
}
