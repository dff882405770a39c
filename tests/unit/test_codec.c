/* Properties of the codec: conversions of halves over all their values, and
 * quantization against a plain derivation in double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/codebook.h"
#include "quant/codec.h"
#include "quant/dquant.h"
#include "quant/half.h"
#include "quant/map8.h"
#include "src/base/rng.h"
#include "src/op/quantize_dense.h"
#include "tests/check/check.h"

static bool is_nan(uint32_t bits)
{
    return (bits & 0x7fffffff) > 0x7f800000;
}

/* A float with `fraction` bits of fraction and that exponent bias. */
static double value_of(unsigned h, unsigned fraction, int bias)
{
    const unsigned field = h >> fraction & ((1u << (15 - fraction)) - 1);
    const double f = ldexp(h & ((1u << fraction) - 1), -(int)fraction);
    const double v =
        field > 0 ? ldexp(1 + f, (int)field - bias) : ldexp(f, 1 - bias);

    return h & 0x8000 ? -v : v;
}

typedef struct half_kind {
    float (*widen)(uint16_t);
    uint16_t (*narrow)(float);
    unsigned fraction;
    int bias;
    unsigned infinity;
} half_kind;

static const half_kind kinds[] = {
    {ql_f16_to_f32, ql_f32_to_f16, 10, 15, 0x7c00},
    {ql_bf16_to_f32, ql_f32_to_bf16, 7, 127, 0x7f80},
};

static void half__widens_and_narrows_every_value(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const half_kind *k = &kinds[i];

        for (unsigned h = 0; h < 0x10000; h++) {
            const float x = k->widen((uint16_t)h);
            const unsigned rest = h & 0x7fff;

            if (rest > k->infinity) {
                assert_true(isnan(x));
                assert_true((k->narrow(x) & 0x7fff) > k->infinity);
            } else {
                assert_int_equal(k->narrow(x), h);
                assert_true(rest == k->infinity
                                ? isinf(x)
                                : (double)x ==
                                      value_of(h, k->fraction, k->bias));
            }
        }
    }
}

/* Between neighbours h and h + 1: the middle goes to the even one, what lies
 * beside it to the nearer one. */
static void half__rounds_to_nearest_even(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const half_kind *k = &kinds[i];

        for (unsigned h = 0; h < k->infinity; h++) {
            const double a = value_of(h, k->fraction, k->bias);
            const double b = value_of(h + 1, k->fraction, k->bias);
            const float m = (float)((a + b) / 2);
            const uint32_t u = ql_f32_bits(m);
            const unsigned even = h % 2 ? h + 1 : h;

            assert_true((double)m == (a + b) / 2);
            assert_int_equal(k->narrow(m), even);
            assert_int_equal(k->narrow(-m), even | 0x8000);
            assert_int_equal(k->narrow(ql_f32_from_bits(u - 1)), h);
            assert_int_equal(k->narrow(ql_f32_from_bits(u + 1)), h + 1);
        }
        assert_int_equal(k->narrow(HUGE_VALF), k->infinity);
        assert_int_equal(k->narrow(3.4e38f), k->infinity);
    }
}

static void half__keeps_nans(void **state)
{
    (void)state;
    for (uint32_t u = 0x7f800001; u <= 0x7fffffff; u += 4095) {
        for (size_t i = 0; i < 2; i++) {
            const float x = ql_f32_from_bits(u);
            const float back = kinds[i].widen(kinds[i].narrow(x));

            assert_true(is_nan(ql_f32_bits(back)));
        }
    }
}

/* Distance of y from entry i of a table, and fails unless no other is nearer,
 * nor as near and lower; 1e-7 allows for midpoints rounded to f32. */
static void check_nearest(const float *table, size_t n, double y, size_t code)
{
    const double d = fabs(y - (double)table[code]);

    for (size_t i = 0; i < n; i++) {
        const double other = fabs(y - (double)table[i]);

        if (other < d - 1e-7) {
            fail_msg("%.9g: code %zu (%g) is nearer than %zu (%g)", y, i,
                     (double)table[i], code, (double)table[code]);
        }
    }
}

static void check_block(const float *x, size_t n, const uint8_t *packed,
                        float absmax, ql_codebook_id book)
{
    float top = 0;

    for (size_t i = 0; i < n; i++) {
        top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
    }
    assert_true(absmax == top);
    for (size_t i = 0; i < n; i++) {
        const uint8_t byte = packed[i / 2];
        const size_t code = i % 2 ? byte & 15u : byte >> 4;

        check_nearest(ql_codebooks[book], 16, (double)x[i] / (double)top, code);
    }
}

