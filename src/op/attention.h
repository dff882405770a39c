/* Attention over packed sequences, with grouped key/value heads, in tiles: no
 * T x T matrix is kept, and blocks of it that nobody sees cost nothing.
 *
 *   s[i,j] = cap tanh(scale q[i] . k[j] / cap)    without a cap: scale q . k
 *   p[i,:] = softmax(s[i,:])                      over the keys that i sees
 *   o[i]   = sum_j p[i,j] v[j]
 *
 * A query sees keys of its own sequence only: itself and those before it, the
 * last window of them if there is a window (i - window < j <= i, as Mistral
 * and Gemma have it), or all keys of the sequence, before and behind it.
 *
 * The forward keeps lse[i] = log sum_j exp s[i,j], from which the backward
 * rebuilds p tile by tile. Source: Milakov, Gimelshein: Online normalizer
 * calculation for softmax, 2018; Dao et al.: FlashAttention, 2022. */
#ifndef QL_OP_ATTENTION_H
#define QL_OP_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ql_attention_shape {
    size_t T;        /* tokens of all sequences together */
    size_t H, KV, D; /* query heads, key/value heads (KV divides H), width */
    const size_t *start; /* [sequences + 1]: first token of each, then T */
    size_t sequences;
    float scale;    /* as a rule 1 / sqrt(D) */
    float softcap;  /* cap on the scores, as Gemma 2 has it; 0: none */
    size_t window;  /* keys that a query sees at most; 0: no limit */
    bool both_ways; /* sees keys behind it too, as in BERT; then no window */
    size_t past;    /* keys before the first query's own, when the one sequence
                       goes on from tokens of earlier calls; else 0 */
} ql_attention_shape;

/* Bytes of scratch for either direction, for the threads in use. */
size_t ql_attention_work_bytes(const ql_attention_shape *s);

/*   o     [T, H, D]          written
 *   lse   [T, H]             written, kept for the backward
 *   q     [T, H, D]          read
 *   k, v  [past + T, KV, D]  read
 *   work  ql_attention_work_bytes(s) bytes, any content, aligned for float
 * Cannot fail. Threads: splits sequences, heads and rows; the result does not
 * depend on their number. */
void ql_attention_fwd(float *o, float *lse, const float *q, const float *k,
                      const float *v, const ql_attention_shape *s, void *work);

/* What the backward needs of the forward: what went in and what came out. */
typedef struct ql_attention_kept {
    const float *o, *lse, *q, *k, *v;
} ql_attention_kept;

/* Without a past.
 *
 *   dq        [T, H, D]   written
 *   dk, dv    [T, KV, D]  written
 *   dout      [T, H, D]   gradient of o, read
 * Cannot fail. Threads: as the forward. */
void ql_attention_bwd(float *dq, float *dk, float *dv, const float *dout,
                      const ql_attention_kept *f, const ql_attention_shape *s,
                      void *work);

#endif
