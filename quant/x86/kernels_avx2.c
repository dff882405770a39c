/* AVX2 with FMA and F16C: eight lanes, sixteen registers. */
#include <immintrin.h>

#include "quant/cpu.h"
#include "quant/kernel_parts.h"
#include "quant/kernels.h"
#include "quant/x86/parts_avx2.h"

enum {
    MR = 6, /* 6 x 2 accumulators, 2 vectors of B, 1 of A: 15 registers */
    NR = 16,
    LINE = 16,    /* cells in a cache line */
    THIN_MR = 12, /* and 1 of B, 1 of A: 14 registers */
    THIN_NR = 8,
    FEW = 12
};

/* Four bytes become eight lanes by shifting copies of them; the table's two
 * halves are looked up with three bits and the fourth picks the half. */
static void pairs(float *out, const uint8_t *bytes, size_t n,
                  const ql_qtensor *w, float scale)
{
    const __m256i shift = _mm256_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24);
    const __m256 low = ql_scaled_avx2(w->code, scale, w->round);
    const __m256 high = ql_scaled_avx2(w->code + 8, scale, w->round);
    float value[16];
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        int32_t four;

        memcpy(&four, bytes + i, sizeof(four));
        const __m256i code = _mm256_srlv_epi32(_mm256_set1_epi32(four), shift);
        const __m256 half = _mm256_castsi256_ps(_mm256_slli_epi32(code, 28));

        _mm256_storeu_ps(out + 2 * i,
                         _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, code),
                                          _mm256_permutevar8x32_ps(high, code),
                                          half));
    }
    if (i == n) {
        return;
    }
    _mm256_storeu_ps(value, low);
    _mm256_storeu_ps(value + 8, high);
    for (; i < n; i++) {
        out[2 * i] = value[bytes[i] >> 4];
        out[2 * i + 1] = value[bytes[i] & 15];
    }
}

static void decode_f16(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    const char *from = (const char *)w->data + (w->first + start) * 2;
    const size_t whole = n / 8 * 8;

    for (size_t i = 0; i < whole; i += 8) {
        const void *at = from + 2 * i;

        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(at)));
    }
    ql_decode_f16(out + whole, w, start + whole, n - whole);
}

void ql_decode_avx2(float *out, const ql_qtensor *w, size_t start, size_t n)
{
    ql_decode_by(out, w, start, n, pairs, decode_f16);
}

/* Four cells of two rows, one row a lane. */
static __m256i two_rows(const char *at, size_t step)
{
    return _mm256_loadu2_m128i((const void *)(at + step), (const void *)at);
}

/* Four cells of eight rows become four vectors of the panel. */
static void transpose(uint32_t *panel, size_t width, const char *at, size_t row)
{
    const __m256i r0 = two_rows(at, 4 * row);
    const __m256i r1 = two_rows(at + row, 4 * row);
    const __m256i r2 = two_rows(at + 2 * row, 4 * row);
    const __m256i r3 = two_rows(at + 3 * row, 4 * row);
    const __m256i a = _mm256_unpacklo_epi32(r0, r1);
    const __m256i b = _mm256_unpackhi_epi32(r0, r1);
    const __m256i c = _mm256_unpacklo_epi32(r2, r3);
    const __m256i d = _mm256_unpackhi_epi32(r2, r3);
    const __m256i column[4] = {
        _mm256_unpacklo_epi64(a, c), _mm256_unpackhi_epi64(a, c),
        _mm256_unpacklo_epi64(b, d), _mm256_unpackhi_epi64(b, d)};

#pragma GCC unroll 4
    for (size_t p = 0; p < 4; p++) {
        _mm256_storeu_si256((__m256i *)(void *)(panel + p * width), column[p]);
    }
}

static void pack_nt(uint32_t *panel, size_t width, const void *rows, size_t ld,
                    size_t cells)
{
    const size_t row = ld * sizeof(*panel);
    const char *at = rows;

    for (size_t p = 0; p < cells; p += 4) {
        transpose(panel + p * width, width, at + p * sizeof(*panel), row);
    }
}

static void pack_nn(uint32_t *panel, size_t width, const void *rows, size_t ld,
                    size_t depth)
{
    float *to = (float *)(void *)panel;
    const float *row = rows;

    for (size_t p = 0; p < depth; p++, to += width, row += ld) {
        for (size_t j = 0; j < width; j += 8) {
            _mm256_storeu_ps(to + j, _mm256_loadu_ps(row + j));
        }
    }
}

static void fill_nn(uint32_t *panel, const ql_slab *s)
{
    if (!ql_fill_blocks_avx2(panel, s)) {
        ql_fill_nn_by(panel, s, sizeof(float), ql_fetch_avx2, pack_nn);
    }
}

/* One vector of C (+)= sum, by a mask that is empty where nothing is added. */
static void put(float *c, __m256i add, __m256 sum)
{
    _mm256_storeu_ps(c, _mm256_add_ps(_mm256_maskload_ps(c, add), sum));
}

