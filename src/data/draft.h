/* What one record becomes: the tokens of its samples, one sample after the
 * other, and for each token whether it is trained. */
#ifndef QL_DATA_DRAFT_H
#define QL_DATA_DRAFT_H

#include "qlora/dataset.h"
#include "src/base/buf.h"

typedef struct ql_sample_draft {
    ql_buf ids;         /* int32_t each */
    ql_buf train;       /* uint8_t each */
    ql_buf ends;        /* size_t each: tokens up to the end of each sample */
    size_t bos_removed; /* samples that began with two BOS tokens */
    size_t changed;     /* turns whose content the chat template changes */
    int32_t label;      /* of all samples, as ql_sample has it */
    size_t whole;       /* tokens of a labelled sample before it was cut */
} ql_sample_draft;

void ql_sample_draft_init(ql_sample_draft *d);
void ql_sample_draft_free(ql_sample_draft *d);

/* Appends n tokens, all trained or none. Errors of all: QL_ENOMEM. */
ql_status ql_sample_draft_push(ql_sample_draft *d, const int32_t *ids, size_t n,
                               bool train);

/* Ends a sample with the tokens pushed so far. */
ql_status ql_sample_draft_end(ql_sample_draft *d);

/* Samples that were ended, and the i-th of them. Borrowed until the next
 * push. */
size_t ql_sample_draft_count(const ql_sample_draft *d);
ql_sample ql_sample_draft_get(const ql_sample_draft *d, size_t i);

/* Tokens of a sample that are trained. */
size_t ql_sample_trained(ql_sample s);

#endif
