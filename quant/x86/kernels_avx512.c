/* AVX-512: tiles of 8 x 48 in 24 accumulators. */
#include <immintrin.h>

#include "quant/cpu.h"
#include "quant/generic/kernels_generic.h"
#include "quant/x86/kernels_x86.h"

enum {
    MR = 8,
    NR = 48,
    LANES = 16
};

/* 16 codes from 8 bytes: each byte goes to two lanes, whose shifts pick the
 * high nibble first; the look-up reads the low four bits of a lane. */
static __m512 look_up_16(const uint8_t *packed, __m512 value)
{
    const __m128i twice =
        _mm_setr_epi8(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    const __m512i shift = _mm512_set4_epi32(0, 4, 0, 4);
    const __m128i bytes = _mm_loadl_epi64((const void *)packed);
    const __m512i code = _mm512_cvtepu8_epi32(_mm_shuffle_epi8(bytes, twice));

    return _mm512_permutexvar_ps(_mm512_srlv_epi32(code, shift), value);
}

static size_t look_up(float *out, const uint8_t *packed, const float value[16],
                      size_t n)
{
    const __m512 table = _mm512_load_ps(value);
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        _mm512_storeu_ps(out + i, look_up_16(packed + i / 2, table));
    }
    return i;
}

static void decode_bf16(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    const char *in =
        (const char *)w->data + (w->first + start) * sizeof(uint16_t);
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        const __m256i half =
            _mm256_loadu_si256((const void *)(in + i * sizeof(uint16_t)));

        _mm512_storeu_si512(out + i,
                            _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
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
    __m512 acc[MR][3];

#pragma GCC unroll 8
    for (size_t i = 0; i < MR; i++) {
        acc[i][0] = _mm512_setzero_ps();
        acc[i][1] = _mm512_setzero_ps();
        acc[i][2] = _mm512_setzero_ps();
    }
    for (size_t p = 0; p < k; p++) {
        const __m512 b0 = _mm512_loadu_ps(b + p * ldb);
        const __m512 b1 = _mm512_loadu_ps(b + p * ldb + LANES);
        const __m512 b2 = _mm512_loadu_ps(b + p * ldb + (size_t)2 * LANES);

#pragma GCC unroll 8
        for (size_t i = 0; i < MR; i++) {
            const __m512 x = _mm512_set1_ps(a[i * lda + p]);

            acc[i][0] = _mm512_fmadd_ps(x, b0, acc[i][0]);
            acc[i][1] = _mm512_fmadd_ps(x, b1, acc[i][1]);
            acc[i][2] = _mm512_fmadd_ps(x, b2, acc[i][2]);
        }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < MR; i++) {
#pragma GCC unroll 3
        for (size_t v = 0; v < 3; v++) {
            float *at = c + i * ldc + v * LANES;

            _mm512_storeu_ps(at, _mm512_add_ps(_mm512_loadu_ps(at), acc[i][v]));
        }
    }
}

const ql_kernels ql_kernels_avx512 = {
    .name = "avx512",
    .cpu_need = QL_CPU_AVX512,
    .mr = MR,
    .nr = NR,
    .decode = decode,
    .ukr = ukr,
};
