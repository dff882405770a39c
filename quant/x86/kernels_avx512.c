/* AVX-512 F, BW, DQ, VL: sixteen lanes, thirty-two registers. */
#include <immintrin.h>

#include "quant/cpu.h"
#include "quant/kernel_parts.h"
#include "quant/x86/parts_avx512.h"

enum {
    MR = 6, /* 6 x 4 accumulators, 4 vectors of B, 1 of A: 29 registers */
    NR = 64,
    THIN_MR = 12, /* more rows have more addresses than registers */
    THIN_NR = 16,
    FEW = 16
};

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
    const __m512 table = ql_rounded_avx512(
        _mm512_mul_ps(_mm512_loadu_ps(w->code), _mm512_set1_ps(scale)),
        w->round);
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

void ql_decode_avx512(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    ql_decode_by(out, w, start, n, pairs, decode_f16);
}

static void others(void *out, const ql_qtensor *w, size_t start, size_t n)
{
    ql_decode_avx512(out, w, start, n);
}

static inline void blocks(void *out, const uint8_t *bytes, size_t n,
                          const ql_qtensor *w, const ql_scales *scales)
{
    const __m512 code = _mm512_loadu_ps(w->code);
    const ql_scales s = *scales;
    float *to = out;

    for (size_t i = 0; i < n; i++) {
        const __m512 table =
            ql_table_avx512(code, ql_scales_at(&s, i), w->round);

#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++, to += 16, bytes += 8) {
            const void *at = bytes;

            _mm512_storeu_ps(to, eight_bytes(table, _mm_loadl_epi64(at)));
        }
    }
}

static void fetch(void *out, const ql_qtensor *w, size_t start, size_t n)
{
    if (w->storage == QL_STORAGE_4BIT) {
        ql_fetch_blocks(out, w, start, n, sizeof(float), blocks, others);
    } else {
        others(out, w, start, n);
    }
}

static void pack_nt(uint32_t *panel, size_t width, const void *rows, size_t ld,
                    size_t cells)
{
    ql_pack_nt_avx512(panel, width, rows, ld, cells);
}

static void pack_nn(uint32_t *panel, size_t width, const void *rows, size_t ld,
                    size_t depth)
{
    const float *row = rows;

    for (size_t p = 0; p < depth; p++, panel += width, row += ld) {
        for (size_t j = 0; j < width; j += 16) {
            _mm512_storeu_ps(panel + j, _mm512_loadu_ps(row + j));
        }
    }
}

static void fill_nn(uint32_t *panel, const ql_slab *s)
{
    ql_fill_nn_by(panel, s, sizeof(float), fetch, pack_nn);
}

static inline __attribute__((always_inline)) void
product(float *c, size_t ldc, const void *a, size_t lda, const uint32_t *panel,
        size_t cells, size_t rows, bool add)
{
    const float *x = a;
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
        const __m512 b0 = _mm512_loadu_ps(panel);
        const __m512 b1 = _mm512_loadu_ps(panel + 16);
        const __m512 b2 = _mm512_loadu_ps(panel + 32);
        const __m512 b3 = _mm512_loadu_ps(panel + 48);

#pragma GCC unroll 6
        for (size_t i = 0; i < rows; i++) {
            const __m512 y = _mm512_set1_ps(x[i * lda + p]);

            sum[i][0] = _mm512_fmadd_ps(y, b0, sum[i][0]);
            sum[i][1] = _mm512_fmadd_ps(y, b1, sum[i][1]);
            sum[i][2] = _mm512_fmadd_ps(y, b2, sum[i][2]);
            sum[i][3] = _mm512_fmadd_ps(y, b3, sum[i][3]);
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
    const float *x = a;
    __m512 sum[THIN_MR];

#pragma GCC unroll 12
    for (size_t i = 0; i < THIN_MR; i++) {
        sum[i] = _mm512_setzero_ps();
    }
    for (size_t p = 0; p < cells; p++, panel += THIN_NR) {
        const __m512 b = _mm512_loadu_ps(panel);

#pragma GCC unroll 12
        for (size_t i = 0; i < THIN_MR; i++) {
            sum[i] = _mm512_fmadd_ps(_mm512_set1_ps(x[i * lda + p]), b, sum[i]);
        }
    }
#pragma GCC unroll 12
    for (size_t i = 0; i < THIN_MR; i++) {
        if (i < rows) {
            ql_put_avx512(c + i * ldc, add ? 0xffff : 0, sum[i]);
        }
    }
}

/* Sixteen values, from value i on, or some and zeros. */
static inline __m512 sixteen(const void *x, size_t i, __mmask16 some, bool bf16)
{
    if (!bf16) {
        return _mm512_maskz_loadu_ps(some, (const float *)x + i);
    }
    const __m256i words =
        _mm256_maskz_loadu_epi16(some, (const uint16_t *)x + i);

    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16));
}

static inline __attribute__((always_inline)) float
dot_of(const void *a, const float *b, size_t n, bool bf16)
{
    __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(),
                     _mm512_setzero_ps(), _mm512_setzero_ps()};
    size_t p = 0;

    for (; p + 64 <= n; p += 64) {
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) {
            sum[i] = _mm512_fmadd_ps(sixteen(a, p + 16 * i, 0xffff, bf16),
                                     _mm512_loadu_ps(b + p + 16 * i), sum[i]);
        }
    }
    for (; p < n; p += 16) {
        const size_t rest = n - p;
        const __mmask16 some =
            (__mmask16)(rest < 16 ? (1u << rest) - 1 : 0xffff);

        sum[0] = _mm512_fmadd_ps(sixteen(a, p, some, bf16),
                                 _mm512_maskz_loadu_ps(some, b + p), sum[0]);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]),
                                              _mm512_add_ps(sum[2], sum[3])));
}

static float dot(const void *a, const void *b, size_t n)
{
    return dot_of(a, b, n, false);
}

static float dot_bf16(const void *a, const void *b, size_t n)
{
    return dot_of(a, b, n, true);
}

const ql_kernels ql_kernels_avx512 = {
    .name = "avx512",
    .cpu_need = QL_CPU_AVX512,
    .pair = 1,
    .lanes = 16,
    .tile = {MR, NR, ukr},
    .cache = {256, 256, 512},
    .thin = {THIN_MR, THIN_NR, thin},
    .decode = ql_decode_avx512,
    .fetch = fetch,
    .narrow = ql_narrow_f32,
    .pack_nt = pack_nt,
    .pack_nn = pack_nn,
    .fill_nn = fill_nn,
    .turn = pack_nt,
    .dot = dot,
    .dot_bf16 = dot_bf16,
    .few = FEW,
    .arrange = ql_arrange_avx512,
    .dot4 = ql_dot4_avx512,
};
