#include <assert.h>
#include <string.h>

#include <zlib.h>

#include "src/base/alloc.h"
#include "src/base/buf.h"
#include "src/base/checked.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/map.h"
#include "src/format/gguf.h"

enum {
    MAX_HEADER = 1 << 30,
    VERSION = 3
};

struct ql_gguf_writer {
    ql_outfile file;
    ql_buf keys;   /* each with its NUL, to find one that is given twice */
    ql_buf values; /* as the file has them */
    ql_buf infos;  /* of the tensors, likewise */
    uint64_t n_values, n_tensors;
    uint64_t *sizes; /* [n_tensors] bytes */
    size_t cap;
    uint64_t data_bytes; /* of all tensors, padded */
    size_t at;           /* tensor at hand, and the bytes it has left */
    uint64_t left;
    uLong crc; /* of the bytes of all tensors so far */
    bool begun;
};

ql_status ql_gguf_writer_open(ql_gguf_writer **out, const char *path)
{
    ql_gguf_writer *w = ql_calloc(QL_TAG_TEXT, 1, sizeof(*w));
    char *real = NULL;
    ql_status st;

    *out = w;
    if (!w) {
        return QL_ENOMEM;
    }
    w->file.fd = -1;
    ql_buf_init(&w->keys, QL_TAG_TEXT, MAX_HEADER);
    ql_buf_init(&w->values, QL_TAG_TEXT, MAX_HEADER);
    ql_buf_init(&w->infos, QL_TAG_TEXT, MAX_HEADER);
    QL_TRY_DONE(ql_path_follow(path, &real));
    QL_TRY_DONE(ql_dir_make_parent(real));
    st = ql_outfile_init(&w->file, real);
done:
    if (st != QL_OK) {
        ql_gguf_writer_close(out);
    }
    ql_free(real);
    return st;
}

void ql_gguf_writer_close(ql_gguf_writer **w)
{
    if (*w) {
        ql_buf_free(&(*w)->keys);
        ql_buf_free(&(*w)->values);
        ql_buf_free(&(*w)->infos);
        ql_free((*w)->sizes);
        ql_outfile_free(&(*w)->file);
        ql_free(*w);
    }
    *w = NULL;
}

static ql_status put_u32(ql_buf *b, uint32_t v)
{
    return ql_buf_append(b, &v, sizeof(v));
}

static ql_status put_u64(ql_buf *b, uint64_t v)
{
    return ql_buf_append(b, &v, sizeof(v));
}

static ql_status put_text(ql_buf *b, const char *s, size_t n)
{
    QL_TRY(put_u64(b, n));
    return n > 0 ? ql_buf_append(b, s, n) : QL_OK;
}

static bool has_key(const ql_gguf_writer *w, const char *key)
{
    for (size_t at = 0; at < w->keys.len; at += strlen(w->keys.data + at) + 1) {
        if (strcmp(w->keys.data + at, key) == 0) {
            return true;
        }
    }
    return false;
}

static ql_status put_key(ql_gguf_writer *w, const char *key, ql_gguf_kind kind)
{
    assert(!w->begun);
    if (has_key(w, key)) {
        QL_FAIL(QL_EINVAL, "%s: %s is given twice", w->file.path, key);
    }
    QL_TRY(ql_buf_append(&w->keys, key, strlen(key) + 1));
    QL_TRY(put_text(&w->values, key, strlen(key)));
    w->n_values++;
    return put_u32(&w->values, kind);
}

ql_status ql_gguf_put_string(ql_gguf_writer *w, const char *key, const char *s)
{
    QL_TRY(put_key(w, key, QL_GGUF_STRING));
    return put_text(&w->values, s, strlen(s));
}

ql_status ql_gguf_put_u32(ql_gguf_writer *w, const char *key, size_t v)
{
    if (v > UINT32_MAX) {
        QL_FAIL(QL_EUNSUPPORTED, "%s: %zu is more than %s can say",
                w->file.path, v, key);
    }
    QL_TRY(put_key(w, key, QL_GGUF_UINT32));
    return put_u32(&w->values, (uint32_t)v);
}

ql_status ql_gguf_put_f32(ql_gguf_writer *w, const char *key, double v)
{
    const float f = (float)v;

    QL_TRY(put_key(w, key, QL_GGUF_FLOAT32));
    return ql_buf_append(&w->values, &f, sizeof(f));
}

ql_status ql_gguf_put_bool(ql_gguf_writer *w, const char *key, bool v)
{
    QL_TRY(put_key(w, key, QL_GGUF_BOOL));
    return ql_buf_putc(&w->values, v ? 1 : 0);
}

ql_status ql_gguf_put_list(ql_gguf_writer *w, const char *key,
                           ql_gguf_kind kind, size_t n)
{
    QL_TRY(put_key(w, key, QL_GGUF_LIST));
    QL_TRY(put_u32(&w->values, kind));
    return put_u64(&w->values, n);
}

ql_status ql_gguf_item_string(ql_gguf_writer *w, const char *s, size_t n)
{
    return put_text(&w->values, s, n);
}

ql_status ql_gguf_item_i32(ql_gguf_writer *w, int32_t v)
{
    return ql_buf_append(&w->values, &v, sizeof(v));
}

