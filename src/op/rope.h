/* Rotary position embedding, half-split form, with every scaling that
 * transformers knows. Source: Su et al., RoFormer, 2021; transformers
 * modeling_rope_utils.py (facts in the comments of rope.c). */
#ifndef QL_OP_ROPE_H
#define QL_OP_ROPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ql_rope_type {
    QL_ROPE_DEFAULT,
    QL_ROPE_LINEAR,
    QL_ROPE_DYNAMIC,
    QL_ROPE_YARN,
    QL_ROPE_LLAMA3,
    QL_ROPE_LONGROPE
} ql_rope_type;

/* The rotation that a config asks for. Unset numbers are 0. */
typedef struct ql_rope_spec {
    ql_rope_type type;
    double theta;        /* base */
    size_t dim;          /* rotated dimensions of a head, even */
    size_t max_position; /* max_position_embeddings */
    size_t original;     /* original_max_position_embeddings */
    double factor;       /* 0: by the two lengths, where a type takes them */
    double attention_factor;                  /* 0: the type's default */
    double low_freq_factor, high_freq_factor; /* llama3 */
    double beta_fast, beta_slow;              /* yarn: 32, 1 */
    double mscale, mscale_all_dim;            /* yarn */
    bool truncate;                            /* yarn: true */
    const double *long_factor, *short_factor; /* [dim / 2] */
} ql_rope_spec;

/* True if the frequencies depend on the length of the longest sequence. */
bool ql_rope_depends_on_length(const ql_rope_spec *spec);

/* By how much the context was stretched: the factor where it is given, else
 * what the two lengths make. */
double ql_rope_stretch(const ql_rope_spec *spec);

/* inv_freq [dim / 2] in double, for sequences of up to len tokens; returns the
 * factor on cos and sin. */
double ql_rope_frequencies(double *inv_freq, const ql_rope_spec *spec,
                           size_t len);

/* A number that is the same for lengths with the same frequencies. */
size_t ql_rope_phase(const ql_rope_spec *spec, size_t len);

/* Positions first .. first + len - 1. */
typedef struct ql_rope_range {
    size_t first, len;
} ql_rope_range;

/* Tables for a range of positions: cos, sin [len, dim / 2]. inv_freq and
 * factor as ql_rope_frequencies gives them. Angles are taken in double. */
void ql_rope_table(float *cos_table, float *sin_table, const double *inv_freq,
                   double factor, size_t dim, ql_rope_range range);

/* Rotates the first dim of each head in place.
 *
 *   x' [i]         = x[i] cos[p,i] - x[i + dim/2] sin[p,i]
 *   x' [i + dim/2] = x[i + dim/2] cos[p,i] + x[i] sin[p,i]     i < dim / 2
 *
 *   x    [T, heads, D]  rotated
 *   pos  [T]            row p of the tables for each token
 * backward: the inverse rotation, which carries gradients back. Threads:
 * splits T. */
void ql_rope_apply(float *x, const uint32_t *pos, const float *cos_table,
                   const float *sin_table, size_t T, size_t heads, size_t D,
                   size_t dim, bool backward);

#endif
