/* Records of a classifier: a text or a pair of texts, and the class. */
#ifndef QL_DATA_LABELLED_H
#define QL_DATA_LABELLED_H

#include <jansson.h>

#include "src/data/draft.h"
#include "src/model/labels.h"

/* What all records are shaped by. Borrowed. */
typedef struct ql_labelled {
    const ql_tokenizer *tok;
    const ql_labels *labels;
    size_t most; /* tokens that a sample may have; 0: any */
} ql_labelled;

/* The keys that a record is known by, "sentence1, sentence2, label", appended
 * to out. Errors: QL_ENOMEM. */
ql_status ql_labelled_keys(const json_t *record, ql_buf *out);

/* Appends the sample of a record. Of a pair that is too long the longer text is
 * cut, as transformers does it. Safe from several threads at once. Errors:
 * QL_EFORMAT, QL_ENOMEM. */
ql_status ql_labelled_push(const ql_labelled *l, const json_t *record,
                           ql_sample_draft *out);

/* Tokens and types of a text (b NULL) or a pair, appended to out; at most most
 * of them, if it is not 0. Errors: as above. */
ql_status ql_labelled_encode(const ql_tokenizer *tok, const char *a,
                             const char *b, size_t most, ql_sample_draft *out);

#endif
