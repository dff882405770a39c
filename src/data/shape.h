/* A record as tokens: what it says, in the form that the model is trained
 * on. */
#ifndef QL_DATA_SHAPE_H
#define QL_DATA_SHAPE_H

#include "src/data/draft.h"
#include "src/data/form.h"
#include "src/text/styles.h"

/* What all records are shaped by. */
typedef struct ql_shaper {
    const ql_tokenizer *tok; /* borrowed */
    ql_train_on train_on;
    ql_styles styles; /* not open: only texts can be read */
} ql_shaper;

/* What was met in a record. */
typedef struct ql_shape_notes {
    bool talks; /* it is a conversation */
    ql_style_lacks lacks;
} ql_shape_notes;

/* Appends the samples of a record. Safe from several threads at once. Errors:
 * QL_EFORMAT, QL_EUNSUPPORTED, QL_ENOMEM. */
ql_status ql_shape(const ql_shaper *s, const ql_form *form,
                   const json_t *record, ql_sample_draft *out,
                   ql_shape_notes *notes);

#endif