/* Where the rows of a strip of A are read. Few instructions matter more than
 * anything else where a core runs two threads: each row has an address of its
 * own, which moves on once a line. */
typedef struct strip {
    const float *row[MR];
    size_t next; /* values to the same row of the strip below */
} strip;

/* Clang would take one half of a line before the other, and keep what it reads
 * of A in memory meanwhile. */
static inline __attribute__((always_inline)) void keep_order(__m256 sum[2])
{
#ifdef __clang__
    __asm__ volatile("" : "+x"(sum[0]), "+x"(sum[1]));
#else
    (void)sum;
#endif
}

/* One cell of the depth: a row of the panel times a column of the strip. */
static inline __attribute__((always_inline)) void
add_cell(__m256 sum[MR][2], const strip *a, size_t p, const float *b,
         size_t rows)
{
    const __m256 b0 = _mm256_loadu_ps(b + p * NR);
    const __m256 b1 = _mm256_loadu_ps(b + p * NR + 8);

#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
        const __m256 y = _mm256_broadcast_ss(a->row[i] + p);

        sum[i][0] = _mm256_fmadd_ps(y, b0, sum[i][0]);
        sum[i][1] = _mm256_fmadd_ps(y, b1, sum[i][1]);
        keep_order(sum[i]);
    }
}

/* Moves on by n cells. */
static inline __attribute__((always_inline)) void move(strip *a, size_t n,
                                                       size_t rows)
{
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
        a->row[i] += n;
        /* Or the compiler would make addresses out of each other. */
        __asm__("" : "+r"(a->row[i]));
    }
}

/* A cache line of the depth. Rows are too short for the processor to see that
 * they are read from end to end: those of the next strip, which is likely to
 * follow, are brought nearer. */
static inline __attribute__((always_inline)) void
add_line(__m256 sum[MR][2], strip *a, const float *b, size_t rows)
{
#pragma GCC unroll 16
    for (size_t p = 0; p < LINE; p++) {
        if (p % 2 == 0 && p / 2 < rows) {
            _mm_prefetch((const char *)(a->row[p / 2] + a->next), _MM_HINT_T0);
        }
        add_cell(sum, a, p, b, rows);
    }
    move(a, LINE, rows);
}

static inline __attribute__((always_inline)) void
product(float *c, size_t ldc, const void *a, size_t lda, const uint32_t *panel,
        size_t cells, size_t rows, bool add)
{
    const float *b = (const float *)(const void *)panel;
    const float *end = b + cells * NR;
    const __m256i all = _mm256_set1_epi32(add ? -1 : 0);
    strip s = {.next = rows * lda};
    __m256 sum[MR][2];

#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
        s.row[i] = (const float *)a + i * lda;
        sum[i][0] = _mm256_setzero_ps();
        sum[i][1] = _mm256_setzero_ps();
        _mm_prefetch((const char *)(c + i * ldc), _MM_HINT_T0);
    }
    move(&s, 0, rows);
    for (size_t n = cells / LINE; n > 0; n--, b += LINE * NR) {
        add_line(sum, &s, b, rows);
    }
    for (; b < end; b += NR) {
        add_cell(sum, &s, 0, b, rows);
        move(&s, 1, rows);
    }
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
        put(c + i * ldc, all, sum[i][0]);
        put(c + i * ldc + 8, all, sum[i][1]);
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
    const float *b = (const float *)(const void *)panel;
    __m256 sum[THIN_MR];

#pragma GCC unroll 12
    for (size_t i = 0; i < THIN_MR; i++) {
        sum[i] = _mm256_setzero_ps();
    }
    for (size_t p = 0; p < cells; p++, b += THIN_NR) {
        const __m256 y = _mm256_loadu_ps(b);

#pragma GCC unroll 12
        for (size_t i = 0; i < THIN_MR; i++) {
            sum[i] = _mm256_fmadd_ps(_mm256_broadcast_ss(x + i * lda + p), y,
                                     sum[i]);
        }
    }
#pragma GCC unroll 12
    for (size_t i = 0; i < THIN_MR; i++) {
        if (i < rows) {
            put(c + i * ldc, _mm256_set1_epi32(add ? -1 : 0), sum[i]);
        }
    }
}

const ql_kernels ql_kernels_avx2 = {
    .name = "avx2",
    .cpu_need = QL_CPU_AVX2,
    .pair = 1,
    .lanes = 8,
    .tile = {MR, NR, ukr},
    .cache = {512, 64, 48},
    .thin = {THIN_MR, THIN_NR, thin},
    .decode = ql_decode_avx2,
    .fetch = ql_fetch_avx2,
    .narrow = ql_narrow_f32,
    .pack_nt = pack_nt,
    .pack_nn = pack_nn,
    .fill_nn = fill_nn,
    .turn = pack_nt,
    .dot = ql_dot_avx2,
    .dot_bf16 = ql_dot_bf16_avx2,
    .few = FEW,
    .arrange = ql_arrange_avx2,
    .dot4 = ql_dot4_avx2,
};
