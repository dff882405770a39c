/* trainer_state.json: the log of a run under the names that transformers
 * gives it, in the layout in which it writes it, so that what reads its logs
 * reads ours. */
#ifndef QL_TRAIN_TRAINER_STATE_H
#define QL_TRAIN_TRAINER_STATE_H

#include "src/train/history.h"
#include "src/train/options.h"

/* What the file says beside the log. */
typedef struct ql_trainer_state {
    const ql_train_options *opt;
    ql_train_length length;
    const char *best_checkpoint; /* its folder, NULL for none */
} ql_trainer_state;

/* Errors: QL_EIO, QL_ENOSPACE, QL_ENOMEM. */
ql_status ql_trainer_state_save(const ql_trainer_state *s, const ql_history *h,
                                const char *path);

/* Reads a log that was written by the above into h, which must be empty: all
 * numbers are what they were, to the bit, but for those that stand in no row
 * (total_steps, trainable, eta_s) and the kinds of memory. Errors:
 * QL_ENOTFOUND, QL_EIO, QL_EFORMAT, QL_ENOMEM. */
ql_status ql_trainer_state_load(ql_history *h, const char *path);

#endif
