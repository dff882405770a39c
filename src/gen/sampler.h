/* Choosing the next token from its logits. */
#ifndef QL_GEN_SAMPLER_H
#define QL_GEN_SAMPLER_H

#include "qlora/generate.h"

/* One candidate: weight is its probability over that of the most likely. */
typedef struct ql_candidate {
    float logit, weight;
    int32_t id;
} ql_candidate;

typedef struct ql_sampler {
    size_t V;
    float *weight;      /* [V] */
    ql_candidate *pick; /* [V] */
    uint8_t *seen;      /* [V] 1: the token is in the text */
} ql_sampler;

/* Errors: QL_ENOMEM. */
ql_status ql_sampler_init(ql_sampler *s, size_t V);
void ql_sampler_free(ql_sampler *s);

/* Options that have no meaning: QL_EINVAL. */
ql_status ql_sampler_check(const ql_generate_options *opt);

/* The most likely id; the lowest one on ties. -1 if any logit is not finite
 * upwards or not a number. */
int32_t ql_sampler_greedy(const float *logits, size_t V);

/* logits [V] of tokens in the text, over the penalty, or times it where they
 * are negative. */
void ql_sampler_penalize(const ql_sampler *s, float *logits, double penalty);

/* Draws an id: temperature first, then top-k, top-p, min-p. u: uniform in
 * [0, 1). Falls back to greedy for temperature 0. -1 as above. */
int32_t ql_sampler_draw(ql_sampler *s, const float *logits,
                        const ql_generate_options *opt, double u);

#endif
