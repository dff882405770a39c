/* Reading a GGUF file. Nothing in it is trusted: a cursor hands out bytes only
 * as long as there are some, counts are held to the bytes that their items
 * need at least. */
#include "src/format/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/checked.h"
#include "src/base/fail.h"
#include "src/base/map.h"
#include "src/base/utf8_check.h"

enum {
    VERSION = 3,
    MIN_VALUE = 8 + 4 + 1,   /* bytes of the shortest value, */
    MIN_INFO = 8 + 4 + 8 + 4 /* and of the shortest tensor's entry */
};

struct ql_gguf {
    ql_map map;
    char *where;
    const unsigned char *begin; /* [len] */
    size_t len;
    const unsigned char *p, *end; /* the cursor */
    ql_gguf_value *values;
    size_t n_values;
    ql_gguf_tensor *tensors;
    size_t n_tensors;
    size_t align;
};

/* Bytes of a value of each kind; 0: it says itself how long it is. */
static const size_t kind_bytes[QL_GGUF_KINDS] = {
    [QL_GGUF_UINT8] = 1,   [QL_GGUF_INT8] = 1,    [QL_GGUF_UINT16] = 2,
    [QL_GGUF_INT16] = 2,   [QL_GGUF_UINT32] = 4,  [QL_GGUF_INT32] = 4,
    [QL_GGUF_FLOAT32] = 4, [QL_GGUF_BOOL] = 1,    [QL_GGUF_UINT64] = 8,
    [QL_GGUF_INT64] = 8,   [QL_GGUF_FLOAT64] = 8,
};

static ql_status take(ql_gguf *g, size_t n, const unsigned char **out)
{
    if (n > (size_t)(g->end - g->p)) {
        QL_FAIL(QL_EFORMAT, "%s: the file is truncated", g->where);
    }
    *out = g->p;
    g->p += n;
    return QL_OK;
}

static ql_status take_u32(ql_gguf *g, uint32_t *out)
{
    const unsigned char *p = NULL;

    *out = 0;
    QL_TRY(take(g, sizeof(*out), &p));
    memcpy(out, p, sizeof(*out));
    return QL_OK;
}

static ql_status take_u64(ql_gguf *g, uint64_t *out)
{
    const unsigned char *p = NULL;

    *out = 0;
    QL_TRY(take(g, sizeof(*out), &p));
    memcpy(out, p, sizeof(*out));
    return QL_OK;
}

/* A count of things that take at least so many bytes each. */
static ql_status take_count(ql_gguf *g, size_t each, size_t *out)
{
    uint64_t n = 0;

    *out = 0;
    QL_TRY(take_u64(g, &n));
    if (n > (size_t)(g->end - g->p) / each) {
        QL_FAIL(QL_EFORMAT, "%s: says to hold more than fits into the file",
                g->where);
    }
    *out = n;
    return QL_OK;
}

static ql_status take_text(ql_gguf *g, const unsigned char **s, size_t *n)
{
    QL_TRY(take_count(g, 1, n));
    return take(g, *n, s);
}

/* A name of our own: with a NUL, without one inside. Owned. */
static ql_status take_name(ql_gguf *g, char **out)
{
    const unsigned char *s = NULL;
    size_t n = 0;

    QL_TRY(take_text(g, &s, &n));
    if (n == 0 || memchr(s, 0, n) || !ql_utf8_valid((const char *)s, n)) {
        QL_FAIL(QL_EFORMAT, "%s: a name is empty or no text", g->where);
    }
    *out = ql_strndup(QL_TAG_TEXT, (const char *)s, n);
    return *out ? QL_OK : QL_ENOMEM;
}

static ql_status check_kind(const ql_gguf *g, const char *key, uint32_t kind)
{
    if (kind >= QL_GGUF_KINDS) {
        QL_FAIL(QL_EFORMAT, "%s: %s has the unknown type %u", g->where, key,
                kind);
    }
    return QL_OK;
}

static ql_status take_list(ql_gguf *g, ql_gguf_value *v)
{
    uint32_t item = 0;

    QL_TRY(take_u32(g, &item));
    QL_TRY(check_kind(g, v->key, item));
    v->item = (ql_gguf_kind)item;
    if (v->item == QL_GGUF_LIST) {
        QL_FAIL(QL_EUNSUPPORTED, "%s: %s is a list of lists", g->where, v->key);
    }
    QL_TRY(take_count(g, v->item == QL_GGUF_STRING ? 8 : kind_bytes[item],
                      &v->count));
    v->data = g->p;
    if (v->item != QL_GGUF_STRING) {
        return take(g, v->count * kind_bytes[item], &v->data);
    }
    for (size_t i = 0; i < v->count; i++) {
        const unsigned char *s;
        size_t n;

        QL_TRY(take_text(g, &s, &n));
    }
    return QL_OK;
}

