/* The normalizer: what is done to a text before it is split. Steps known:
 * Sequence, Prepend, Replace of a string. */
#ifndef QL_TEXT_NORMALIZE_H
#define QL_TEXT_NORMALIZE_H

#include "src/text/part.h"
#include "src/text/view.h"

typedef struct ql_normal_step ql_normal_step;

/* Writes a text of v.n > 0 bytes, as the step has it, to an empty draft. */
typedef ql_status ql_normal_fn(const ql_normal_step *step, ql_view v,
                               ql_draft *out);

struct ql_normal_step {
    ql_normal_fn *run;
    char *from; /* Replace: what is looked for; else NULL */
    char *to;   /* what is put in */
};

/* All zero: no normalizer. */
typedef struct ql_normalizer {
    ql_normal_step *steps;
    size_t n;
} ql_normalizer;

/* json may be null. Errors: QL_EFORMAT; QL_EUNSUPPORTED, naming the step;
 * QL_ENOMEM. */
ql_status ql_normalizer_init(ql_normalizer *n, const json_t *json,
                             const char *where);
void ql_normalizer_free(ql_normalizer *n);

/* Applies all steps. *out is v itself, or borrowed from one of the drafts.
 * Errors: those of ql_draft_copy. */
ql_status ql_normalizer_run(const ql_normalizer *n, ql_view v,
                            ql_draft drafts[2], ql_view *out);

#endif
