/* Element types: their names in files, their sizes, and the way to f32. */
#include <stdio.h>
#include <string.h>

#include "quant/half.h"
#include "src/base/checked.h"
#include "src/base/fail.h"
#include "src/format/safetensors.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "tensors are little-endian in files and used in place");

enum {
    PIECE = 4096 /* elements on their way to their places in a transpose */
};

/* Converts n elements of any alignment. */
typedef void widen_fn(float *out, const unsigned char *in, size_t n);

static void widen_f32(float *out, const unsigned char *in, size_t n)
{
    memcpy(out, in, n * sizeof(*out));
}

static void widen_f16(float *out, const unsigned char *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t v;

        memcpy(&v, in + i * sizeof(v), sizeof(v));
        out[i] = ql_f16_to_f32(v);
    }
}

static void widen_bf16(float *out, const unsigned char *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t v;

        memcpy(&v, in + i * sizeof(v), sizeof(v));
        out[i] = ql_bf16_to_f32(v);
    }
}

static void widen_f64(float *out, const unsigned char *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double v;

        memcpy(&v, in + i * sizeof(v), sizeof(v));
        out[i] = (float)v;
    }
}

static void widen_u8(float *out, const unsigned char *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)in[i];
    }
}

static void widen_i8(float *out, const unsigned char *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)(int8_t)in[i];
    }
}

static void widen_u16(float *out, const unsigned char *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t v;

        memcpy(&v, in + i * sizeof(v), sizeof(v));
        out[i] = (float)v;
    }
}

static void widen_i16(float *out, const unsigned char *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int16_t v;

        memcpy(&v, in + i * sizeof(v), sizeof(v));
        out[i] = (float)v;
    }
}

static void widen_u32(float *out, const unsigned char *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t v;

        memcpy(&v, in + i * sizeof(v), sizeof(v));
        out[i] = (float)v;
    }
}

static void widen_i32(float *out, const unsigned char *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t v;

        memcpy(&v, in + i * sizeof(v), sizeof(v));
        out[i] = (float)v;
    }
}

static void widen_u64(float *out, const unsigned char *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t v;

        memcpy(&v, in + i * sizeof(v), sizeof(v));
        out[i] = (float)v;
    }
}

static void widen_i64(float *out, const unsigned char *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int64_t v;

        memcpy(&v, in + i * sizeof(v), sizeof(v));
        out[i] = (float)v;
    }
}

static const struct {
    const char *name;
    size_t bits;
    widen_fn *widen; /* NULL: not a type we compute with */
} types[QL_DTYPE_COUNT] = {
    /* clang-format off */
    [QL_DTYPE_BOOL]        = {"BOOL",        8,  NULL},
    [QL_DTYPE_F4]          = {"F4",          4,  NULL},
    [QL_DTYPE_F6_E2M3]     = {"F6_E2M3",     6,  NULL},
    [QL_DTYPE_F6_E3M2]     = {"F6_E3M2",     6,  NULL},
    [QL_DTYPE_U8]          = {"U8",          8,  widen_u8},
    [QL_DTYPE_I8]          = {"I8",          8,  widen_i8},
    [QL_DTYPE_F8_E5M2]     = {"F8_E5M2",     8,  NULL},
    [QL_DTYPE_F8_E4M3]     = {"F8_E4M3",     8,  NULL},
    [QL_DTYPE_F8_E8M0]     = {"F8_E8M0",     8,  NULL},
    [QL_DTYPE_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8,  NULL},
    [QL_DTYPE_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8,  NULL},
    [QL_DTYPE_I16]         = {"I16",         16, widen_i16},
    [QL_DTYPE_U16]         = {"U16",         16, widen_u16},
    [QL_DTYPE_F16]         = {"F16",         16, widen_f16},
    [QL_DTYPE_BF16]        = {"BF16",        16, widen_bf16},
    [QL_DTYPE_I32]         = {"I32",         32, widen_i32},
    [QL_DTYPE_U32]         = {"U32",         32, widen_u32},
    [QL_DTYPE_F32]         = {"F32",         32, widen_f32},
    [QL_DTYPE_C64]         = {"C64",         64, NULL},
    [QL_DTYPE_F64]         = {"F64",         64, widen_f64},
    [QL_DTYPE_I64]         = {"I64",         64, widen_i64},
    [QL_DTYPE_U64]         = {"U64",         64, widen_u64},
    /* clang-format on */
};

