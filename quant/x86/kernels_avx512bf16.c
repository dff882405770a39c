/* AVX-512 with bf16 dot products: operands are rounded to bf16, two to a cell;
 * sums are in f32. */
#include <immintrin.h>

#include "quant/cpu.h"
#include "quant/kernel_parts.h"
#include "quant/x86/parts_avx512.h"

enum {
    MR = 6, /* 6 x 4 accumulators, 4 vectors of B, 1 of A: 29 registers */
    NR = 64
};

/* The codes times the scale, rounded, as bf16: twice, since a look-up among
 * 32 words takes one bit more than a code has. */
static __m512i table_of(const ql_qtensor *w, float scale)
{
    const __m256i words =
        (__m256i)_mm512_cvtneps_pbh(ql_scaled_avx512(w->code, scale, w->round));

    return _mm512_inserti64x4(_mm512_castsi256_si512(words), words, 1);
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

static void fetch_bytes(uint16_t *out, const uint8_t *bytes, size_t n,
                        __m512i table)
{
    size_t i = 0;

    for (; i + 16 <= n; i += 16) {
        const void *at = bytes + i;

        _mm512_storeu_si512(out + 2 * i,
                            sixteen_bytes(table, _mm_loadu_si128(at)));
    }
    if (i < n) {
        const unsigned rest = (unsigned)(n - i);
        const __m128i some =
            _mm_maskz_loadu_epi8((__mmask16)((1u << rest) - 1), bytes + i);

        _mm512_mask_storeu_epi16(out + 2 * i,
                                 (__mmask32)((1ull << 2 * rest) - 1),
                                 sixteen_bytes(table, some));
    }
}

/* A run between bytes. Blocks are even, so all pieces of it are. */
static void fetch_4bit(uint16_t *out, const ql_qtensor *w, size_t e, size_t end)
{
    size_t block = ql_quotient(e, w->block);

    for (; e < end; block++) {
        const size_t rest = (block + 1) * w->block - e;
        const size_t n = rest < end - e ? rest : end - e;

        fetch_bytes(out, (const uint8_t *)w->data + e / 2, n / 2,
                    table_of(w, ql_scale_of(w, block)));
        out += n;
        e += n;
    }
}

static void fetch(void *out, const ql_qtensor *w, size_t start, size_t n)
{
    const size_t e = w->first + start;

    if (w->storage == QL_STORAGE_4BIT && e % 2 == 0 && n % 2 == 0) {
        fetch_4bit(out, w, e, e + n);
    } else if (w->storage == QL_STORAGE_BF16) {
        memcpy(out, (const char *)w->data + e * 2, n * 2);
    } else {
        ql_fetch_rounded(out, w, start, n, ql_decode_avx512);
    }
}

static void narrow(void *out, const float *x, size_t n)
{
    uint16_t *to = out;

    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 some =
            (__mmask16)(n - i < 16 ? (1u << (n - i)) - 1 : 0xffff);

        _mm256_mask_storeu_epi16(
            to + i, some,
            (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(some, x + i)));
    }
}

static void pack_nt(uint32_t *panel, const void *rows, size_t ld, size_t cells)
{
    ql_pack_nt_avx512(panel, NR, rows, ld, cells);
}

/* Two rows of 32 words become 32 cells. */
static void interleave(uint32_t *to, __m512i first, __m512i second)
{
    const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11,
                                         42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37,
                                         5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));

    _mm512_storeu_si512(to, _mm512_permutex2var_epi16(first, low, second));
    _mm512_storeu_si512(to + 16,
                        _mm512_permutex2var_epi16(first, high, second));
}

static void pack_nn(uint32_t *panel, const void *rows, size_t ld, size_t depth)
{
    const uint16_t *row = rows;

    for (size_t p = 0; p < depth; p += 2, panel += NR, row += 2 * ld) {
        const __mmask32 next = p + 1 < depth ? 0xffffffff : 0;

        for (size_t j = 0; j < NR; j += 32) {
            interleave(panel + j, _mm512_loadu_si512(row + j),
                       _mm512_maskz_loadu_epi16(next, row + ld + j));
        }
    }
}

static __m512bh load_cells(const uint32_t *at)
{
    return (__m512bh)_mm512_loadu_si512(at);
}

static __m512bh broadcast_cell(const void *a, size_t i)
{
    return (__m512bh)_mm512_set1_epi32((int)ql_cell(a, i));
}

static void ukr(float *c, size_t ldc, const void *a, size_t lda,
                const uint32_t *panel, size_t cells, bool add)
{
    __m512 sum[MR][4];

#pragma GCC unroll 6
    for (size_t i = 0; i < MR; i++) {
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            sum[i][j] = _mm512_setzero_ps();
        }
    }
    for (size_t p = 0; p < cells; p++, panel += NR) {
        const __m512bh b0 = load_cells(panel);
        const __m512bh b1 = load_cells(panel + 16);
        const __m512bh b2 = load_cells(panel + 32);
        const __m512bh b3 = load_cells(panel + 48);

#pragma GCC unroll 6
        for (size_t i = 0; i < MR; i++) {
            const __m512bh x = broadcast_cell(a, i * lda + p);

            sum[i][0] = _mm512_dpbf16_ps(sum[i][0], x, b0);
            sum[i][1] = _mm512_dpbf16_ps(sum[i][1], x, b1);
            sum[i][2] = _mm512_dpbf16_ps(sum[i][2], x, b2);
            sum[i][3] = _mm512_dpbf16_ps(sum[i][3], x, b3);
        }
    }
    ql_put_avx512(c, ldc, sum, MR, add);
}

static void dot4(float *out, const void *a, size_t lda, const void *b, size_t n)
{
    const uint16_t *x = a;
    const uint16_t *y = b;
    __m512 sum[4];

#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        sum[i] = _mm512_setzero_ps();
    }
    for (size_t p = 0; p < n; p += 32) {
        const size_t rest = n - p;
        const __mmask32 some =
            (__mmask32)(rest < 32 ? (1ull << rest) - 1 : 0xffffffff);
        const __m512bh v = (__m512bh)_mm512_maskz_loadu_epi16(some, y + p);

#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) {
            const __m512bh u =
                (__m512bh)_mm512_maskz_loadu_epi16(some, x + i * lda + p);

            sum[i] = _mm512_dpbf16_ps(sum[i], u, v);
        }
    }
    for (size_t i = 0; i < 4; i++) {
        out[i] += _mm512_reduce_add_ps(sum[i]);
    }
}

const ql_kernels ql_kernels_avx512bf16 = {
    .name = "avx512bf16",
    .cpu_need = QL_CPU_AVX512 | QL_CPU_AVX512BF16,
    .pair = 2,
    .mr = MR,
    .nr = NR,
    .decode = ql_decode_avx512,
    .fetch = fetch,
    .narrow = narrow,
    .pack_nt = pack_nt,
    .pack_nn = pack_nn,
    .ukr = ukr,
    .dot4 = dot4,
};
