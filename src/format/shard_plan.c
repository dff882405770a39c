/* Which tensor goes to which shard, and the index that says so. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/quote.h"
#include "src/base/utf8_check.h"
#include "src/format/shards.h"

enum {
    FILE_NAME_BYTES = 64, /* two numbers of 20 digits and the rest */
    MAX_INDEX_BYTES = 64 * 1024 * 1024
};

/* The shard under construction has no number yet: a tensor too large for any
 * shard, met meanwhile, comes before it. */
static const size_t open_shard = SIZE_MAX;

typedef struct placed {
    char *name;
    size_t shard;
} placed;

struct ql_shard_plan {
    uint64_t max_bytes;
    uint64_t open_bytes;  /* in the shard under construction */
    uint64_t total_bytes; /* in all */
    size_t closed;        /* shards with a number */
    size_t open_first;    /* no tensor before this one is in the open shard */
    size_t open_count;
    placed *items;
    size_t count;
    size_t cap;
    char file[FILE_NAME_BYTES];
};

ql_status ql_shard_plan_open(ql_shard_plan **out, uint64_t max_shard_bytes)
{
    *out = ql_calloc(QL_TAG_TEXT, 1, sizeof(**out));
    if (!*out) {
        return QL_ENOMEM;
    }
    (*out)->max_bytes = max_shard_bytes;
    return QL_OK;
}

void ql_shard_plan_close(ql_shard_plan **p)
{
    if (!*p) {
        return;
    }
    for (size_t i = 0; i < (*p)->count; i++) {
        ql_free((*p)->items[i].name);
    }
    ql_free((*p)->items);
    ql_free(*p);
    *p = NULL;
}

static ql_status append(ql_shard_plan *p, const char *name, size_t shard)
{
    placed item = {.shard = shard};

    if (p->count == p->cap) {
        const size_t cap = p->cap ? p->cap * 2 : 16;
        placed *items = ql_realloc(QL_TAG_TEXT, p->items, cap, sizeof(item));

        if (!items) {
            return QL_ENOMEM;
        }
        p->items = items;
        p->cap = cap;
    }
    item.name = ql_strdup(QL_TAG_TEXT, name);
    if (!item.name) {
        return QL_ENOMEM;
    }
    p->items[p->count++] = item;
    return QL_OK;
}

/* Gives the shard under construction the next number. */
static void close_shard(ql_shard_plan *p)
{
    for (size_t i = p->open_first; i < p->count; i++) {
        if (p->items[i].shard == open_shard) {
            p->items[i].shard = p->closed;
        }
    }
    p->closed++;
    p->open_first = p->count;
    p->open_count = 0;
    p->open_bytes = 0;
}

ql_status ql_shard_plan_add(ql_shard_plan *p, const char *name, uint64_t bytes)
{
    if (!ql_utf8_valid(name, strlen(name))) {
        QL_FAIL(QL_EINVAL, "'%s' is not UTF-8 text", name);
    }
    if (bytes > UINT64_MAX - p->total_bytes) {
        QL_FAIL(QL_EINVAL, "tensor '%s': more bytes than can be counted", name);
    }
    if (bytes > p->max_bytes) {
        QL_TRY(append(p, name, p->closed));
        p->closed++;
    } else {
        if (p->open_bytes + bytes > p->max_bytes) {
            close_shard(p);
        }
        QL_TRY(append(p, name, open_shard));
        p->open_count++;
        p->open_bytes += bytes;
    }
    p->total_bytes += bytes;
    return QL_OK;
}

ql_status ql_shard_plan_also(ql_shard_plan *p, const char *name)
{
    assert(p->count > 0);
    return append(p, name, p->items[p->count - 1].shard);
}

size_t ql_shard_plan_shards(const ql_shard_plan *p)
{
    return p->closed + (p->open_count > 0);
}

size_t ql_shard_plan_shard_of(const ql_shard_plan *p, size_t i)
{
    const size_t shard = p->items[i].shard;

    return shard == open_shard ? p->closed : shard;
}

const char *ql_shard_plan_file(ql_shard_plan *p, size_t shard)
{
    const size_t shards = ql_shard_plan_shards(p);

    if (shards <= 1) {
        return "model.safetensors";
    }
    assert(shard < shards);
    snprintf(p->file, sizeof(p->file), "model-%05zu-of-%05zu.safetensors",
             shard + 1, shards);
    return p->file;
}

static int by_name(const void *a, const void *b)
{
    const placed *l = a;
    const placed *r = b;

    return strcmp(l->name, r->name);
}

/* As json.dumps(index, indent=2, sort_keys=True) + "\n". */
static ql_status put_index(ql_shard_plan *p, const placed *sorted, ql_buf *b)
{
    QL_TRY(ql_buf_printf(b,
                         "{\n  \"metadata\": {\n    \"total_size\": %llu\n"
                         "  },\n  \"weight_map\": {\n",
                         (unsigned long long)p->total_bytes));
    for (size_t i = 0; i < p->count; i++) {
        if (i > 0 && by_name(&sorted[i - 1], &sorted[i]) == 0) {
            QL_FAIL(QL_EINVAL, "tensor '%s' is added twice", sorted[i].name);
        }
        QL_TRY(ql_buf_puts(b, i ? ",\n    " : "    "));
        QL_TRY(ql_quote_ascii(b, sorted[i].name, strlen(sorted[i].name)));
        QL_TRY(ql_buf_printf(b, ": \"%s\"",
                             ql_shard_plan_file(p, sorted[i].shard)));
    }
    return ql_buf_puts(b, "\n  }\n}\n");
}

/* A copy of the tensors sorted by name, with their final shards. */
static placed *sort_items(const ql_shard_plan *p)
{
    placed *sorted = ql_alloc(QL_TAG_TEXT, p->count, sizeof(*sorted));

    if (!sorted) {
        return NULL;
    }
    for (size_t i = 0; i < p->count; i++) {
        sorted[i].name = p->items[i].name;
        sorted[i].shard = ql_shard_plan_shard_of(p, i);
    }
    qsort(sorted, p->count, sizeof(*sorted), by_name);
    return sorted;
}

ql_status ql_shard_plan_write_index(ql_shard_plan *p, const char *dir)
{
    ql_status st = QL_ENOMEM;
    ql_buf text;
    placed *sorted = NULL;
    char *path = NULL;

    if (ql_shard_plan_shards(p) <= 1) {
        return QL_OK;
    }
    ql_buf_init(&text, QL_TAG_TEXT, MAX_INDEX_BYTES);
    sorted = sort_items(p);
    path = ql_path_join(dir, "model.safetensors.index.json");
    if (!sorted || !path) {
        goto done;
    }
    QL_TRY_DONE(put_index(p, sorted, &text));
    st = ql_file_write(path, text.data, text.len);
done:
    ql_buf_free(&text);
    ql_free(sorted);
    ql_free(path);
    return st;
}
