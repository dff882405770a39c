/* Decoding in plain C. A block's values are the 16 products of the code table
 * and its scale, so each product and its rounding is done once a block and
 * every element is a look-up. */
#include <string.h>

#include "quant/generic/kernels_generic.h"
#include "quant/half.h"

/* The 16 values that codes of block i can take: code times scale, rounded. */
static void block_values(float value[16], const ql_qtensor *w, size_t i)
{
    const float scale = ql_qtensor_scale(w, i);

    for (size_t c = 0; c < 16; c++) {
        value[c] = w->code[c] * scale;
    }
    for (size_t c = 0; w->round == QL_ROUND_BF16 && c < 16; c++) {
        value[c] = ql_bf16_to_f32(ql_f32_to_bf16(value[c]));
    }
    for (size_t c = 0; w->round == QL_ROUND_F16 && c < 16; c++) {
        value[c] = ql_f16_to_f32(ql_f32_to_f16(value[c]));
    }
}

/* Elements [e, e + n), all in the block whose values are given. */
static void look_up_each(float *out, const uint8_t *packed,
                         const float value[16], size_t e, size_t n)
{
    for (size_t i = e; i < e + n; i++) {
        const uint8_t byte = packed[i / 2];

        *out++ = value[i % 2 ? byte & 15 : byte >> 4];
    }
}

void ql_decode_blocks(float *out, const ql_qtensor *w, size_t e, size_t n,
                      ql_look_up_fn *look_up)
{
    const uint8_t *packed = w->data;

    while (n > 0) {
        const size_t left = w->block - e % w->block;
        const size_t run = n < left ? n : left;
        _Alignas(64) float value[16];
        size_t done = 0;

        block_values(value, w, e / w->block);
        if (look_up && e % 2 == 0) {
            done = look_up(out, packed + e / 2, value, run);
        }
        look_up_each(out + done, packed, value, e + done, run - done);
        out += run;
        e += run;
        n -= run;
    }
}

static void decode_4bit(float *out, const ql_qtensor *w, size_t e, size_t n)
{
    ql_decode_blocks(out, w, e, n, NULL);
}

static void decode_f32(float *out, const ql_qtensor *w, size_t e, size_t n)
{
    memcpy(out, (const char *)w->data + e * sizeof(float), n * sizeof(float));
}

static void decode_bf16(float *out, const ql_qtensor *w, size_t e, size_t n)
{
    const char *in = (const char *)w->data + e * sizeof(uint16_t);

    for (size_t i = 0; i < n; i++) {
        uint16_t h;

        memcpy(&h, in + i * sizeof(h), sizeof(h));
        out[i] = ql_bf16_to_f32(h);
    }
}

static void decode_f16(float *out, const ql_qtensor *w, size_t e, size_t n)
{
    const char *in = (const char *)w->data + e * sizeof(uint16_t);

    for (size_t i = 0; i < n; i++) {
        uint16_t h;

        memcpy(&h, in + i * sizeof(h), sizeof(h));
        out[i] = ql_f16_to_f32(h);
    }
}

void ql_decode_generic(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    static ql_decode_fn *const decode[QL_STORAGE_COUNT] = {
        [QL_STORAGE_4BIT] = decode_4bit,
        [QL_STORAGE_F32] = decode_f32,
        [QL_STORAGE_BF16] = decode_bf16,
        [QL_STORAGE_F16] = decode_f16,
    };

    decode[w->storage](out, w, w->first + start, n);
}
