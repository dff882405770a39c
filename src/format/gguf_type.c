/* Types of GGUF's tensors: their names, sizes, and the way from f32. */
#include <math.h>
#include <string.h>

#include "quant/half.h"
#include "src/format/gguf.h"
#include "src/format/safetensors.h"

enum {
    Q8_BYTES = 2 + QL_GGUF_Q8_BLOCK
};

static const struct {
    ql_gguf_type type;
    const char *name;
    size_t block, bytes; /* elements and bytes that go together */
    ql_dtype dtype;      /* the same of safetensors, if there is one */
} types[] = {
    {QL_GGUF_F32, "F32", 1, 4, QL_DTYPE_F32},
    {QL_GGUF_F16, "F16", 1, 2, QL_DTYPE_F16},
    {QL_GGUF_Q8_0, "Q8_0", QL_GGUF_Q8_BLOCK, Q8_BYTES, QL_DTYPE_COUNT},
    {QL_GGUF_BF16, "BF16", 1, 2, QL_DTYPE_BF16},
};

enum {
    TYPES = sizeof(types) / sizeof(types[0])
};

static size_t row_of(ql_gguf_type type)
{
    size_t i = 0;

    while (i < TYPES && types[i].type != type) {
        i++;
    }
    return i;
}

const char *ql_gguf_type_name(ql_gguf_type type)
{
    const size_t i = row_of(type);

    return i < TYPES ? types[i].name : NULL;
}

size_t ql_gguf_bytes(ql_gguf_type type, size_t n)
{
    const size_t i = row_of(type);

    return n / types[i].block * types[i].bytes;
}

/* To the nearest whole number, halves away from zero. */
static float nearest(float x)
{
    const float a = fabsf(x);
    const float whole = floorf(a);

    return copysignf(whole + floorf(2 * (a - whole)), x);
}

/* A block: scale d = max / 127 in f16, then x / d by the scale as it was in
 * f32. Where 1 / d is beyond f32, d is long 0 in f16, and so is the block.
 * Source: gguf-py/gguf/quants.py, Q8_0. */
static bool pack_q8(unsigned char *out, const float *in)
{
    float most = 0;
    float d;
    float by;
    uint16_t half;

    for (size_t i = 0; i < QL_GGUF_Q8_BLOCK; i++) {
        most = fabsf(in[i]) > most ? fabsf(in[i]) : most;
    }
    d = most / 127;
    by = d > 0 && isfinite(1 / d) ? 1 / d : 0;
    half = ql_f32_to_f16(d);
    memcpy(out, &half, sizeof(half));
    for (size_t i = 0; i < QL_GGUF_Q8_BLOCK; i++) {
        const int8_t q = (int8_t)nearest(in[i] * by);

        memcpy(out + sizeof(half) + i, &q, 1);
    }
    return isfinite(ql_f16_to_f32(half));
}

bool ql_gguf_pack(ql_gguf_type type, void *out, const float *in, size_t n)
{
    const size_t i = row_of(type);
    bool within = true;

    if (types[i].dtype != QL_DTYPE_COUNT) {
        return ql_floats_to(types[i].dtype, out, in, n);
    }
    for (size_t k = 0; k < n / QL_GGUF_Q8_BLOCK; k++) {
        within &= pack_q8((unsigned char *)out + k * Q8_BYTES,
                          in + k * QL_GGUF_Q8_BLOCK);
    }
    return within;
}
