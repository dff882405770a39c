/* What a run is, as JSON: its settings, and sums of its model and data. A run
 * may go on from a checkpoint whose identity agrees with its own. */
#ifndef QL_TRAIN_IDENTITY_H
#define QL_TRAIN_IDENTITY_H

#include "qlora/train.h"
#include "src/base/json.h"
#include "src/train/options.h"

/* eval may be NULL. Errors: QL_ENOMEM. Owned: *out, by json_decref. */
ql_status ql_identity_make(json_t **out, const ql_train_options *opt,
                           const ql_model *m, const ql_dataset *data,
                           const ql_dataset *eval,
                           const ql_train_length *length);

/* Compares that of a checkpoint with that of the run that would go on from
 * it. What differs and does no harm is appended to changes, as "logging-steps
 * was 10, is 1" with ", " between. Errors: QL_EMISMATCH when the run cannot go
 * on from there, with the reason; QL_ENOMEM. */
ql_status ql_identity_compare(const json_t *old, const json_t *now,
                              ql_buf *changes);

/* All steps of the run, as an identity has them. */
size_t ql_identity_steps(const json_t *identity);

/* The date that chat templates were told; NULL for none. Borrowed. */
const char *ql_identity_date(const json_t *identity);

#endif
