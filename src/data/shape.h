/* Shapes of records: how a JSON object becomes tokens with marks.
 *
 * Errors of the functions do not name file and line: who reads the file puts
 * that before the sentence. */
#ifndef QL_DATA_SHAPE_H
#define QL_DATA_SHAPE_H

#include "qlora/dataset.h"
#include "src/base/json.h"
#include "src/data/draft.h"

/* Appends a record to an empty draft. Errors: QL_EFORMAT for a key that is
 * missing or of a wrong type, QL_EUNSUPPORTED, QL_ENOMEM. */
typedef ql_status ql_shape_fn(const json_t *record, const ql_tokenizer *tok,
                              ql_train_on train_on, ql_sample_draft *out);

typedef struct ql_shape {
    ql_format format;
    const char *name;    /* as --format spells it */
    const char *keys[2]; /* a record of this form has them; NULL: one only */
    ql_shape_fn *run;
} ql_shape;

/* The shape of a format, NULL for QL_FORMAT_AUTO and for none of them.
 * Borrowed, constant. */
const ql_shape *ql_shape_get(ql_format format);

/* The shape of a record by its keys. Errors: QL_EFORMAT, listing the forms
 * known and the keys met. */
ql_status ql_shape_find(json_t *record, const ql_shape **out);

/* A string that must be there. Borrowed. Errors: QL_EFORMAT. */
ql_status ql_shape_string(const json_t *o, const char *key, const char **s,
                          size_t *n);

ql_shape_fn ql_shape_text;
ql_shape_fn ql_shape_prompt;
ql_shape_fn ql_shape_messages;

#endif