static ql_status take_value(ql_gguf *g, ql_gguf_value *v)
{
    uint32_t kind = 0;

    QL_TRY(take_name(g, &v->key));
    g->n_values++;
    QL_TRY(take_u32(g, &kind));
    QL_TRY(check_kind(g, v->key, kind));
    v->kind = (ql_gguf_kind)kind;
    if (v->kind == QL_GGUF_LIST) {
        QL_TRY(take_list(g, v));
    } else if (v->kind == QL_GGUF_STRING) {
        QL_TRY(take_text(g, &v->data, &v->count));
    } else {
        QL_TRY(take(g, kind_bytes[kind], &v->data));
        if (v->kind == QL_GGUF_BOOL && v->data[0] > 1) {
            QL_FAIL(QL_EFORMAT, "%s: %s is neither true nor false", g->where,
                    v->key);
        }
    }
    v->bytes = (size_t)(g->p - v->data);
    return QL_OK;
}

static ql_status take_shape(ql_gguf *g, ql_gguf_tensor *t)
{
    uint32_t rank = 0;

    QL_TRY(take_u32(g, &rank));
    if (rank == 0 || rank > QL_GGUF_MAX_RANK) {
        QL_FAIL(QL_EFORMAT, "%s: tensor %s has %u dimensions", g->where,
                t->name, rank);
    }
    t->rank = rank;
    t->elements = 1;
    for (size_t i = 0; i < rank; i++) {
        uint64_t n = 0;

        QL_TRY(take_u64(g, &n));
        t->ne[i] = n;
        if (n == 0 || ql_mul_overflows(t->elements, n, &t->elements) ||
            t->elements > SIZE_MAX / 8) {
            QL_FAIL(QL_EFORMAT, "%s: tensor %s has an absurd size", g->where,
                    t->name);
        }
    }
    return QL_OK;
}

static ql_status take_tensor(ql_gguf *g, ql_gguf_tensor *t, size_t *expected)
{
    uint64_t offset = 0;
    uint32_t type = 0;

    QL_TRY(take_name(g, &t->name));
    g->n_tensors++;
    if (strlen(t->name) >= QL_GGUF_NAME_BYTES) {
        QL_FAIL(QL_EFORMAT, "%s: tensor name %s is too long", g->where,
                t->name);
    }
    QL_TRY(take_shape(g, t));
    QL_TRY(take_u32(g, &type));
    t->type = (ql_gguf_type)type;
    if (!ql_gguf_type_name(t->type)) {
        QL_FAIL(QL_EUNSUPPORTED, "%s: tensor %s has type %u, which is not read",
                g->where, t->name, type);
    }
    if (t->type == QL_GGUF_Q8_0 && t->ne[0] % QL_GGUF_Q8_BLOCK != 0) {
        QL_FAIL(QL_EFORMAT, "%s: tensor %s has rows of %zu, no multiple of %d",
                g->where, t->name, t->ne[0], QL_GGUF_Q8_BLOCK);
    }
    t->bytes = ql_gguf_bytes(t->type, t->elements);
    QL_TRY(take_u64(g, &offset));
    if (offset != *expected) {
        QL_FAIL(QL_EFORMAT, "%s: tensor %s begins at %llu, not at %zu",
                g->where, t->name, (unsigned long long)offset, *expected);
    }
    t->offset = offset;
    *expected += (t->bytes + g->align - 1) / g->align * g->align;
    if (*expected > g->len) {
        QL_FAIL(QL_EFORMAT, "%s: the file is truncated", g->where);
    }
    return QL_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* No name is there twice. */
static ql_status check_names(const ql_gguf *g, size_t n, bool tensors)
{
    const char **names = ql_alloc(QL_TAG_TEXT, n, sizeof(*names));
    ql_status st = names ? QL_OK : QL_ENOMEM;

    for (size_t i = 0; names && i < n; i++) {
        names[i] = tensors ? g->tensors[i].name : g->values[i].key;
    }
    if (names && n > 0) {
        qsort(names, n, sizeof(*names), by_text);
    }
    for (size_t i = 1; st == QL_OK && i < n; i++) {
        if (strcmp(names[i - 1], names[i]) == 0) {
            st = ql_fail(QL_EFORMAT, "%s: %s is there twice", g->where,
                         names[i]);
        }
    }
    ql_free(names);
    return st;
}

static ql_status take_alignment(ql_gguf *g)
{
    const ql_gguf_value *v = ql_gguf_find(g, "general.alignment");
    uint32_t align = QL_GGUF_ALIGN;

    if (v && v->kind == QL_GGUF_UINT32) {
        memcpy(&align, v->data, sizeof(align));
    }
    if ((v && v->kind != QL_GGUF_UINT32) || align < 8 ||
        (align & (align - 1)) != 0 || align > 1 << 20) {
        QL_FAIL(QL_EFORMAT, "%s: general.alignment is absurd", g->where);
    }
    g->align = align;
    return QL_OK;
}

/* The section of data begins at the next multiple of the alignment, and the
 * last tensor, padded, ends the file. */
static ql_status place_data(ql_gguf *g, size_t bytes)
{
    const size_t used = (size_t)(g->p - g->begin);
    const size_t start = (used + g->align - 1) / g->align * g->align;

    if (start > g->len || g->len - start != bytes) {
        QL_FAIL(QL_EFORMAT,
                "%s: %zu bytes, but header and tensors make %zu; the file is "
                "damaged",
                g->where, g->len, start + bytes);
    }
    for (size_t i = 0; i < g->n_tensors; i++) {
        g->tensors[i].data = g->begin + start + g->tensors[i].offset;
    }
    return QL_OK;
}

static ql_status read_all(ql_gguf *g)
{
    const unsigned char *magic = NULL;
    size_t bytes = 0;
    size_t tensors = 0;
    size_t values = 0;
    uint32_t version = 0;

    QL_TRY(take(g, 4, &magic));
    if (memcmp(magic, "GGUF", 4) != 0) {
        QL_FAIL(QL_EFORMAT, "%s: not a GGUF file", g->where);
    }
    QL_TRY(take_u32(g, &version));
    if (version != VERSION) {
        QL_FAIL(QL_EUNSUPPORTED, "%s: version %u of GGUF is not read, only %d",
                g->where, version, VERSION);
    }
    QL_TRY(take_count(g, MIN_INFO, &tensors));
    QL_TRY(take_count(g, MIN_VALUE, &values));
    g->values = ql_calloc(QL_TAG_TEXT, values, sizeof(*g->values));
    g->tensors = ql_calloc(QL_TAG_TEXT, tensors, sizeof(*g->tensors));
    if (!g->values || !g->tensors) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < values; i++) {
        QL_TRY(take_value(g, &g->values[i]));
    }
    QL_TRY(check_names(g, values, false));
    QL_TRY(take_alignment(g));
    for (size_t i = 0; i < tensors; i++) {
        QL_TRY(take_tensor(g, &g->tensors[i], &bytes));
    }
    QL_TRY(check_names(g, tensors, true));
    return place_data(g, bytes);
}

