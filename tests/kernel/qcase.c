#include "tests/kernel/qcase.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/codebook.h"
#include "quant/half.h"
#include "src/base/rng.h"
#include "tests/check/check.h"

enum {
    NESTED_BLOCK = 256,
    GUARD_BYTES = 64,
    GUARD = 0xa5
};

static const float sizes[QCASE_INPUTS] = {
    [QCASE_RANDOM] = 1,
    [QCASE_ZERO] = 0,
    [QCASE_DENORMAL] = 1e-40f,
    [QCASE_LARGE] = 1e15f,
};

static void *need(size_t bytes)
{
    void *p = malloc(bytes);

    assert_non_null(p);
    return p;
}

static void make_scales(qcase *c, size_t blocks, bool nested, float size,
                        uint64_t seed)
{
    const size_t outers = blocks / NESTED_BLOCK + 1;

    c->absmax = need(blocks * sizeof(float));
    c->absmax_u8 = need(blocks);
    c->nested_absmax = need(outers * sizeof(float));
    check_fill(c->absmax, blocks, seed);
    check_fill(c->nested_absmax, outers, seed + 1);
    for (size_t i = 0; i < blocks; i++) {
        c->absmax_u8[i] = (unsigned char)ql_rng_at(seed, i);
        c->absmax[i] = fabsf(c->absmax[i]) * size;
    }
    for (size_t i = 0; i < outers; i++) {
        c->nested_absmax[i] = fabsf(c->nested_absmax[i]) * size;
    }
    if (nested) {
        c->w.absmax_u8 = c->absmax_u8;
        c->w.nested_absmax = c->nested_absmax;
        c->w.nested_code = ql_dynamic_map;
        c->w.nested_block = NESTED_BLOCK;
        c->w.offset = 1.25f * size;
    } else {
        c->w.absmax = c->absmax;
    }
}

static void fill_dense(unsigned char *data, ql_storage storage, size_t n,
                       float size, uint64_t seed)
{
    float *x = need(n * sizeof(float));

    check_fill(x, n, seed);
    for (size_t i = 0; i < n; i++) {
        const float v = x[i] * size;
        const uint16_t h =
            storage == QL_STORAGE_F16 ? ql_f32_to_f16(v) : ql_f32_to_bf16(v);

        if (storage == QL_STORAGE_F32) {
            memcpy(data + 4 * i, &v, sizeof(v));
        } else {
            memcpy(data + 2 * i, &h, sizeof(h));
        }
    }
    free(x);
}

/* Large values stay finite in f16. */
static float size_of(qcase_input input, ql_storage storage, ql_round round)
{
    const bool f16 = storage == QL_STORAGE_F16 ||
                     (storage == QL_STORAGE_4BIT && round == QL_ROUND_F16);

    return input == QCASE_LARGE && f16 ? 2e4f : sizes[input];
}

void qcase_init(qcase *c, size_t rows, size_t cols, size_t first,
                ql_storage storage, size_t block, ql_round round,
                qcase_input input, uint64_t seed)
{
    static const size_t bits[QL_STORAGE_COUNT] = {4, 32, 16, 16};
    const size_t n = first + rows * cols;
    const size_t bytes = (n * bits[storage] + 7) / 8;
    const float size = size_of(input, storage, round);
    unsigned char *data;

    memset(c, 0, sizeof(*c));
    c->memory = need(bytes + 1);
    data = (unsigned char *)c->memory + 1;
    c->w = (ql_qtensor){.rows = rows,
                        .cols = cols,
                        .storage = storage,
                        .data = data,
                        .first = first,
                        .block = block,
                        .round = round};
    memcpy(c->w.code, ql_codebooks[seed / 2 % 2], sizeof(c->w.code));
    if (storage == QL_STORAGE_4BIT) {
        for (size_t i = 0; i < bytes; i++) {
            data[i] = (unsigned char)ql_rng_at(seed, i);
        }
        make_scales(c, (n + block - 1) / block, seed % 2 == 1, size, seed);
    } else {
        fill_dense(data, storage, n, size, seed);
    }
}

void qcase_free(qcase *c)
{
    free(c->memory);
    free(c->absmax);
    free(c->absmax_u8);
    free(c->nested_absmax);
}

static float value_4bit(const ql_qtensor *w, size_t e)
{
    const unsigned byte = ((const unsigned char *)w->data)[e / 2];
    const unsigned code = e % 2 ? byte & 15u : byte >> 4;
    const size_t b = e / w->block;
    float scale;

    if (w->absmax) {
        scale = w->absmax[b];
    } else {
        scale = w->nested_code[w->absmax_u8[b]] *
                w->nested_absmax[b / w->nested_block];
        scale += w->offset;
    }
    scale *= w->code[code];
    return w->round == QL_ROUND_BF16  ? ql_bf16_to_f32(ql_f32_to_bf16(scale))
           : w->round == QL_ROUND_F16 ? ql_f16_to_f32(ql_f32_to_f16(scale))
                                      : scale;
}

float qcase_value(const ql_qtensor *w, size_t i)
{
    const size_t e = w->first + i;
    const char *data = w->data;
    uint16_t h = 0;
    float x = 0;

    if (w->storage == QL_STORAGE_4BIT) {
        return value_4bit(w, e);
    }
    if (w->storage == QL_STORAGE_F32) {
        memcpy(&x, data + 4 * e, sizeof(x));
        return x;
    }
    memcpy(&h, data + 2 * e, sizeof(h));
    return w->storage == QL_STORAGE_F16 ? ql_f16_to_f32(h) : ql_bf16_to_f32(h);
}

float *guarded_init(size_t n)
{
    unsigned char *p = need(n * sizeof(float) + 2 * GUARD_BYTES);

    memset(p, GUARD, GUARD_BYTES);
    memset(p + GUARD_BYTES, 0xff, n * sizeof(float));
    memset(p + GUARD_BYTES + n * sizeof(float), GUARD, GUARD_BYTES);
    return (float *)(void *)(p + GUARD_BYTES);
}

bool guarded_intact(const float *p, size_t n)
{
    const unsigned char *before = (const unsigned char *)p - GUARD_BYTES;
    const unsigned char *behind = (const unsigned char *)(p + n);

    for (size_t i = 0; i < GUARD_BYTES; i++) {
        if (before[i] != GUARD || behind[i] != GUARD) {
            return false;
        }
    }
    return true;
}

void guarded_free(float *p)
{
    free((unsigned char *)p - GUARD_BYTES);
}
