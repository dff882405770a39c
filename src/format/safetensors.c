/* Reading a safetensors file: 8 bytes with the header's length, the header,
 * and the tensors, one directly after the other up to the end of the file.
 * All is checked when the file is opened, so nothing can fail later. */
#include "src/format/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/map.h"
#include "src/format/safetensors_header.h"

enum {
    LENGTH_BYTES = 8
};

struct ql_safetensors {
    ql_map map; /* empty when the bytes are borrowed */
    ql_st_header header;
};

static int by_offset(const void *a, const void *b)
{
    const ql_st_entry *l = a;
    const ql_st_entry *r = b;

    if (l->begin != r->begin) {
        return l->begin < r->begin ? -1 : 1;
    }
    return (l->end > r->end) - (l->end < r->end);
}

static int by_name(const void *a, const void *b)
{
    const ql_st_entry *l = a;
    const ql_st_entry *r = b;

    return strcmp(l->tensor.name, r->tensor.name);
}

static int by_key(const void *a, const void *b)
{
    const ql_st_pair *l = a;
    const ql_st_pair *r = b;

    return strcmp(l->key, r->key);
}

/* Finds the header in the file. */
static ql_status find_header(const unsigned char *data, size_t len, size_t *n)
{
    static const char pointer[] = "version https://git-lfs";
    uint64_t promised = 0;

    if (len < LENGTH_BYTES) {
        QL_FAIL(QL_EFORMAT,
                "not a safetensors file: %zu bytes, but the length of the "
                "header alone takes 8",
                len);
    }
    if (len > sizeof(pointer) &&
        memcmp(data, pointer, sizeof(pointer) - 1) == 0) {
        QL_FAIL(QL_EFORMAT, "a Git LFS pointer, not the file itself; fetch it "
                            "with git lfs pull");
    }
    memcpy(&promised, data, LENGTH_BYTES);
    if (promised > QL_MAX_HEADER_BYTES) {
        QL_FAIL(QL_EFORMAT,
                "not a safetensors file: a header of %llu bytes, but at most "
                "%d are allowed",
                (unsigned long long)promised, QL_MAX_HEADER_BYTES);
    }
    if (promised > len - LENGTH_BYTES) {
        QL_FAIL(QL_EFORMAT,
                "the file is truncated: a header of %llu bytes is promised, "
                "but %zu are there; download it again",
                (unsigned long long)promised, len - LENGTH_BYTES);
    }
    *n = (size_t)promised;
    return QL_OK;
}

/* The bytes between the offsets must be those that the shape needs. */
static ql_status check_size(ql_st_entry *e)
{
    char shape[QL_SHAPE_BYTES];
    ql_tensor *t = &e->tensor;
    const ql_status st =
        ql_shape_bytes(t->dtype, t->shape, t->rank, &t->elements, &t->bytes);

    if (st != QL_OK) {
        return ql_fail_prefix(st, "tensor '%s': ", t->name);
    }
    if (e->end < e->begin) {
        QL_FAIL(QL_EFORMAT,
                "tensor '%s': data_offsets [%zu, %zu] run backwards", t->name,
                e->begin, e->end);
    }
    if (e->end - e->begin != t->bytes) {
        QL_FAIL(QL_EFORMAT, "tensor '%s': %zu bytes, but %s of %s needs %zu",
                t->name, e->end - e->begin,
                ql_shape_print(shape, t->shape, t->rank),
                ql_dtype_name(t->dtype), t->bytes);
    }
    return QL_OK;
}

/* Entries, sorted by offset, must fill len bytes without hole or overlap. */
static ql_status check_layout(const ql_st_header *h, size_t len)
{
    size_t at = 0;

    for (size_t i = 0; i < h->count; i++) {
        const ql_st_entry *e = &h->entries[i];

        if (e->begin < at) {
            QL_FAIL(QL_EFORMAT,
                    "tensors '%s' and '%s' overlap: one ends at byte %zu of "
                    "the data, the other begins at %zu",
                    h->entries[i - 1].tensor.name, e->tensor.name, at,
                    e->begin);
        }
        if (e->begin > at) {
            QL_FAIL(QL_EFORMAT,
                    "tensor '%s': begins at byte %zu of the data, but bytes "
                    "from %zu on belong to no tensor",
                    e->tensor.name, e->begin, at);
        }
        at = e->end;
    }
    if (at > len) {
        QL_FAIL(QL_EFORMAT,
                "the file is truncated: the header promises %zu bytes of "
                "tensors, but %zu are there; download it again",
                at, len);
    }
    if (at < len) {
        QL_FAIL(QL_EFORMAT,
                "%zu bytes follow the last tensor; the file is damaged",
                len - at);
    }
    return QL_OK;
}

