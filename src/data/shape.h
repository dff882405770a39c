/* A record as tokens: what it says, in the form that the model is trained
 * on. */
#ifndef QL_DATA_SHAPE_H
#define QL_DATA_SHAPE_H

#include "src/data/draft.h"
#include "src/data/form.h"
#include "src/text/style.h"

/* What all records are shaped by. */
typedef struct ql_shaper {
    const ql_tokenizer *tok; /* borrowed */
    ql_train_on train_on;
    ql_chat chat;
    ql_style plain; /* of conversations without tools */
    ql_style tools; /* chat is NULL: as those without */
} ql_shaper;

/* Reads the model's chat template, or the one that is given; date is as in
 * ql_chat_open. Owned: ql_shaper_free, which is fine after a failure, and when
 * this was never called and s is zero. Errors: those of ql_chat_open. */
ql_status ql_shaper_open_chat(ql_shaper *s, const char *given,
                              const char *date);
void ql_shaper_free(ql_shaper *s);

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
