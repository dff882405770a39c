/* What all instruction sets share: the walk over blocks, odd edges, plain dense
 * storage, packing without vectors. Static inline, so that each set's file
 * compiles it with its own flags. */
#ifndef QL_QUANT_KERNEL_PARTS_H
#define QL_QUANT_KERNEL_PARTS_H

#include "quant/half.h"
#include "quant/kernels.h"

/* out[2 * pairs] = rounded values of the codes in bytes[pairs], high nibble
 * first, all under one scale. */
typedef void ql_pairs_fn(float *out, const uint8_t *bytes, size_t pairs,
                         const ql_qtensor *w, float scale);

static inline float ql_round_to(float x, ql_round round)
{
    switch (round) {
    case QL_ROUND_BF16:
        return ql_bf16_to_f32(ql_f32_to_bf16(x));
    case QL_ROUND_F16:
        return ql_f16_to_f32(ql_f32_to_f16(x));
    case QL_ROUND_NONE:
        break;
    }
    return x;
}

/* Value of the element with flat index e, whose block has this scale. */
static inline float ql_decode_one(const ql_qtensor *w, size_t e, float scale)
{
    const uint8_t byte = ((const uint8_t *)w->data)[e / 2];
    const unsigned code = e % 2 ? byte & 15u : byte >> 4;

    return ql_round_to(w->code[code] * scale, w->round);
}

/* n / d; the sizes of blocks are powers of two as a rule. */
static inline size_t ql_quotient(size_t n, size_t d)
{
    return (d & (d - 1)) == 0 ? n >> __builtin_ctzll(d) : n / d;
}

/* The scales of a 4-bit tensor, block after block; see ql_qtensor_scale. A
 * walk holds a copy of what it needs, or the compiler would reload it after
 * every store. */
typedef struct ql_scales {
    const float *plain; /* or NULL, and */
    const uint8_t *inner;
    const float *outer, *map;
    float offset;
    size_t size, left; /* blocks under one outer scale; of the current one */
} ql_scales;

static inline ql_scales ql_scales_from(const ql_qtensor *w, size_t block)
{
    ql_scales s = {.plain = w->absmax, .left = SIZE_MAX};

    if (w->absmax) {
        s.plain += block;
        return s;
    }
    s.size = w->nested_block;
    s.inner = w->absmax_u8 + block;
    s.outer = w->nested_absmax + ql_quotient(block, s.size);
    s.map = w->nested_code;
    s.left = (ql_quotient(block, s.size) + 1) * s.size - block;
    s.offset = w->offset;
    return s;
}

/* Scale i from here on, i < left. */
static inline float ql_scales_at(const ql_scales *s, size_t i)
{
    return s->plain ? s->plain[i] : s->map[s->inner[i]] * *s->outer + s->offset;
}

/* Moves on by n <= left. */
static inline void ql_scales_skip(ql_scales *s, size_t n)
{
    if (s->plain) {
        s->plain += n;
        return;
    }
    s->inner += n;
    s->left -= n;
    if (s->left == 0) {
        s->left = s->size;
        s->outer++;
    }
}

/* The scale of this block; moves on by one. */
static inline float ql_scales_next(ql_scales *s)
{
    const float scale = ql_scales_at(s, 0);

    ql_scales_skip(s, 1);
    return scale;
}

/* Scales of n blocks. */
static inline void ql_scales_read(float *restrict out, ql_scales s, size_t n)
{
    if (s.plain) {
        memcpy(out, s.plain, n * sizeof(*out));
        return;
    }
    while (n > 0) {
        const size_t run = n < s.left ? n : s.left;
        const float outer = *s.outer;

#pragma GCC unroll 4
        for (size_t i = 0; i < run; i++) {
            out[i] = s.map[s.inner[i]] * outer + s.offset;
        }
        ql_scales_skip(&s, run);
        out += run;
        n -= run;
    }
}

/* ql_decode_fn for 4-bit storage, given how to decode a run of whole bytes.
 * Blocks are even, so a run of whole bytes lies between odd edges. */
