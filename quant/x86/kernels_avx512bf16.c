/* AVX-512 with bf16 dot products: operands are rounded to bf16, two to a cell;
 * sums are in f32. */
#include <immintrin.h>

#include "quant/cpu.h"
#include "quant/kernel_parts.h"
#include "quant/x86/parts_avx512.h"

enum {
    MR = 6, /* 6 x 4 accumulators, 4 vectors of B, 1 of A: 29 registers */
    NR = 64,
    THIN_MR = 12, /* more rows have more addresses than registers */
    THIN_NR = 16,
    FEW = 8
};

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

/* Whole blocks of 64 under one outer scale of double quantization, in the type
 * f32 or bf16: nearly all that there is, so this loop has no branches. */
static void fetch_usual(uint16_t *out, const uint8_t *bytes, size_t blocks,
                        __m512 code, const ql_scales *scales)
{
    const ql_scales s = *scales;
    const float outer = *s.outer;

    for (size_t b = 0; b < blocks; b++, out += 64, bytes += 32) {
        const float scale = s.map[s.inner[b]] * outer + s.offset;
        const __m512i table = table_of(code, scale, QL_ROUND_NONE);

        store_codes(out, bytes, table);
        store_codes(out + 32, bytes + 16, table);
    }
}

/* A run between bytes. Blocks are even, so all pieces of it are. */
static void fetch_4bit(uint16_t *out, const ql_qtensor *w, size_t e, size_t n)
{
    const __m512 code = _mm512_loadu_ps(w->code);
    const uint8_t *bytes = (const uint8_t *)w->data + e / 2;
    const size_t size = w->block;
    const size_t block = ql_quotient(e, size);
    ql_scales scales = ql_scales_from(w, block);
    const bool usual = size == 64 && !w->absmax && w->round != QL_ROUND_F16;
    size_t rest = (block + 1) * size - e; /* of the block */

    while (n > 0) {
        size_t m = rest < n ? rest : n;

        if (usual && m == size) {
            const size_t whole = n / 64;
            const size_t blocks = whole < scales.left ? whole : scales.left;

            fetch_usual(out, bytes, blocks, code, &scales);
            ql_scales_skip(&scales, blocks);
            m = blocks * 64;
        } else {
            fetch_bytes(out, bytes, m / 2,
                        table_of(code, ql_scales_at(&scales, 0), w->round));
            ql_scales_skip(&scales, 1);
        }
        out += m;
        bytes += m / 2;
        n -= m;
        rest = size;
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

static void fetch(void *out, const ql_qtensor *w, size_t start, size_t n)
{
    const size_t e = w->first + start;
    const char *data = w->data;

    if (w->storage == QL_STORAGE_4BIT && e % 2 == 0 && n % 2 == 0) {
        fetch_4bit(out, w, e, n);
    } else if (w->storage == QL_STORAGE_BF16) {
        memcpy(out, data + e * 2, n * 2);
    } else if (w->storage == QL_STORAGE_F32) {
        narrow(out, (const void *)(data + e * 4), n);
    } else {
        ql_fetch_rounded(out, w, start, n, ql_decode_avx512);
    }
}

static void pack_nt(uint32_t *panel, size_t width, const void *rows, size_t ld,
                    size_t cells)
{
    ql_pack_nt_avx512(panel, width, rows, ld, cells);
}

/* Sixteen words of two rows become sixteen cells. */
static __m512i interleave(const uint16_t *first, const uint16_t *second,
                          __mmask16 has_second)
{
    const __m512i low =
        _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)first));
    const __m512i high =
        _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(has_second, second));

    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

static void pack_nn(uint32_t *panel, size_t width, const void *rows, size_t ld,
                    size_t depth)
{
    const uint16_t *row = rows;

    for (size_t p = 0; p < depth; p += 2, panel += width, row += 2 * ld) {
        const __mmask16 next = p + 1 < depth ? 0xffff : 0;

        for (size_t j = 0; j < width; j += 16) {
            _mm512_storeu_si512(panel + j,
                                interleave(row + j, row + ld + j, next));
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
#pragma GCC unroll 6
    for (size_t i = 0; i < MR; i++) {
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            ql_put_avx512(c + i * ldc + 16 * j, add ? 0xffff : 0, sum[i][j]);
        }
    }
}

static void thin(float *c, size_t ldc, const void *a, size_t lda,
                 const uint32_t *panel, size_t cells, bool add)
{
    __m512 sum[THIN_MR];

#pragma GCC unroll 12
    for (size_t i = 0; i < THIN_MR; i++) {
        sum[i] = _mm512_setzero_ps();
    }
    for (size_t p = 0; p < cells; p++, panel += THIN_NR) {
        const __m512bh b = load_cells(panel);

#pragma GCC unroll 12
        for (size_t i = 0; i < THIN_MR; i++) {
            sum[i] =
                _mm512_dpbf16_ps(sum[i], broadcast_cell(a, i * lda + p), b);
        }
    }
#pragma GCC unroll 12
    for (size_t i = 0; i < THIN_MR; i++) {
        ql_put_avx512(c + i * ldc, add ? 0xffff : 0, sum[i]);
    }
}

static __m512 dot_step(__m512 sum, const uint16_t *x, const uint16_t *y,
                       __mmask32 some)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_maskz_loadu_epi16(some, x),
                            (__m512bh)_mm512_maskz_loadu_epi16(some, y));
}

static float dot(const void *a, const void *b, size_t n)
{
    const uint16_t *x = a;
    const uint16_t *y = b;
    __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(),
                     _mm512_setzero_ps(), _mm512_setzero_ps()};
    size_t p = 0;

    for (; p + 128 <= n; p += 128) {
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) {
            sum[i] =
                dot_step(sum[i], x + p + 32 * i, y + p + 32 * i, 0xffffffff);
        }
    }
    for (; p < n; p += 32) {
        const size_t rest = n - p;

        sum[0] =
            dot_step(sum[0], x + p, y + p,
                     (__mmask32)(rest < 32 ? (1ull << rest) - 1 : 0xffffffff));
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]),
                                              _mm512_add_ps(sum[2], sum[3])));
}

const ql_kernels ql_kernels_avx512bf16 = {
    .name = "avx512bf16",
    .cpu_need = QL_CPU_AVX512 | QL_CPU_AVX512BF16,
    .pair = 2,
    .lanes = 16,
    .tile = {MR, NR, ukr},
    .thin = {THIN_MR, THIN_NR, thin},
    .decode = ql_decode_avx512,
    .fetch = fetch,
    .narrow = narrow,
    .pack_nt = pack_nt,
    .pack_nn = pack_nn,
    .turn = pack_nt,
    .dot = dot,
    .few = FEW,
    .arrange = ql_arrange_avx512bf16,
    .dot4 = ql_dot4_avx512bf16,
};
