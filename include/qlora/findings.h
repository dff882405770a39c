/* Mistakes in data that would make a training worse without a word. */
#ifndef QLORA_FINDINGS_H
#define QLORA_FINDINGS_H

#include "qlora/dataset.h"

enum {
    QL_FINDING_EXAMPLES = 3 /* places that are named */
};

/* One kind of mistake that was met. All texts are borrowed: constant, or from
 * the dataset. */
typedef struct ql_finding {
    const char *name;   /* for programs: "no_end_token" */
    const char *what;   /* after the count: "samples end in no ..." */
    const char *advice; /* what to do about it */
    bool stops;         /* training refuses the data */
    size_t count;
    ql_origin examples[QL_FINDING_EXAMPLES];
    const char *reasons[QL_FINDING_EXAMPLES]; /* NULL: nothing to add */
    size_t n_examples;
} ql_finding;

/* What is looked at. */
typedef struct ql_findings_case {
    const ql_dataset *data; /* read with keep_going */
    const ql_dataset *eval; /* NULL: none */
    const ql_tokenizer *tok;
    const ql_dataset *whole; /* NULL, or data read once more with all turns of
                                the assistant trained */
} ql_findings_case;

/* Looks for mistakes of all kinds; *n are met, in order of weight. Errors:
 * QL_ENOMEM. Owned: ql_free(*findings). */
QL_API ql_status ql_findings_of(const ql_findings_case *c,
                                ql_finding **findings, size_t *n);

#endif