static void check_quantize(size_t n, size_t block, ql_codebook_id book)
{
    const size_t blocks = ql_codec_blocks(n, block);
    float *x = malloc(n * sizeof(float));
    uint8_t *packed = malloc(ql_codec_packed_bytes(n));
    float *absmax = malloc(blocks * sizeof(float));

    assert_true(x && packed && absmax);
    check_fill(x, n, n + block);
    ql_quantize_4bit(x, n, block, book, packed, absmax);
    for (size_t b = 0; b < blocks; b++) {
        const size_t rest = n - b * block;

        check_block(x + b * block, rest < block ? rest : block,
                    packed + b * block / 2, absmax[b], book);
    }
    if (n % 2) {
        assert_int_equal(packed[n / 2] & 15, book == QL_CODEBOOK_NF4 ? 7 : 0);
    }
    free(x);
    free(packed);
    free(absmax);
}

static void quantize__takes_the_nearest_code(void **state)
{
    (void)state;
    for (size_t block = 2; block <= 4096; block *= 2) {
        for (ql_codebook_id book = 0; book < QL_CODEBOOK_COUNT; book++) {
            check_quantize(2 * block, block, book);
            check_quantize(3 * block + block / 2, block, book);
            check_quantize(block + 1, block, book);
            check_quantize(1, block, book);
        }
    }
}

/* Half of the widest gap between codes, in units of absmax. */
static void quantize__errs_by_half_a_gap_at_most(void **state)
{
    static const float half_gap[QL_CODEBOOK_COUNT] = {0.1520f, 0.1667f};
    float x[640];
    float back[640];
    float absmax[10];
    uint8_t packed[320];

    (void)state;
    check_fill(x, 640, 1);
    for (ql_codebook_id book = 0; book < QL_CODEBOOK_COUNT; book++) {
        ql_qtensor w = {.rows = 10,
                        .cols = 64,
                        .storage = QL_STORAGE_4BIT,
                        .data = packed,
                        .block = 64,
                        .absmax = absmax};

        memcpy(w.code, ql_codebooks[book], sizeof(w.code));
        ql_quantize_4bit(x, 640, 64, book, packed, absmax);
        ql_dequantize(back, &w, 0, 640);
        for (size_t i = 0; i < 640; i++) {
            assert_true(fabsf(back[i] - x[i]) <=
                        half_gap[book] * absmax[i / 64]);
        }
        ql_quantize_4bit(back, 640, 64, book, packed, absmax);
        ql_dequantize(x, &w, 0, 640);
        assert_memory_equal(x, back, sizeof(x)); /* codes are fixed points */
        check_fill(x, 640, 1);
    }
}

static void quantize__gives_zeros_the_code_of_zero(void **state)
{
    static const float x[64];
    uint8_t packed[32];
    float absmax;

    (void)state;
    ql_quantize_4bit(x, 64, 64, QL_CODEBOOK_NF4, packed, &absmax);
    assert_true(absmax == 0);
    for (size_t i = 0; i < 32; i++) {
        assert_int_equal(packed[i], 0x77);
    }
    ql_quantize_4bit(x, 64, 64, QL_CODEBOOK_FP4, packed, &absmax);
    assert_true(absmax == 0);
    for (size_t i = 0; i < 32; i++) {
        assert_int_equal(packed[i], 0);
    }
}

static void check_dquantize(size_t n)
{
    const size_t outers = ql_codec_blocks(n, QL_NESTED_BLOCK);
    float *absmax = malloc(n * sizeof(float));
    float *outer = malloc(outers * sizeof(float));
    uint8_t *q = malloc(n);
    float offset;
    double mean = 0;

    assert_true(absmax && outer && q);
    check_fill(absmax, n, n);
    for (size_t i = 0; i < n; i++) {
        absmax[i] = fabsf(absmax[i]);
        mean += (double)absmax[i] / (double)n;
    }
    ql_dquantize(absmax, n, q, outer, &offset);
    assert_true(fabs((double)offset - mean) <= 1e-6 * mean);
    for (size_t i = 0; i < n; i++) {
        const double d = (double)(absmax[i] - offset);
        const double top = (double)outer[i / QL_NESTED_BLOCK];

        assert_true(fabs(d) <= top);
        if (top > 0) {
            check_nearest(ql_dynamic_map, 256, d / top, q[i]);
        }
    }
    free(absmax);
    free(outer);
    free(q);
}