static inline void ql_decode_walk(float *out, const ql_qtensor *w, size_t start,
                                  size_t n, ql_pairs_fn *pairs)
{
    const uint8_t *data = w->data;
    const size_t size = w->block;
    size_t e = w->first + start;
    const size_t end = e + n;
    const size_t block = ql_quotient(e, size);
    size_t stop = block * size;
    ql_scales scales = ql_scales_from(w, block);

    while (e < end) {
        const float scale = ql_scales_next(&scales);

        stop = stop + size < end ? stop + size : end;
        if (e % 2) {
            *out++ = ql_decode_one(w, e++, scale);
        }
        const size_t whole = (stop - e) / 2;

        pairs(out, data + e / 2, whole, w, scale);
        out += 2 * whole;
        e += 2 * whole;
        if (e < stop) {
            *out++ = ql_decode_one(w, e++, scale);
        }
    }
}

/* ql_decode_fn for dense storage. Elements may lie at any address. */
static inline void ql_decode_f32(float *out, const ql_qtensor *w, size_t start,
                                 size_t n)
{
    memcpy(out, (const char *)w->data + (w->first + start) * sizeof(float),
           n * sizeof(float));
}

static inline void ql_decode_bf16(float *out, const ql_qtensor *w, size_t start,
                                  size_t n)
{
    const char *from = (const char *)w->data + (w->first + start) * 2;

    for (size_t i = 0; i < n; i++) {
        uint16_t h;

        memcpy(&h, from + 2 * i, sizeof(h));
        out[i] = ql_bf16_to_f32(h);
    }
}

static inline void ql_decode_f16(float *out, const ql_qtensor *w, size_t start,
                                 size_t n)
{
    const char *from = (const char *)w->data + (w->first + start) * 2;

    for (size_t i = 0; i < n; i++) {
        uint16_t h;

        memcpy(&h, from + 2 * i, sizeof(h));
        out[i] = ql_f16_to_f32(h);
    }
}

/* ql_decode_fn, given a set's ways of 4-bit storage and of f16. */
static inline void ql_decode_by(float *out, const ql_qtensor *w, size_t start,
                                size_t n, ql_pairs_fn *pairs, ql_decode_fn *f16)
{
    switch (w->storage) {
    case QL_STORAGE_4BIT:
        ql_decode_walk(out, w, start, n, pairs);
        break;
    case QL_STORAGE_F32:
        ql_decode_f32(out, w, start, n);
        break;
    case QL_STORAGE_BF16:
        ql_decode_bf16(out, w, start, n);
        break;
    case QL_STORAGE_F16:
        f16(out, w, start, n);
        break;
    case QL_STORAGE_COUNT:
        break;
    }
}

/* ql_narrow_fn of sets in f32. */
static inline void ql_narrow_f32(void *out, const float *x, size_t n)
{
    memcpy(out, x, n * sizeof(*x));
}

/* ql_fill_nn_fn, given how a set fetches and packs operands of some bytes. */
static inline void ql_fill_nn_by(uint32_t *panel, const ql_slab *s,
                                 size_t bytes, ql_fetch_fn *fetch,
                                 ql_pack_nn_fn *pack)
{
    const size_t ld = (s->n + s->width - 1) / s->width * s->width;
    char *room = s->room;

    for (size_t r = 0; r < s->rows; r++) {
        char *row = room + r * ld * bytes;

        fetch(row, s->w, s->start + r * s->w->cols, s->n);
        memset(row + s->n * bytes, 0, (ld - s->n) * bytes);
    }
    for (size_t i = 0; i < ld; i += s->width, panel += s->step) {
        pack(panel, s->width, room + i * bytes, ld, s->rows);
    }
}

/* n whole blocks of 64 as operands; their scales are the next ones, under one
 * outer scale. Scales and codes are no NaN. */
typedef void ql_blocks_fn(void *out, const uint8_t *bytes, size_t n,
                          const ql_qtensor *w, const ql_scales *scales);

