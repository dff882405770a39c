/* One safetensors file: read by mapping, or written to the byte as the
 * reference crate writes it. Source: safetensors README.md, tensor.rs. */
#ifndef QL_FORMAT_SAFETENSORS_H
#define QL_FORMAT_SAFETENSORS_H

#include "qlora/status.h"

enum {
    QL_MAX_RANK = 8,      /* of a tensor; the format itself has no limit */
    QL_SHAPE_BYTES = 256, /* room for a shape as text */
    QL_MAX_HEADER_BYTES = 100 * 1000 * 1000
};

/* A tensor in a file. */
typedef struct ql_tensor {
    const char *name; /* NUL-terminated UTF-8 */
    ql_dtype dtype;
    size_t rank;
    size_t shape[QL_MAX_RANK]; /* outermost first */
    size_t elements;           /* product of shape; 1 for rank 0 */
    size_t bytes;
    const unsigned char *data; /* mapped; any alignment; NULL: it is made of
                                  others (ql_shards_join) */
} ql_tensor;

/* Name ("BF16") of a dtype, the dtype of a name (QL_DTYPE_COUNT if unknown),
 * and bits per element. Borrowed, constant. */
const char *ql_dtype_name(ql_dtype dtype);
ql_dtype ql_dtype_parse(const char *name);
size_t ql_dtype_bits(ql_dtype dtype);

/* Elements and bytes of a tensor. Errors: QL_EFORMAT when a product overflows
 * or the elements do not fill whole bytes. */
ql_status ql_shape_bytes(ql_dtype dtype, const size_t *shape, size_t rank,
                         size_t *elements, size_t *bytes);

/* A shape for a sentence: "[2, 4]". text [QL_SHAPE_BYTES]; returns text. */
const char *ql_shape_print(char *text, const size_t *shape, size_t rank);

/* Elements as f32: F32, F16, BF16, F64 and the integer types; values beyond
 * f32 are rounded to nearest. out [t->elements]. Errors: QL_EUNSUPPORTED for
 * other types, naming tensor and type. */
ql_status ql_tensor_to_f32(float *out, const ql_tensor *t);

/* The same of a matrix, transposed, with no copy of it. out [t->elements]. */
ql_status ql_tensor_turn(float *out, const ql_tensor *t);

/* Elements [first, first + n) of a tensor as one of their own, of rank 1. */
ql_tensor ql_tensor_slice(const ql_tensor *t, size_t first, size_t n);

/* n floats as elements of a type: F32, BF16 or F16, rounded to nearest, ties
 * to even. False when one of them is beyond the type's range. */
bool ql_floats_to(ql_dtype dtype, void *out, const float *in, size_t n);

typedef struct ql_safetensors ql_safetensors;

/* Maps and checks a file: every rule of the format is enforced before the
 * first tensor is handed out. Errors: QL_ENOTFOUND, QL_EIO, QL_ENOMEM;
 * QL_EFORMAT naming file, tensor and rule; QL_EUNSUPPORTED for more than
 * QL_MAX_RANK dimensions. */
ql_status ql_safetensors_open(ql_safetensors **out, const char *path);

/* The same for bytes in memory, which are borrowed and must outlive *out.
 * where: what the errors name. */
ql_status ql_safetensors_open_memory(ql_safetensors **out,
                                     const unsigned char *data, size_t len,
                                     const char *where);
void ql_safetensors_close(ql_safetensors **st);

/* Tensors in order of name. Borrowed. */
size_t ql_safetensors_count(const ql_safetensors *st);
const ql_tensor *ql_safetensors_at(const ql_safetensors *st, size_t i);

/* The tensor of this name, NULL if there is none. Borrowed. */
const ql_tensor *ql_safetensors_find(const ql_safetensors *st,
                                     const char *name);

/* Value of a key of __metadata__, NULL if there is none. Borrowed. */
const char *ql_safetensors_metadata(const ql_safetensors *st, const char *key);

/* Tells the kernel that the tensor's bytes will not be needed soon. */
void ql_safetensors_drop(const ql_safetensors *st, const ql_tensor *t);

/* Whether p lies in the mapped file. */
bool ql_safetensors_maps(const ql_safetensors *st, const void *p);

/* A file under construction. First every tensor is announced, then the header
 * is written, then the bytes are handed over. */
typedef struct ql_safetensors_writer ql_safetensors_writer;

ql_status ql_safetensors_writer_open(ql_safetensors_writer **out,
                                     const char *path);

/* Removes what was written unless committed. */
void ql_safetensors_writer_close(ql_safetensors_writer **w);

/* Adds "key": "value" to __metadata__; pairs keep the order in which they
 * were added. Errors: QL_EINVAL for a key given twice or text that is not
 * UTF-8, QL_ENOMEM. */
ql_status ql_safetensors_writer_metadata(ql_safetensors_writer *w,
                                         const char *key, const char *value);

/* Announces a tensor. Errors: QL_EINVAL for a name that is not UTF-8 or is
 * "__metadata__", and for a shape that cannot be stored; QL_ENOMEM. */
ql_status ql_safetensors_writer_add(ql_safetensors_writer *w, const char *name,
                                    ql_dtype dtype, const size_t *shape,
                                    size_t rank);

/* Sorts as the crate does (by type, largest first, then by name) and writes
 * the header; checks the free disk. Errors: QL_EINVAL for a name given twice,
 * QL_ENOSPACE, QL_EIO, QL_ENOMEM; QL_EFORMAT for a header beyond
 * QL_MAX_HEADER_BYTES. */
ql_status ql_safetensors_writer_begin(ql_safetensors_writer *w);

/* Writes all bytes of a tensor at its place; tensors may come in any order.
 * Errors: QL_ENOTFOUND for a name not announced, QL_EINVAL for one that was
 * written already, QL_EIO, QL_ENOSPACE. */
ql_status ql_safetensors_writer_put(ql_safetensors_writer *w, const char *name,
                                    const void *data);

/* Writes the next n bytes of a tensor, behind those that were written before.
 * Errors: as above. */
ql_status ql_safetensors_writer_append(ql_safetensors_writer *w,
                                       const char *name, const void *data,
                                       size_t n);

/* Before the header is written: tensors that are not handed over become holes,
 * which read as zeros and take no disk. */
void ql_safetensors_writer_sparse(ql_safetensors_writer *w);

/* Flushes and renames into place. Errors: QL_EINVAL when bytes are missing,
 * QL_EIO, QL_ENOSPACE. */
ql_status ql_safetensors_writer_commit(ql_safetensors_writer *w);

#endif
