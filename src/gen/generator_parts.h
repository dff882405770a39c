/* What a generator holds. */
#ifndef QL_GEN_GENERATOR_PARTS_H
#define QL_GEN_GENERATOR_PARTS_H

#include "src/gen/ends.h"
#include "src/gen/sampler.h"
#include "src/model/run.h"
#include "src/text/styles.h"

struct ql_generator {
    ql_model *m;
    const ql_tokenizer *tok;
    ql_generate_options o;
    size_t context; /* tokens at most */
    ql_run *run;
    ql_cache cache;
    ql_styles styles;
    int32_t chat_end; /* of answers, by the template; -1 for none */
    ql_ends ends;
    ql_sampler sampler;
    float *logits; /* [V] */

    int32_t *ids;   /* of the last text */
    uint64_t texts; /* begun */

    /* Of the text at work. */
    ql_generate_fn *out; /* or NULL */
    void *user;
    int32_t end; /* a token that ends it, beside those of all; -1 for none */
    const char *opens; /* what the prompt has that is shown with the text; or
                          "". Borrowed */
};

/* Writes what follows n ids into *r, which is all zero. */
ql_status ql_generator_write(ql_generator *g, const int32_t *ids, size_t n,
                             ql_generated *r);

#endif
