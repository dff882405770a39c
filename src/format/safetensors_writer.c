/* Writing a safetensors file to the byte as the reference crate does: tensors
 * by type, largest first, then by name; compact JSON padded with blanks to a
 * multiple of 8, so that each tensor lies aligned to its elements. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/checked.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/quote.h"
#include "src/base/utf8_check.h"
#include "src/format/safetensors.h"

static const char metadata_name[] = "__metadata__";

typedef struct item {
    char *name;
    ql_dtype dtype;
    size_t rank;
    size_t shape[QL_MAX_RANK];
    size_t bytes;
    size_t begin; /* of its bytes in the data section */
    bool begun;   /* something was handed over */
    size_t done;  /* bytes that were */
} item;

typedef struct pair {
    char *key;
    char *value;
} pair;

struct ql_safetensors_writer {
    ql_outfile file;
    item *items;
    size_t count;
    size_t cap;
    pair *pairs;
    size_t pair_count;
    item **index;      /* the items by name, once begun */
    size_t data_bytes; /* of the data section */
    size_t data_start; /* where it starts in the file */
    bool begun;
    bool sparse; /* tensors may be left out */
};

ql_status ql_safetensors_writer_open(ql_safetensors_writer **out,
                                     const char *path)
{
    ql_status st;

    *out = ql_calloc(QL_TAG_TEXT, 1, sizeof(**out));
    if (!*out) {
        return QL_ENOMEM;
    }
    (*out)->file.fd = -1;
    st = ql_outfile_init(&(*out)->file, path);
    if (st != QL_OK) {
        ql_safetensors_writer_close(out);
    }
    return st;
}

void ql_safetensors_writer_close(ql_safetensors_writer **w)
{
    if (!*w) {
        return;
    }
    for (size_t i = 0; i < (*w)->count; i++) {
        ql_free((*w)->items[i].name);
    }
    for (size_t i = 0; i < (*w)->pair_count; i++) {
        ql_free((*w)->pairs[i].key);
        ql_free((*w)->pairs[i].value);
    }
    ql_free((*w)->items);
    ql_free((*w)->index);
    ql_free((*w)->pairs);
    ql_outfile_free(&(*w)->file);
    ql_free(*w);
    *w = NULL;
}

static ql_status need_utf8(const ql_safetensors_writer *w, const char *text)
{
    if (!ql_utf8_valid(text, strlen(text))) {
        QL_FAIL(QL_EINVAL, "%s: '%s' is not UTF-8 text", w->file.path, text);
    }
    return QL_OK;
}

ql_status ql_safetensors_writer_metadata(ql_safetensors_writer *w,
                                         const char *key, const char *value)
{
    pair *pairs;
    pair p;

    assert(!w->begun);
    QL_TRY(need_utf8(w, key));
    QL_TRY(need_utf8(w, value));
    for (size_t i = 0; i < w->pair_count; i++) {
        if (strcmp(w->pairs[i].key, key) == 0) {
            QL_FAIL(QL_EINVAL, "%s: metadata '%s' is given twice", w->file.path,
                    key);
        }
    }
    pairs = ql_realloc(QL_TAG_TEXT, w->pairs, w->pair_count + 1, sizeof(p));
    if (!pairs) {
        return QL_ENOMEM;
    }
    w->pairs = pairs;
    p.key = ql_strdup(QL_TAG_TEXT, key);
    p.value = ql_strdup(QL_TAG_TEXT, value);
    if (!p.key || !p.value) {
        ql_free(p.key);
        ql_free(p.value);
        return QL_ENOMEM;
    }
    w->pairs[w->pair_count++] = p;
    return QL_OK;
}

static ql_status grow(ql_safetensors_writer *w)
{
    const size_t cap = w->cap ? w->cap * 2 : 16;
    item *items;

    if (w->count < w->cap) {
        return QL_OK;
    }
    items = ql_realloc(QL_TAG_TEXT, w->items, cap, sizeof(*items));
    if (!items) {
        return QL_ENOMEM;
    }
    w->items = items;
    w->cap = cap;
    return QL_OK;
}

