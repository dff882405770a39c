/* AVX2 and FMA: tiles of 6 x 16 in 12 accumulators. */
#include <immintrin.h>

#include "quant/cpu.h"
#include "quant/generic/kernels_generic.h"
#include "quant/x86/kernels_x86.h"

enum {
    MR = 6,
    NR = 16,
    LANES = 8
};

/* 8 codes from 4 bytes: each byte goes to two lanes, whose shifts pick the
 * high nibble first; the table is looked up in two halves. */
static __m256 look_up_8(const uint8_t *packed, __m256 low, __m256 high)
{
    const __m128i twice =
        _mm_setr_epi8(0, 0, 1, 1, 2, 2, 3, 3, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m256i shift = _mm256_setr_epi32(4, 0, 4, 0, 4, 0, 4, 0);
    int four;
    __m256i code;

    __builtin_memcpy(&four, packed, sizeof(four));
    code =
        _mm256_cvtepu8_epi32(_mm_shuffle_epi8(_mm_cvtsi32_si128(four), twice));
    code = _mm256_srlv_epi32(code, shift);
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, code),
                            _mm256_permutevar8x32_ps(high, code),
                            _mm256_castsi256_ps(_mm256_slli_epi32(code, 28)));
}

static size_t look_up(float *out, const uint8_t *packed, const float value[16],
                      size_t n)
{
    const __m256 low = _mm256_load_ps(value);
    const __m256 high = _mm256_load_ps(value + LANES);
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        _mm256_storeu_ps(out + i, look_up_8(packed + i / 2, low, high));
    }
    return i;
}

static void decode_bf16(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    const char *in =
        (const char *)w->data + (w->first + start) * sizeof(uint16_t);
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        const __m128i half =
            _mm_loadu_si128((const void *)(in + i * sizeof(uint16_t)));

        _mm256_storeu_si256((void *)(out + i),
                            _mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
    }
    ql_decode_generic(out + i, w, start + i, n - i);
}

static void decode(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    if (w->storage == QL_STORAGE_4BIT) {
        ql_decode_blocks(out, w, w->first + start, n, look_up);
    } else if (w->storage == QL_STORAGE_BF16) {
        decode_bf16(out, w, start, n);
    } else {
        ql_decode_generic(out, w, start, n);
    }
}

static void ukr(float *c, size_t ldc, const float *a, size_t lda,
                const float *b, size_t ldb, size_t k)
{
    __m256 acc[MR][2];

#pragma GCC unroll 6
    for (size_t i = 0; i < MR; i++) {
        acc[i][0] = _mm256_setzero_ps();
        acc[i][1] = _mm256_setzero_ps();
    }
    for (size_t p = 0; p < k; p++) {
        const __m256 b0 = _mm256_loadu_ps(b + p * ldb);
        const __m256 b1 = _mm256_loadu_ps(b + p * ldb + LANES);

#pragma GCC unroll 6
        for (size_t i = 0; i < MR; i++) {
            const __m256 x = _mm256_broadcast_ss(a + i * lda + p);

            acc[i][0] = _mm256_fmadd_ps(x, b0, acc[i][0]);
            acc[i][1] = _mm256_fmadd_ps(x, b1, acc[i][1]);
        }
    }
#pragma GCC unroll 6
    for (size_t i = 0; i < MR; i++) {
        float *row = c + i * ldc;

        _mm256_storeu_ps(row, _mm256_add_ps(_mm256_loadu_ps(row), acc[i][0]));
        _mm256_storeu_ps(
            row + LANES,
            _mm256_add_ps(_mm256_loadu_ps(row + LANES), acc[i][1]));
    }
}

const ql_kernels ql_kernels_avx2 = {
    .name = "avx2",
    .cpu_need = QL_CPU_AVX2,
    .mr = MR,
    .nr = NR,
    .decode = decode,
    .ukr = ukr,
};