ql_status ql_gguf_open_memory(ql_gguf **out, const unsigned char *data,
                              size_t len, const char *where)
{
    ql_gguf *g = ql_calloc(QL_TAG_TEXT, 1, sizeof(*g));
    ql_status st = QL_ENOMEM;

    *out = g;
    if (!g) {
        return QL_ENOMEM;
    }
    g->begin = g->p = data;
    g->len = len;
    g->end = data + len;
    g->where = ql_strdup(QL_TAG_TEXT, where);
    if (g->where) {
        st = read_all(g);
    }
    if (st != QL_OK) {
        ql_gguf_close(out);
    }
    return st;
}

ql_status ql_gguf_open(ql_gguf **out, const char *path)
{
    static const unsigned char nothing[1];
    ql_map map;
    ql_status st;

    *out = NULL;
    QL_TRY(ql_map_open(&map, path));
    st = ql_gguf_open_memory(out, map.data ? map.data : nothing, map.len, path);
    if (st == QL_OK) {
        (*out)->map = map;
    } else {
        ql_map_close(&map);
    }
    return st;
}

void ql_gguf_close(ql_gguf **g)
{
    if (!*g) {
        return;
    }
    for (size_t i = 0; i < (*g)->n_values; i++) {
        ql_free((*g)->values[i].key);
    }
    for (size_t i = 0; i < (*g)->n_tensors; i++) {
        ql_free((*g)->tensors[i].name);
    }
    ql_free((*g)->values);
    ql_free((*g)->tensors);
    ql_free((*g)->where);
    ql_map_close(&(*g)->map);
    ql_free(*g);
    *g = NULL;
}

size_t ql_gguf_values(const ql_gguf *g)
{
    return g->n_values;
}

const ql_gguf_value *ql_gguf_value_at(const ql_gguf *g, size_t i)
{
    return &g->values[i];
}

const ql_gguf_value *ql_gguf_find(const ql_gguf *g, const char *key)
{
    for (size_t i = 0; i < g->n_values; i++) {
        if (strcmp(g->values[i].key, key) == 0) {
            return &g->values[i];
        }
    }
    return NULL;
}

size_t ql_gguf_tensors(const ql_gguf *g)
{
    return g->n_tensors;
}

const ql_gguf_tensor *ql_gguf_tensor_at(const ql_gguf *g, size_t i)
{
    return &g->tensors[i];
}