/* What the format, or our own reader, would not accept is not written. */
static ql_status check_item(const ql_safetensors_writer *w, const char *name,
                            item *t)
{
    size_t elements;

    QL_TRY(need_utf8(w, name));
    if (strcmp(name, metadata_name) == 0) {
        QL_FAIL(QL_EINVAL, "%s: a tensor cannot be called '%s'", w->file.path,
                name);
    }
    if (ql_shape_bytes(t->dtype, t->shape, t->rank, &elements, &t->bytes) !=
        QL_OK) {
        return ql_fail_prefix(QL_EINVAL, "%s: tensor '%s': ", w->file.path,
                              name);
    }
    return QL_OK;
}

ql_status ql_safetensors_writer_add(ql_safetensors_writer *w, const char *name,
                                    ql_dtype dtype, const size_t *shape,
                                    size_t rank)
{
    item t = {.dtype = dtype, .rank = rank};

    assert(!w->begun);
    if (rank > QL_MAX_RANK) {
        QL_FAIL(QL_EINVAL,
                "%s: tensor '%s': %zu dimensions, but at most %d are supported",
                w->file.path, name, rank, QL_MAX_RANK);
    }
    if (rank > 0) {
        memcpy(t.shape, shape, rank * sizeof(*shape));
    }
    QL_TRY(check_item(w, name, &t));
    QL_TRY(grow(w));
    t.name = ql_strdup(QL_TAG_TEXT, name);
    if (!t.name) {
        return QL_ENOMEM;
    }
    w->items[w->count++] = t;
    return QL_OK;
}

static int by_name(const void *a, const void *b)
{
    const item *l = a;
    const item *r = b;

    return strcmp(l->name, r->name);
}

static int by_type_and_name(const void *a, const void *b)
{
    const item *l = a;
    const item *r = b;

    return l->dtype != r->dtype ? (int)r->dtype - (int)l->dtype : by_name(a, b);
}

static int by_index(const void *a, const void *b)
{
    return by_name(*(item *const *)a, *(item *const *)b);
}

static ql_status sort_items(ql_safetensors_writer *w)
{
    if (w->count == 0) {
        return QL_OK;
    }
    qsort(w->items, w->count, sizeof(*w->items), by_name);
    for (size_t i = 1; i < w->count; i++) {
        if (by_name(&w->items[i - 1], &w->items[i]) == 0) {
            QL_FAIL(QL_EINVAL, "%s: tensor '%s' is announced twice",
                    w->file.path, w->items[i].name);
        }
    }
    qsort(w->items, w->count, sizeof(*w->items), by_type_and_name);
    w->index = ql_alloc(QL_TAG_TEXT, w->count, sizeof(*w->index));
    if (!w->index) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < w->count; i++) {
        w->index[i] = &w->items[i];
    }
    qsort(w->index, w->count, sizeof(*w->index), by_index);
    return QL_OK;
}

static ql_status put_metadata(const ql_safetensors_writer *w, ql_buf *b)
{
    QL_TRY(ql_quote_utf8(b, metadata_name));
    for (size_t i = 0; i < w->pair_count; i++) {
        QL_TRY(ql_buf_puts(b, i ? "," : ":{"));
        QL_TRY(ql_quote_utf8(b, w->pairs[i].key));
        QL_TRY(ql_buf_putc(b, ':'));
        QL_TRY(ql_quote_utf8(b, w->pairs[i].value));
    }
    return ql_buf_putc(b, '}');
}

static ql_status put_item(const item *t, ql_buf *b)
{
    QL_TRY(ql_quote_utf8(b, t->name));
    QL_TRY(ql_buf_printf(b, ":{\"dtype\":\"%s\",\"shape\":[",
                         ql_dtype_name(t->dtype)));
    for (size_t i = 0; i < t->rank; i++) {
        QL_TRY(ql_buf_printf(b, "%s%zu", i ? "," : "", t->shape[i]));
    }
    return ql_buf_printf(b, "],\"data_offsets\":[%zu,%zu]}", t->begin,
                         t->begin + t->bytes);
}