/* ql_fetch_fn for 4-bit storage, given a faster way for whole blocks of 64, and
 * a slower one for all others; operands have so many bytes. */
static inline __attribute__((always_inline)) void
ql_fetch_blocks(void *out, const ql_qtensor *w, size_t start, size_t n,
                size_t bytes, ql_blocks_fn *blocks, ql_fetch_fn *others)
{
    enum {
        BLOCK = 64
    };
    const size_t e = w->first + start;
    const size_t before = (BLOCK - e % BLOCK) % BLOCK;
    char *to = out;

    if (w->block != BLOCK || n < before + BLOCK) {
        others(out, w, start, n);
        return;
    }
    if (before > 0) {
        others(out, w, start, before);
    }
    size_t rest = (n - before) / BLOCK;
    size_t b = (e + before) / BLOCK;
    ql_scales scales = ql_scales_from(w, b);

    to += before * bytes;
    while (rest > 0) {
        const size_t m = rest < scales.left ? rest : scales.left;

        blocks(to, (const uint8_t *)w->data + b * BLOCK / 2, m, w, &scales);
        ql_scales_skip(&scales, m);
        to += m * BLOCK * bytes;
        b += m;
        rest -= m;
    }
    const size_t after = (n - before) % BLOCK;

    if (after > 0) {
        others(to, w, start + n - after, after);
    }
}

/* ql_fetch_fn in bf16 where a set has nothing faster. */
static inline void ql_fetch_rounded(void *out, const ql_qtensor *w,
                                    size_t start, size_t n,
                                    ql_decode_fn *decode)
{
    enum {
        PIECE = 128
    };
    float piece[PIECE];
    uint16_t *to = out;

    for (size_t i = 0; i < n; i += PIECE) {
        const size_t m = n - i < PIECE ? n - i : PIECE;

        decode(piece, w, start + i, m);
        for (size_t j = 0; j < m; j++) {
            to[i + j] = ql_f32_to_bf16(piece[j]);
        }
    }
}

/* ql_fetch_fn in bf16, given what a set has for 4-bit storage between bytes and
 * for floats; decode for what is left. */
static inline void ql_fetch_by(void *out, const ql_qtensor *w, size_t start,
                               size_t n, ql_fetch_fn *four_bits,
                               ql_narrow_fn *narrow, ql_decode_fn *decode)
{
    const size_t e = w->first + start;
    const char *data = w->data;

    if (w->storage == QL_STORAGE_4BIT && e % 2 == 0 && n % 2 == 0) {
        four_bits(out, w, start, n);
    } else if (w->storage == QL_STORAGE_BF16) {
        memcpy(out, data + e * 2, n * 2);
    } else if (w->storage == QL_STORAGE_F32) {
        narrow(out, (const void *)(data + e * 4), n);
    } else {
        ql_fetch_rounded(out, w, start, n, decode);
    }
}

/* What dot4 reads: rows, after the last one the last one again, and tokens. */
typedef struct ql_dot_rows {
    const uint8_t *bytes[QL_DOT4_ROWS];
    const float *scale[QL_DOT4_ROWS]; /* of a row's blocks, among scales */
    float scales[QL_DOT4_ROWS * QL_DOT4_DEPTH / QL_DOT4_BLOCK];
    size_t next; /* bytes to the rows that will likely be read next */
} ql_dot_rows;

static inline void ql_dot_rows_open(ql_dot_rows *o, const ql_dots *d)
{
    const size_t blocks = d->n / QL_DOT4_BLOCK;
    const size_t each = d->w->cols / QL_DOT4_BLOCK; /* of a whole row */
    const size_t first = d->start / QL_DOT4_BLOCK;
    const size_t apart = blocks == each ? 1 : d->rows; /* runs of scales */

    o->next = QL_DOT4_ROWS * d->w->cols / 2;
    for (size_t r = 0; r < QL_DOT4_ROWS; r++) {
        const size_t row = r < d->rows ? r : d->rows - 1;

        o->bytes[r] = (const uint8_t *)d->w->data +
                      (first + row * each) * QL_DOT4_BLOCK / 2;
        o->scale[r] = o->scales + row * blocks;
    }
    for (size_t r = 0; r < apart; r++) {
        ql_scales_read(o->scales + r * blocks,
                       ql_scales_from(d->w, first + r * each),
                       d->rows / apart * blocks);
    }
    if (d->w->absmax_u8) { /* those of the next rows */
        ql_prefetch(d->w->absmax_u8 + first + QL_DOT4_ROWS * each,
                    QL_DOT4_ROWS * each);
    }
}

