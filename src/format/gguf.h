/* One GGUF file, version 3: written in order, piece by piece, or read by
 * mapping. Source: llama.cpp, gguf-py/gguf/constants.py, gguf_writer.py,
 * ggml/src/gguf.cpp. */
#ifndef QL_FORMAT_GGUF_H
#define QL_FORMAT_GGUF_H

#include "qlora/status.h"

enum {
    QL_GGUF_ALIGN = 32,      /* of each tensor's bytes */
    QL_GGUF_MAX_RANK = 4,    /* of a tensor */
    QL_GGUF_NAME_BYTES = 64, /* of a tensor's name, the NUL included */
    QL_GGUF_Q8_BLOCK = 32    /* elements of Q8_0 under one scale */
};

/* Types of tensors, as the format numbers them. */
typedef enum ql_gguf_type {
    QL_GGUF_F32 = 0,
    QL_GGUF_F16 = 1,
    QL_GGUF_Q8_0 = 8, /* 32 elements: an f16 scale and as many int8 */
    QL_GGUF_BF16 = 30
} ql_gguf_type;

/* Types of values, likewise. */
typedef enum ql_gguf_kind {
    QL_GGUF_UINT8,
    QL_GGUF_INT8,
    QL_GGUF_UINT16,
    QL_GGUF_INT16,
    QL_GGUF_UINT32,
    QL_GGUF_INT32,
    QL_GGUF_FLOAT32,
    QL_GGUF_BOOL,
    QL_GGUF_STRING,
    QL_GGUF_LIST,
    QL_GGUF_UINT64,
    QL_GGUF_INT64,
    QL_GGUF_FLOAT64,
    QL_GGUF_KINDS
} ql_gguf_kind;

/* "F32" and the like; NULL for a type that we do not know. */
const char *ql_gguf_type_name(ql_gguf_type type);

/* Bytes of n elements of a row; n is a multiple of the type's block. */
size_t ql_gguf_bytes(ql_gguf_type type, size_t n);

/* n floats as elements of a type, to the bit as gguf-py makes them. out
 * [ql_gguf_bytes(type, n)]. False when one of them is beyond the type. */
bool ql_gguf_pack(ql_gguf_type type, void *out, const float *in, size_t n);

/* A file under construction: first all values, then all tensors are
 * announced, then the header is written, then the bytes of the tensors in the
 * same order. */
typedef struct ql_gguf_writer ql_gguf_writer;

/* A symbolic link is followed. Errors: QL_EINVAL for one that leads nowhere,
 * QL_EIO, QL_ENOTFOUND, QL_ENOSPACE, QL_ENOMEM. */
ql_status ql_gguf_writer_open(ql_gguf_writer **out, const char *path);

/* Removes what was written unless committed. */
void ql_gguf_writer_close(ql_gguf_writer **w);

/* Values, in the order of the file. Errors: QL_EINVAL for a key that is given
 * twice, QL_ENOMEM, QL_EFORMAT for more than a gigabyte. */
ql_status ql_gguf_put_string(ql_gguf_writer *w, const char *key, const char *s);
ql_status ql_gguf_put_u32(ql_gguf_writer *w, const char *key, size_t v);
ql_status ql_gguf_put_f32(ql_gguf_writer *w, const char *key, double v);
ql_status ql_gguf_put_bool(ql_gguf_writer *w, const char *key, bool v);

/* A list of n items of a kind, which must follow by the calls below. */
ql_status ql_gguf_put_list(ql_gguf_writer *w, const char *key,
                           ql_gguf_kind kind, size_t n);
ql_status ql_gguf_item_string(ql_gguf_writer *w, const char *s, size_t n);
ql_status ql_gguf_item_i32(ql_gguf_writer *w, int32_t v);
ql_status ql_gguf_item_f32(ql_gguf_writer *w, float v);

/* Announces a tensor; ne[rank]: sizes, the fastest first, as the format has
 * them. Errors: QL_EUNSUPPORTED for a name that is too long, QL_EINVAL,
 * QL_ENOMEM. */
ql_status ql_gguf_writer_add(ql_gguf_writer *w, const char *name,
                             ql_gguf_type type, const size_t *ne, size_t rank);

/* Bytes of the whole file, once all is announced. */
uint64_t ql_gguf_writer_size(const ql_gguf_writer *w);

/* Checks the free disk and writes the header. Errors: QL_ENOSPACE, QL_EIO. */
ql_status ql_gguf_writer_begin(ql_gguf_writer *w);

/* The next n bytes of the tensor at hand, never more than it has left.
 * Errors: QL_EIO, QL_ENOSPACE. */
ql_status ql_gguf_writer_write(ql_gguf_writer *w, const void *data, size_t n);

/* Reads the file back, which must be what was written, flushes it and renames
 * it into place. Errors: QL_EINVAL when bytes are missing, QL_EMISMATCH,
 * QL_EIO, QL_ENOSPACE. */
ql_status ql_gguf_writer_commit(ql_gguf_writer *w);

/* A value of a file that is read. */
typedef struct ql_gguf_value {
    char *key; /* NUL-terminated */
    ql_gguf_kind kind;
    ql_gguf_kind item;         /* of a list */
    size_t count;              /* items of a list; bytes of a string */
    const unsigned char *data; /* of the value, of a string's bytes, of a list's
                                  first item; mapped; any alignment */
    size_t bytes;              /* all of data */
} ql_gguf_value;

typedef struct ql_gguf_tensor {
    char *name;
    ql_gguf_type type;
    size_t rank, ne[QL_GGUF_MAX_RANK];
    size_t elements, bytes;
    size_t offset; /* in the section of data */
    const unsigned char *data;
} ql_gguf_tensor;

typedef struct ql_gguf ql_gguf;

/* Maps and checks a file: every length and offset is held to the file, and
 * tensors follow each other without holes up to its end. Errors:
 * QL_ENOTFOUND, QL_EIO, QL_ENOMEM; QL_EFORMAT naming what is wrong;
 * QL_EUNSUPPORTED for another version or type of tensor. */
ql_status ql_gguf_open(ql_gguf **out, const char *path);

/* The same for bytes in memory, which are borrowed and must outlive *out.
 * where: what the errors name. */
ql_status ql_gguf_open_memory(ql_gguf **out, const unsigned char *data,
                              size_t len, const char *where);
void ql_gguf_close(ql_gguf **g);

/* In the order of the file. Borrowed. */
size_t ql_gguf_values(const ql_gguf *g);
const ql_gguf_value *ql_gguf_value_at(const ql_gguf *g, size_t i);
const ql_gguf_value *ql_gguf_find(const ql_gguf *g, const char *key);
size_t ql_gguf_tensors(const ql_gguf *g);
const ql_gguf_tensor *ql_gguf_tensor_at(const ql_gguf *g, size_t i);

#endif
