/* One record as it becomes tokens: ids, and for each one whether it is
 * trained. Marks are set by position in the text, never by the value of a
 * token, for the end token may be part of a prompt. */
#ifndef QL_DATA_DRAFT_H
#define QL_DATA_DRAFT_H

#include "src/base/buf.h"

typedef struct ql_sample_draft {
    ql_buf ids;   /* int32_t each */
    ql_buf train; /* uint8_t each */
} ql_sample_draft;

void ql_sample_draft_init(ql_sample_draft *d);
void ql_sample_draft_free(ql_sample_draft *d);
void ql_sample_draft_clear(ql_sample_draft *d);

size_t ql_sample_draft_size(const ql_sample_draft *d);

/* Appends n tokens, all trained or none. Errors: QL_ENOMEM. */
ql_status ql_sample_draft_push(ql_sample_draft *d, const int32_t *ids, size_t n,
                               bool train);

/* Keeps the first n tokens, if there are more. */
void ql_sample_draft_cut(ql_sample_draft *d, size_t n);

/* Tokens that are trained. The first one never is, since nothing comes before
 * it; its mark is cleared here. */
size_t ql_sample_draft_trained(ql_sample_draft *d);

#endif