/* ql_dot4_fn where a set has nothing faster: x keeps its order. */
static inline void ql_dot4_fetched(float sum[][QL_DOT4_ROWS], const ql_dots *d,
                                   ql_fetch_fn *fetch, ql_dot_fn *dot,
                                   size_t pair)
{
    enum {
        PIECE = 256
    };
    uint32_t piece[PIECE];

    for (size_t r = 0; r < d->rows; r++) {
        const size_t row = d->start - d->w->first + r * d->w->cols;

        for (size_t i = 0; i < d->n; i += PIECE) {
            const size_t m = d->n - i < PIECE ? d->n - i : PIECE;

            fetch(piece, d->w, row + i, m);
            for (size_t t = 0; t < d->tokens; t++) {
                sum[t][r] += dot(piece, d->x + t * d->ldx + i / pair, m);
            }
        }
    }
}

/* Before calls that differ in a constant only: Clang would make them one, of
 * which no number of tokens is known. */
#ifdef __clang__
#define QL_APART __attribute__((nomerge))
#else
#define QL_APART
#endif

/* A ql_dot4_fn for a known number of tokens. */
typedef void ql_dot4_tokens_fn(float sum[][QL_DOT4_ROWS], const ql_dots *d,
                               const void *rows, size_t T);

/* ql_dot4_fn, given one that is compiled for each number of tokens: its sums
 * then stay in registers. */
static inline __attribute__((always_inline)) void
ql_dot4_unrolled(float sum[][QL_DOT4_ROWS], const ql_dots *d, const void *rows,
                 ql_dot4_tokens_fn *tokens)
{
    switch (d->tokens) {
    case 1:
        QL_APART tokens(sum, d, rows, 1);
        break;
    case 2:
        QL_APART tokens(sum, d, rows, 2);
        break;
    case 3:
        QL_APART tokens(sum, d, rows, 3);
        break;
    default:
        QL_APART tokens(sum, d, rows, 4);
    }
}

/* ql_ukr_fn for up to six rows, given one that is compiled for each number. */
static inline __attribute__((always_inline)) void
ql_ukr_unrolled(float *c, size_t ldc, const void *a, size_t lda,
                const uint32_t *panel, size_t cells, size_t rows, bool add,
                ql_ukr_fn *product)
{
    switch (rows) {
    case 1:
        product(c, ldc, a, lda, panel, cells, 1, add);
        break;
    case 2:
        product(c, ldc, a, lda, panel, cells, 2, add);
        break;
    case 3:
        product(c, ldc, a, lda, panel, cells, 3, add);
        break;
    case 4:
        product(c, ldc, a, lda, panel, cells, 4, add);
        break;
    case 5:
        product(c, ldc, a, lda, panel, cells, 5, add);
        break;
    default:
        product(c, ldc, a, lda, panel, cells, 6, add);
    }
}

/* Value i of floats, or of bf16. */
static inline float ql_value(const void *x, size_t i, bool bf16)
{
    return bf16 ? ql_bf16_to_f32(((const uint16_t *)x)[i])
                : ((const float *)x)[i];
}

/* Cell i of an array of operands. */
static inline uint32_t ql_cell(const void *operands, size_t i)
{
    uint32_t cell;

    memcpy(&cell, (const char *)operands + i * sizeof(cell), sizeof(cell));
    return cell;
}

/* The cell of two bf16 values, the first of which comes first in memory. */
static inline uint32_t ql_cell_of(uint16_t first, uint16_t second)
{
    return (uint32_t)second << 16 | first;
}

#endif
