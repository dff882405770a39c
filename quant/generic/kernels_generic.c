/* The portable set: what every other set must agree with, kept as plain as
 * can be. */
#include "quant/decode_walk.h"
#include "quant/kernels.h"

enum {
    MR = 4,
    NR = 8,
    LANES = 8
};

static void pairs(float *out, const uint8_t *bytes, size_t n,
                  const ql_qtensor *w, float scale)
{
    float value[16];

    for (size_t i = 0; i < 16; i++) {
        value[i] = ql_round_to(w->code[i] * scale, w->round);
    }
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = value[bytes[i] >> 4];
        out[2 * i + 1] = value[bytes[i] & 15];
    }
}

static void decode_4bit(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    ql_decode_walk(out, w, start, n, pairs);
}

static void decode(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    static ql_decode_fn *const by_storage[QL_STORAGE_COUNT] = {
        [QL_STORAGE_4BIT] = decode_4bit,
        [QL_STORAGE_F32] = ql_decode_f32,
        [QL_STORAGE_BF16] = ql_decode_bf16,
        [QL_STORAGE_F16] = ql_decode_f16,
    };

    by_storage[w->storage](out, w, start, n);
}

static void ukr(float *c, size_t ldc, const float *a, size_t lda,
                const float *b, size_t ldb, size_t k)
{
    float sum[MR][NR] = {{0}};

    for (size_t p = 0; p < k; p++) {
        for (size_t i = 0; i < MR; i++) {
            for (size_t j = 0; j < NR; j++) {
                sum[i][j] += a[i * lda + p] * b[p * ldb + j];
            }
        }
    }
    for (size_t i = 0; i < MR; i++) {
        for (size_t j = 0; j < NR; j++) {
            c[i * ldc + j] += sum[i][j];
        }
    }
}

/* Lanes let a compiler use vectors without changing the order of a sum. */
static float dot(const float *a, const float *b, size_t k)
{
    float lane[LANES] = {0};
    float sum = 0;
    size_t p = 0;

    for (; p + LANES <= k; p += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            lane[j] += a[p + j] * b[p + j];
        }
    }
    for (; p < k; p++) {
        sum += a[p] * b[p];
    }
    for (size_t j = 0; j < LANES; j++) {
        sum += lane[j];
    }
    return sum;
}

static void dot4(float *out, const float *a, size_t lda, const float *b,
                 size_t k)
{
    for (size_t i = 0; i < 4; i++) {
        out[i] += dot(a + i * lda, b, k);
    }
}

const ql_kernels ql_kernels_generic = {
    .name = "generic",
    .cpu_need = 0,
    .mr = MR,
    .nr = NR,
    .decode = decode,
    .ukr = ukr,
    .dot4 = dot4,
};