static ql_status check_names(const ql_st_header *h)
{
    for (size_t i = 1; i < h->count; i++) {
        if (by_name(&h->entries[i - 1], &h->entries[i]) == 0) {
            QL_FAIL(QL_EFORMAT, "tensor '%s' is there twice",
                    h->entries[i].tensor.name);
        }
    }
    for (size_t i = 1; i < h->pair_count; i++) {
        if (by_key(&h->pairs[i - 1], &h->pairs[i]) == 0) {
            QL_FAIL(QL_EFORMAT, "__metadata__: '%s' is there twice",
                    h->pairs[i].key);
        }
    }
    return QL_OK;
}

/* qsort takes no NULL, even for nothing. */
static void sort(void *array, size_t n, size_t size,
                 int (*order)(const void *, const void *))
{
    if (n > 1) {
        qsort(array, n, size, order);
    }
}

/* Checks all that the header says against itself and against the len bytes
 * that follow it. Leaves tensors and metadata sorted by name. */
static ql_status check_header(ql_st_header *h, const unsigned char *data,
                              size_t len)
{
    for (size_t i = 0; i < h->count; i++) {
        QL_TRY(check_size(&h->entries[i]));
    }
    sort(h->entries, h->count, sizeof(*h->entries), by_offset);
    QL_TRY(check_layout(h, len));
    for (size_t i = 0; i < h->count; i++) {
        h->entries[i].tensor.data = data + h->entries[i].begin;
    }
    sort(h->entries, h->count, sizeof(*h->entries), by_name);
    sort(h->pairs, h->pair_count, sizeof(*h->pairs), by_key);
    return check_names(h);
}

static ql_status read_bytes(ql_safetensors *st, const unsigned char *data,
                            size_t len)
{
    size_t n = 0;

    QL_TRY(find_header(data, len, &n));
    data += LENGTH_BYTES;
    len -= LENGTH_BYTES;
    QL_TRY(ql_st_header_init(&st->header, data, n));
    return check_header(&st->header, data + n, len - n);
}

ql_status ql_safetensors_open_memory(ql_safetensors **out,
                                     const unsigned char *data, size_t len,
                                     const char *where)
{
    ql_status st;

    *out = ql_calloc(QL_TAG_TEXT, 1, sizeof(**out));
    if (!*out) {
        return QL_ENOMEM;
    }
    st = read_bytes(*out, data, len);
    if (st != QL_OK) {
        ql_safetensors_close(out);
        return ql_fail_prefix(st, "%s: ", where);
    }
    return QL_OK;
}

ql_status ql_safetensors_open(ql_safetensors **out, const char *path)
{
    ql_status st;
    ql_map map;

    *out = NULL;
    QL_TRY(ql_map_open(&map, path));
    st = ql_safetensors_open_memory(out, map.data, map.len, path);
    if (st != QL_OK) {
        ql_map_close(&map);
        return st;
    }
    (*out)->map = map;
    return QL_OK;
}

void ql_safetensors_close(ql_safetensors **st)
{
    if (*st) {
        ql_st_header_free(&(*st)->header);
        ql_map_close(&(*st)->map);
        ql_free(*st);
        *st = NULL;
    }
}

size_t ql_safetensors_count(const ql_safetensors *st)
{
    return st->header.count;
}

const ql_tensor *ql_safetensors_at(const ql_safetensors *st, size_t i)
{
    return &st->header.entries[i].tensor;
}

const ql_tensor *ql_safetensors_find(const ql_safetensors *st, const char *name)
{
    const ql_st_entry key = {.tensor.name = name};
    const ql_st_entry *found = NULL;

    if (st->header.count > 0) {
        found = bsearch(&key, st->header.entries, st->header.count, sizeof(key),
                        by_name);
    }
    return found ? &found->tensor : NULL;
}

const char *ql_safetensors_metadata(const ql_safetensors *st, const char *key)
{
    const ql_st_pair wanted = {.key = key};
    const ql_st_pair *found = NULL;

    if (st->header.pair_count > 0) {
        found = bsearch(&wanted, st->header.pairs, st->header.pair_count,
                        sizeof(wanted), by_key);
    }
    return found ? found->value : NULL;
}

void ql_safetensors_drop(const ql_safetensors *st, const ql_tensor *t)
{
    if (st->map.data) {
        ql_map_drop(t->data, t->bytes);
    }
}

bool ql_safetensors_maps(const ql_safetensors *st, const void *p)
{
    const uintptr_t start = (uintptr_t)st->map.data;

    return st->map.data && (uintptr_t)p - start < st->map.len;
}
