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

static void fill_nn(uint32_t *panel, const ql_slab *s)
{
    ql_fill_nn_by(panel, s, sizeof(uint16_t), ql_fetch_avx512bf16, pack_nn);
}

static __m512bh load_cells(const uint32_t *at)
{
    return (__m512bh)_mm512_loadu_si512(at);
}

static __m512bh broadcast_cell(const void *a, size_t i)
{
    return (__m512bh)_mm512_set1_epi32((int)ql_cell(a, i));
}

static inline __attribute__((always_inline)) void
product(float *c, size_t ldc, const void *a, size_t lda, const uint32_t *panel,
        size_t cells, size_t rows, bool add)
{
    __m512 sum[MR][4];

#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            sum[i][j] = _mm512_setzero_ps();
            _mm_prefetch((const char *)(c + i * ldc + 16 * j), _MM_HINT_T0);
        }
    }
    for (size_t p = 0; p < cells; p++, panel += NR) {
        const __m512bh b0 = load_cells(panel);
        const __m512bh b1 = load_cells(panel + 16);
        const __m512bh b2 = load_cells(panel + 32);
        const __m512bh b3 = load_cells(panel + 48);

#pragma GCC unroll 6
        for (size_t i = 0; i < rows; i++) {
            const __m512bh x = broadcast_cell(a, i * lda + p);

            sum[i][0] = _mm512_dpbf16_ps(sum[i][0], x, b0);
            sum[i][1] = _mm512_dpbf16_ps(sum[i][1], x, b1);
            sum[i][2] = _mm512_dpbf16_ps(sum[i][2], x, b2);
            sum[i][3] = _mm512_dpbf16_ps(sum[i][3], x, b3);
        }
    }
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            ql_put_avx512(c + i * ldc + 16 * j, add ? 0xffff : 0, sum[i][j]);
        }
    }
}

static void ukr(float *c, size_t ldc, const void *a, size_t lda,
                const uint32_t *panel, size_t cells, size_t rows, bool add)
{
    ql_ukr_unrolled(c, ldc, a, lda, panel, cells, rows, add, product);
}

static void thin(float *c, size_t ldc, const void *a, size_t lda,
                 const uint32_t *panel, size_t cells, size_t rows, bool add)
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
        if (i < rows) {
            ql_put_avx512(c + i * ldc, add ? 0xffff : 0, sum[i]);
        }
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
    .cache = {256, 256, 512},
    .thin = {THIN_MR, THIN_NR, thin},
    .decode = ql_decode_avx512,
    .fetch = ql_fetch_avx512bf16,
    .narrow = ql_narrow_avx512bf16,
    .pack_nt = pack_nt,
    .pack_nn = pack_nn,
    .fill_nn = fill_nn,
    .turn = pack_nt,
    .dot = dot,
    .dot_bf16 = dot,
    .few = FEW,
    .arrange = ql_arrange_avx512bf16,
    .dot4 = ql_dot4_avx512bf16,
};
