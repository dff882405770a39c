/* AVX-512 F, BW, DQ, VL: sixteen lanes, thirty-two registers. */
#include <immintrin.h>

#include "quant/cpu.h"
#include "quant/decode_walk.h"
#include "quant/kernels.h"

enum {
    MR = 14, /* 14 x 2 accumulators, 2 vectors of B, 1 of A: 31 registers */
    NR = 32
};

static __m512 round_bf16(__m512 x)
{
    const __m512i u = _mm512_castps_si512(x);
    const __m512i odd =
        _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    const __m512i near =
        _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i top =
        _mm512_mask_or_epi32(near, nan, u, _mm512_set1_epi32(0x400000));

    return _mm512_castsi512_ps(
        _mm512_and_si512(top, _mm512_set1_epi32((int)0xffff0000)));
}

/* The table of codes times the scale, rounded. */
static __m512 scaled(const float *code, float scale, ql_round round)
{
    const __m512 x =
        _mm512_mul_ps(_mm512_loadu_ps(code), _mm512_set1_ps(scale));

    switch (round) {
    case QL_ROUND_BF16:
        return round_bf16(x);
    case QL_ROUND_F16:
        return _mm512_cvtph_ps(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
    case QL_ROUND_NONE:
        break;
    }
    return x;
}

/* Eight bytes become sixteen lanes by shifting copies of their two halves;
 * the look-up in the table of sixteen ignores the bits above the code. */
static __m512 eight_bytes(__m512 table, __m128i bytes)
{
    const __m512i half =
        _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    const __m512i shift = _mm512_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24, 4, 0,
                                            12, 8, 20, 16, 28, 24);
    const __m512i copies =
        _mm512_permutexvar_epi32(half, _mm512_castsi128_si512(bytes));

    return _mm512_permutexvar_ps(_mm512_srlv_epi32(copies, shift), table);
}

static void pairs(float *out, const uint8_t *bytes, size_t n,
                  const ql_qtensor *w, float scale)
{
    const __m512 table = scaled(w->code, scale, w->round);
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const void *at = bytes + i;

        _mm512_storeu_ps(out + 2 * i, eight_bytes(table, _mm_loadl_epi64(at)));
    }
    if (i < n) {
        const unsigned rest = (unsigned)(n - i);
        const __m128i some =
            _mm_maskz_loadu_epi8((__mmask16)((1u << rest) - 1), bytes + i);

        _mm512_mask_storeu_ps(out + 2 * i, (__mmask16)((1u << 2 * rest) - 1),
                              eight_bytes(table, some));
    }
}

static void decode_4bit(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    ql_decode_walk(out, w, start, n, pairs);
}

static void decode_f16(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    const char *from = (const char *)w->data + (w->first + start) * 2;
    const size_t whole = n / 16 * 16;

    for (size_t i = 0; i < whole; i += 16) {
        const void *at = from + 2 * i;

        _mm512_storeu_ps(out + i, _mm512_cvtph_ps(_mm256_loadu_si256(at)));
    }
    ql_decode_f16(out + whole, w, start + whole, n - whole);
}

static void decode(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    static ql_decode_fn *const by_storage[QL_STORAGE_COUNT] = {
        [QL_STORAGE_4BIT] = decode_4bit,
        [QL_STORAGE_F32] = ql_decode_f32,
        [QL_STORAGE_BF16] = ql_decode_bf16,
        [QL_STORAGE_F16] = decode_f16,
    };

    by_storage[w->storage](out, w, start, n);
}

static void ukr(float *c, size_t ldc, const float *a, size_t lda,
                const float *b, size_t ldb, size_t k)
{
    __m512 sum[MR][2];

#pragma GCC unroll 14
    for (size_t i = 0; i < MR; i++) {
        sum[i][0] = _mm512_setzero_ps();
        sum[i][1] = _mm512_setzero_ps();
    }
    for (size_t p = 0; p < k; p++) {
        const __m512 b0 = _mm512_loadu_ps(b);
        const __m512 b1 = _mm512_loadu_ps(b + 16);

#pragma GCC unroll 14
        for (size_t i = 0; i < MR; i++) {
            const __m512 x = _mm512_set1_ps(a[i * lda]);

            sum[i][0] = _mm512_fmadd_ps(x, b0, sum[i][0]);
            sum[i][1] = _mm512_fmadd_ps(x, b1, sum[i][1]);
        }
        a++;
        b += ldb;
    }
#pragma GCC unroll 14
    for (size_t i = 0; i < MR; i++) {
        float *to = c + i * ldc;

        _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), sum[i][0]));
        _mm512_storeu_ps(to + 16,
                         _mm512_add_ps(_mm512_loadu_ps(to + 16), sum[i][1]));
    }
}

static void dot4(float *out, const float *a, size_t lda, const float *b,
                 size_t k)
{
    __m512 sum[4];

#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        sum[i] = _mm512_setzero_ps();
    }
    for (size_t p = 0; p < k; p += 16) {
        const size_t rest = k - p;
        const __mmask16 some =
            (__mmask16)(rest < 16 ? (1u << rest) - 1 : 0xffff);
        const __m512 x = _mm512_maskz_loadu_ps(some, b + p);

#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) {
            sum[i] = _mm512_fmadd_ps(
                _mm512_maskz_loadu_ps(some, a + i * lda + p), x, sum[i]);
        }
    }
    for (size_t i = 0; i < 4; i++) {
        out[i] += _mm512_reduce_add_ps(sum[i]);
    }
}

const ql_kernels ql_kernels_avx512 = {
    .name = "avx512",
    .cpu_need = QL_CPU_AVX512,
    .mr = MR,
    .nr = NR,
    .decode = decode,
    .ukr = ukr,
    .dot4 = dot4,
};
