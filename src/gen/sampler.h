/* Choosing the next token from its logits. */
#ifndef QL_GEN_SAMPLER_H
#define QL_GEN_SAMPLER_H

#include "qlora/generate.h"

/* One candidate of the sampler's scratch. */
typedef struct ql_candidate {
    float logit;
    int32_t id;
} ql_candidate;

/* The most likely id; the lowest one on ties. -1 if any logit is not finite
 * upwards or not a number. */
int32_t ql_sampler_greedy(const float *logits, size_t V);

/* Draws an id: temperature first, then top-k, then top-p, as transformers
 * orders its warpers. u: uniform in [0, 1). scratch [V]. Falls back to greedy
 * for temperature 0. -1 as above. */
int32_t ql_sampler_draw(const float *logits, size_t V,
                        const ql_generate_options *opt, double u,
                        ql_candidate *scratch);

#endif
