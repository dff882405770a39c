/* Operands of the AVX-512 set in bf16: weights and activations, rounded. */
#include <immintrin.h>

#include "quant/kernel_parts.h"
#include "quant/x86/parts_avx512.h"

/* The codes times a scale, as bf16: twice, since a look-up among 32 words takes
 * one bit more than a code has. */
static __m512i table_of(__m512 code, float scale, ql_round round)
{
    __m512 x = _mm512_mul_ps(code, _mm512_set1_ps(scale));

    if (round == QL_ROUND_F16) {
        x = _mm512_cvtph_ps(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
    }
    return (__m512i)_mm512_cvtne2ps_pbh(x, x);
}

/* Sixteen bytes become 32 words: each byte is copied into two, and the first
 * of them shifted to bring its high nibble down. */
static __m512i sixteen_bytes(__m512i table, __m128i bytes)
{
    const __m512i copy = _mm512_set_epi8(
        15, 15, 15, 15, 14, 14, 14, 14, 13, 13, 13, 13, 12, 12, 12, 12, 11, 11,
        11, 11, 10, 10, 10, 10, 9, 9, 9, 9, 8, 8, 8, 8, 7, 7, 7, 7, 6, 6, 6, 6,
        5, 5, 5, 5, 4, 4, 4, 4, 3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    const __m512i shift = _mm512_set1_epi32(4);
    const __m512i copies =
        _mm512_shuffle_epi8(_mm512_broadcast_i32x4(bytes), copy);

    return _mm512_permutexvar_epi16(_mm512_srlv_epi16(copies, shift), table);
}

static void store_codes(uint16_t *out, const uint8_t *bytes, __m512i table)
{
    const void *at = bytes;

    _mm512_storeu_si512(out, sixteen_bytes(table, _mm_loadu_si128(at)));
}

/* n bytes under one scale. */
static void fetch_bytes(uint16_t *out, const uint8_t *bytes, size_t n,
                        __m512i table)
{
    const size_t whole = n / 16 * 16;
    const unsigned rest = (unsigned)(n - whole);
    const __m128i some =
        _mm_maskz_loadu_epi8((__mmask16)((1u << rest) - 1), bytes + whole);

    for (size_t i = 0; i < whole; i += 16) {
        store_codes(out + 2 * i, bytes + i, table);
    }
    _mm512_mask_storeu_epi16(out + 2 * whole,
                             (__mmask32)((1ull << 2 * rest) - 1),
                             sixteen_bytes(table, some));
}

static inline void blocks(void *out, const uint8_t *bytes, size_t n,
                          const ql_qtensor *w, const ql_scales *scales)
{
    const __m512 code = _mm512_loadu_ps(w->code);
    const ql_scales s = *scales;
    uint16_t *to = out;

    for (size_t i = 0; i < n; i++, to += 64, bytes += 32) {
        const __m512i table = table_of(code, ql_scales_at(&s, i), w->round);

        store_codes(to, bytes, table);
        store_codes(to + 32, bytes + 16, table);
    }
}

/* A run between bytes. Blocks are even, so all pieces of it are. */
static void others(void *out, const ql_qtensor *w, size_t start, size_t n)
{
    const __m512 code = _mm512_loadu_ps(w->code);
    const size_t e = w->first + start;
    const uint8_t *bytes = (const uint8_t *)w->data + e / 2;
    const size_t block = ql_quotient(e, w->block);
    ql_scales scales = ql_scales_from(w, block);
    size_t rest = (block + 1) * w->block - e; /* of the block */
    uint16_t *to = out;

    while (n > 0) {
        const size_t m = rest < n ? rest : n;

        fetch_bytes(to, bytes, m / 2,
                    table_of(code, ql_scales_next(&scales), w->round));
        to += m;
        bytes += m / 2;
        n -= m;
        rest = w->block;
    }
}

static void fetch_4bit(void *out, const ql_qtensor *w, size_t start, size_t n)
{
    ql_fetch_blocks(out, w, start, n, sizeof(uint16_t), blocks, others);
}

void ql_narrow_avx512bf16(void *out, const float *x, size_t n)
{
    uint16_t *to = out;
    size_t i = 0;

    for (; i + 32 <= n; i += 32) {
        _mm512_storeu_si512(
            to + i, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + 16),
                                                 _mm512_loadu_ps(x + i)));
    }
    for (; i < n; i += 16) {
        const __mmask16 some =
            (__mmask16)(n - i < 16 ? (1u << (n - i)) - 1 : 0xffff);

        _mm256_mask_storeu_epi16(
            to + i, some,
            (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(some, x + i)));
    }
}

void ql_fetch_avx512bf16(void *out, const ql_qtensor *w, size_t start, size_t n)
{
    ql_fetch_by(out, w, start, n, fetch_4bit, ql_narrow_avx512bf16,
                ql_decode_avx512);
}