const char *ql_dtype_name(ql_dtype dtype)
{
    return types[dtype].name;
}

ql_dtype ql_dtype_parse(const char *name)
{
    size_t i = 0;

    while (i < QL_DTYPE_COUNT && strcmp(types[i].name, name) != 0) {
        i++;
    }
    return (ql_dtype)i;
}

size_t ql_dtype_bits(ql_dtype dtype)
{
    return types[dtype].bits;
}

const char *ql_shape_print(char *text, const size_t *shape, size_t rank)
{
    size_t used = 0;

    text[used++] = '[';
    for (size_t i = 0; i < rank && i < QL_MAX_RANK; i++) {
        used += (size_t)snprintf(text + used, QL_SHAPE_BYTES - used, "%s%zu",
                                 i ? ", " : "", shape[i]);
    }
    snprintf(text + used, QL_SHAPE_BYTES - used, "]");
    return text;
}

ql_status ql_shape_bytes(ql_dtype dtype, const size_t *shape, size_t rank,
                         size_t *elements, size_t *bytes)
{
    char text[QL_SHAPE_BYTES];
    size_t n = 1;
    size_t bits;
    bool overflow = false;

    for (size_t i = 0; i < rank && !overflow; i++) {
        overflow = ql_mul_overflows(n, shape[i], &n);
    }
    if (overflow || ql_mul_overflows(n, types[dtype].bits, &bits)) {
        QL_FAIL(QL_EFORMAT, "%s of %s is more than can be addressed",
                ql_shape_print(text, shape, rank), types[dtype].name);
    }
    if (bits % 8 != 0) {
        QL_FAIL(QL_EFORMAT, "%s of %s is not a whole number of bytes",
                ql_shape_print(text, shape, rank), types[dtype].name);
    }
    *elements = n;
    *bytes = bits / 8;
    return QL_OK;
}

ql_status ql_tensor_to_f32(float *out, const ql_tensor *t)
{
    if (!types[t->dtype].widen) {
        QL_FAIL(QL_EUNSUPPORTED,
                "tensor '%s': its type %s cannot be computed with; convert "
                "the model to BF16, F16 or F32",
                t->name, types[t->dtype].name);
    }
    if (t->elements > 0) {
        types[t->dtype].widen(out, t->data, t->elements);
    }
    return QL_OK;
}

ql_status ql_tensor_turn(float *out, const ql_tensor *t)
{
    const size_t rows = t->shape[0];
    const size_t cols = t->shape[1];
    float plain[PIECE];

    for (size_t at = 0; at < t->elements; at += PIECE) {
        const size_t n = t->elements - at < PIECE ? t->elements - at : PIECE;
        const ql_tensor part = ql_tensor_slice(t, at, n);

        QL_TRY(ql_tensor_to_f32(plain, &part));
        for (size_t i = at; i < at + n; i++) {
            out[i % cols * rows + i / cols] = plain[i - at];
        }
    }
    return QL_OK;
}

ql_tensor ql_tensor_slice(const ql_tensor *t, size_t first, size_t n)
{
    const size_t size = types[t->dtype].bits / 8;
    ql_tensor part = *t;

    part.rank = 1;
    part.shape[0] = part.elements = n;
    part.bytes = n * size;
    part.data += first * size;
    return part;
}

/* Infinities of the 16-bit types, without the sign. */
enum {
    BF16_INF = 0x7f80,
    F16_INF = 0x7c00
};

static bool narrow(uint16_t (*to)(float), uint16_t inf, char *out,
                   const float *in, size_t n)
{
    bool within = true;

    for (size_t i = 0; i < n; i++) {
        const uint16_t h = to(in[i]);

        within &= (h & 0x7fff) < inf;
        memcpy(out + i * sizeof(h), &h, sizeof(h));
    }
    return within;
}

bool ql_floats_to(ql_dtype dtype, void *out, const float *in, size_t n)
{
    switch (dtype) {
    case QL_DTYPE_BF16:
        return narrow(ql_f32_to_bf16, BF16_INF, out, in, n);
    case QL_DTYPE_F16:
        return narrow(ql_f32_to_f16, F16_INF, out, in, n);
    default:
        memcpy(out, in, n * sizeof(*in));
        return true;
    }
}