/* The header, and where each tensor's bytes begin. */
static ql_status put_header(ql_safetensors_writer *w, ql_buf *b)
{
    QL_TRY(ql_buf_putc(b, '{'));
    if (w->pair_count > 0) {
        QL_TRY(put_metadata(w, b));
    }
    for (size_t i = 0; i < w->count; i++) {
        size_t end;

        if (ql_add_overflows(w->data_bytes, w->items[i].bytes, &end)) {
            QL_FAIL(QL_EINVAL, "more bytes than can be addressed");
        }
        if (i > 0 || w->pair_count > 0) {
            QL_TRY(ql_buf_putc(b, ','));
        }
        w->items[i].begin = w->data_bytes;
        QL_TRY(put_item(&w->items[i], b));
        w->data_bytes = end;
    }
    QL_TRY(ql_buf_putc(b, '}'));
    while (b->len % 8 != 0) {
        QL_TRY(ql_buf_putc(b, ' '));
    }
    return QL_OK;
}

ql_status ql_safetensors_writer_begin(ql_safetensors_writer *w)
{
    ql_status st;
    ql_buf header;
    uint64_t n;

    assert(!w->begun);
    w->begun = true;
    ql_buf_init(&header, QL_TAG_TEXT, QL_MAX_HEADER_BYTES);
    QL_TRY_DONE(sort_items(w));
    st = put_header(w, &header);
    if (st != QL_OK) {
        ql_fail_prefix(st, "%s: ", w->file.path);
        goto done;
    }
    n = header.len;
    QL_TRY_DONE(ql_disk_need(w->file.path,
                             sizeof(n) + n + (w->sparse ? 0 : w->data_bytes)));
    QL_TRY_DONE(ql_outfile_write(&w->file, &n, sizeof(n)));
    QL_TRY_DONE(ql_outfile_write(&w->file, header.data, header.len));
    w->data_start = sizeof(n) + header.len;
done:
    ql_buf_free(&header);
    return st;
}

static int by_key(const void *key, const void *entry)
{
    return strcmp(key, (*(item *const *)entry)->name);
}

/* The item of this name, NULL if none was announced. */
static item *find_item(const ql_safetensors_writer *w, const char *name)
{
    item **found =
        w->count ? bsearch(name, w->index, w->count, sizeof(*w->index), by_key)
                 : NULL;

    return found ? *found : NULL;
}

static ql_status need_item(item **out, const ql_safetensors_writer *w,
                           const char *name)
{
    assert(w->begun);
    *out = find_item(w, name);
    if (!*out) {
        QL_FAIL(QL_ENOTFOUND, "%s: tensor '%s' was not announced", w->file.path,
                name);
    }
    return QL_OK;
}

static ql_status append(ql_safetensors_writer *w, item *t, const void *data,
                        size_t n)
{
    if (n > t->bytes - t->done || (n == 0 && t->begun)) {
        QL_FAIL(QL_EINVAL, "%s: tensor '%s' is written twice", w->file.path,
                t->name);
    }
    t->begun = true;
    QL_TRY(ql_outfile_write_at(&w->file, w->data_start + t->begin + t->done,
                               data, n));
    t->done += n;
    return QL_OK;
}

ql_status ql_safetensors_writer_append(ql_safetensors_writer *w,
                                       const char *name, const void *data,
                                       size_t n)
{
    item *t;

    QL_TRY(need_item(&t, w, name));
    return append(w, t, data, n);
}

ql_status ql_safetensors_writer_put(ql_safetensors_writer *w, const char *name,
                                    const void *data)
{
    item *t;

    QL_TRY(need_item(&t, w, name));
    return append(w, t, data, t->bytes);
}

void ql_safetensors_writer_sparse(ql_safetensors_writer *w)
{
    assert(!w->begun);
    w->sparse = true;
}

/* Gives the file its length where the last tensor was left out. */
static ql_status end_file(ql_safetensors_writer *w)
{
    const unsigned char zero = 0;

    if (w->data_bytes == 0 || w->items[w->count - 1].begun) {
        return QL_OK;
    }
    return ql_outfile_write_at(&w->file, w->data_start + w->data_bytes - 1,
                               &zero, 1);
}

ql_status ql_safetensors_writer_commit(ql_safetensors_writer *w)
{
    assert(w->begun);
    for (size_t i = 0; i < w->count; i++) {
        const item *t = &w->items[i];

        if (t->begun ? t->done < t->bytes : !w->sparse) {
            QL_FAIL(QL_EINVAL, "%s: tensor '%s' is missing", w->file.path,
                    t->name);
        }
    }
    QL_TRY(end_file(w));
    return ql_outfile_commit(&w->file);
}