static void dquantize__takes_the_nearest_entry(void **state)
{
    static const size_t sizes[] = {1,   2,   31,  32,   33,
                                   255, 256, 257, 5000, 70001};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        check_dquantize(sizes[i]);
    }
}

/* The scales alone are those that quantizing gives, zeros included: what is
 * planned is what is written. */
static void scales__are_those_of_the_codec(void **state)
{
    static const size_t counts[] = {1, 63, 64, 100, 8192, 8200, 20001};
    float x[20001];
    float alone[400];
    float absmax[400];
    uint8_t packed[10001];

    (void)state;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        const size_t n = counts[i];
        const size_t blocks = ql_codec_blocks(n, 64);
        const ql_qtensor w = {
            .rows = 1, .cols = n, .storage = QL_STORAGE_F32, .data = x};

        for (int zeros = 0; zeros < 3; zeros++) {
            check_fill(x, n, i);
            memset(x + (zeros == 1 ? n / 64 * 64 : 0), 0,
                   (zeros == 1   ? n % 64
                    : zeros == 2 ? n
                                 : 0) *
                       sizeof(float));
            assert_int_equal(
                ql_quantize_dense(packed, absmax, &w, QL_CODEBOOK_NF4, 64),
                SIZE_MAX);
            ql_scales_dense(alone, &w, 64);
            assert_memory_equal(alone, absmax, blocks * sizeof(float));
        }
    }
}

static void dquantize__gives_equal_scales_zero(void **state)
{
    float absmax[300];
    float outer[2];
    uint8_t q[300];
    float offset;

    (void)state;
    for (size_t i = 0; i < 300; i++) {
        absmax[i] = 0.5f;
    }
    ql_dquantize(absmax, 300, q, outer, &offset);
    assert_true(offset == 0.5f && outer[0] == 0);
    assert_true(outer[1] == QL_SMALLEST_SCALE); /* a short block */
    for (size_t i = 0; i < 300; i++) {
        assert_int_equal(q[i], 127);
    }
}

/* The code of y by both ways is that of no farther entry. */
static void check_code(const ql_map8 *t, float y)
{
    const uint8_t code = ql_map8_code(t, y);
    const double distance = fabs((double)t->value[code] - (double)y);

    assert_int_equal(code, ql_map8_nearest(t->value, y));
    for (size_t i = 0; i < 256; i++) {
        const double other = fabs((double)t->value[i] - (double)y);

        /* borders are rounded to f32 */
        assert_true(distance <= other + 0x1p-23 * fabs((double)y));
    }
}

/* y and its neighbours, of both signs. */
static void check_around(const ql_map8 *t, float y)
{
    for (int ulps = -2; ulps <= 2; ulps++) {
        const float near =
            ql_f32_from_bits((uint32_t)((int)ql_f32_bits(y) + ulps));

        if (near <= 1) {
            check_code(t, near);
            check_code(t, -near);
        }
    }
}

static void map8__takes_the_nearest_entry(void **unused)
{
    const float *maps[] = {ql_dynamic_map, ql_dynamic_map_unsigned};
    static ql_map8 t;

    (void)unused;
    for (size_t m = 0; m < 2; m++) {
        ql_map8_init(&t, maps[m]);
        for (size_t i = 0; i < 256; i++) {
            if (t.value[i] != 0) {
                check_around(&t, fabsf(t.value[i]));
            }
            if (i < 255 && t.border[i] != 0) {
                check_around(&t, fabsf(t.border[i]));
            }
        }
        for (uint32_t upper = 1; upper <= 0x3f80; upper++) {
            check_around(&t, ql_f32_from_bits(upper << 16));
        }
        for (uint64_t i = 0; i < 20000; i++) {
            check_code(&t, (float)(2 * ql_rng_unit(check_seed(), i) - 1));
        }
        check_code(&t, 0.0F);
        check_code(&t, -0.0F);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half__widens_and_narrows_every_value),
        cmocka_unit_test(half__rounds_to_nearest_even),
        cmocka_unit_test(half__keeps_nans),
        cmocka_unit_test(quantize__takes_the_nearest_code),
        cmocka_unit_test(quantize__errs_by_half_a_gap_at_most),
        cmocka_unit_test(quantize__gives_zeros_the_code_of_zero),
        cmocka_unit_test(map8__takes_the_nearest_entry),
        cmocka_unit_test(dquantize__takes_the_nearest_entry),
        cmocka_unit_test(dquantize__gives_equal_scales_zero),
        cmocka_unit_test(scales__are_those_of_the_codec),
    };

    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