ql_status ql_gguf_item_f32(ql_gguf_writer *w, float v)
{
    return ql_buf_append(&w->values, &v, sizeof(v));
}

static uint64_t padded(uint64_t n)
{
    return (n + QL_GGUF_ALIGN - 1) / QL_GGUF_ALIGN * QL_GGUF_ALIGN;
}

static ql_status grow(ql_gguf_writer *w)
{
    const size_t cap = w->cap ? 2 * w->cap : 64;
    uint64_t *sizes;

    if (w->n_tensors < w->cap) {
        return QL_OK;
    }
    sizes = ql_realloc(QL_TAG_TEXT, w->sizes, cap, sizeof(*sizes));
    if (!sizes) {
        return QL_ENOMEM;
    }
    w->sizes = sizes;
    w->cap = cap;
    return QL_OK;
}

ql_status ql_gguf_writer_add(ql_gguf_writer *w, const char *name,
                             ql_gguf_type type, const size_t *ne, size_t rank)
{
    size_t n = 1;

    assert(!w->begun && rank > 0 && rank <= QL_GGUF_MAX_RANK);
    if (strlen(name) >= QL_GGUF_NAME_BYTES) {
        QL_FAIL(QL_EUNSUPPORTED, "tensor name %s is too long for GGUF", name);
    }
    QL_TRY(put_text(&w->infos, name, strlen(name)));
    QL_TRY(put_u32(&w->infos, (uint32_t)rank));
    for (size_t i = 0; i < rank; i++) {
        if (ql_mul_overflows(n, ne[i], &n) || n > SIZE_MAX / 8) {
            QL_FAIL(QL_EINVAL, "tensor %s is too large", name);
        }
        QL_TRY(put_u64(&w->infos, ne[i]));
    }
    QL_TRY(put_u32(&w->infos, type));
    QL_TRY(put_u64(&w->infos, w->data_bytes));
    QL_TRY(grow(w));
    w->sizes[w->n_tensors] = ql_gguf_bytes(type, n);
    w->data_bytes += padded(w->sizes[w->n_tensors]);
    w->n_tensors++;
    return QL_OK;
}

/* Magic, version and the two counts come before the values. */
static uint64_t header_bytes(const ql_gguf_writer *w)
{
    return padded(24 + w->values.len + w->infos.len);
}

uint64_t ql_gguf_writer_size(const ql_gguf_writer *w)
{
    return header_bytes(w) + w->data_bytes;
}

static ql_status pad(ql_gguf_writer *w)
{
    static const char zeros[QL_GGUF_ALIGN];

    return ql_outfile_write(&w->file, zeros,
                            padded(w->file.written) - w->file.written);
}

ql_status ql_gguf_writer_begin(ql_gguf_writer *w)
{
    const uint32_t version = VERSION;

    assert(!w->begun);
    w->begun = true;
    QL_TRY(ql_disk_need(w->file.path, ql_gguf_writer_size(w)));
    QL_TRY(ql_outfile_write(&w->file, "GGUF", 4));
    QL_TRY(ql_outfile_write(&w->file, &version, sizeof(version)));
    QL_TRY(ql_outfile_write(&w->file, &w->n_tensors, sizeof(w->n_tensors)));
    QL_TRY(ql_outfile_write(&w->file, &w->n_values, sizeof(w->n_values)));
    QL_TRY(ql_outfile_write(&w->file, w->values.data, w->values.len));
    QL_TRY(ql_outfile_write(&w->file, w->infos.data, w->infos.len));
    w->left = w->n_tensors > 0 ? w->sizes[0] : 0;
    return pad(w);
}

ql_status ql_gguf_writer_write(ql_gguf_writer *w, const void *data, size_t n)
{
    assert(w->begun && w->at < w->n_tensors && n <= w->left);
    QL_TRY(ql_outfile_write(&w->file, data, n));
    w->crc = crc32_z(w->crc, data, n);
    w->left -= n;
    while (w->left == 0 && w->at < w->n_tensors) {
        QL_TRY(pad(w));
        w->at++;
        w->left = w->at < w->n_tensors ? w->sizes[w->at] : 0;
    }
    return QL_OK;
}

/* The file as it is read: the same tensors, byte by byte. */
static ql_status verify(const ql_gguf_writer *w)
{
    ql_gguf *g = NULL;
    uLong crc = 0;

    QL_TRY(ql_gguf_open(&g, w->file.part));
    for (size_t i = 0; i < ql_gguf_tensors(g); i++) {
        const ql_gguf_tensor *t = ql_gguf_tensor_at(g, i);

        crc = crc32_z(crc, t->data, t->bytes);
        ql_map_drop(t->data, t->bytes);
    }
    ql_gguf_close(&g);
    if (crc != w->crc) {
        QL_FAIL(QL_EMISMATCH,
                "%s: what was read back is not what was written; check the "
                "disk and try again",
                w->file.path);
    }
    return QL_OK;
}

ql_status ql_gguf_writer_commit(ql_gguf_writer *w)
{
    if (!w->begun || w->at < w->n_tensors) {
        QL_FAIL(QL_EINVAL, "%s: bytes of a tensor are missing", w->file.path);
    }
    QL_TRY(verify(w));
    return ql_outfile_commit(&w->file);
}
