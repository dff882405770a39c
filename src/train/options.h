/* Checks of the training options, and what follows from them. */
#ifndef QL_TRAIN_OPTIONS_H
#define QL_TRAIN_OPTIONS_H

#include "qlora/train.h"

/* Errors: QL_EINVAL, naming the option and what is allowed. */
ql_status ql_train_options_check(const ql_train_options *opt);

/* What of the options goes by evaluations that are made on the way, as people
 * give it; NULL: nothing. Borrowed, constant. */
const char *ql_train_options_evaluated(const ql_train_options *opt);

/* The length of a run. */
typedef struct ql_train_length {
    size_t steps_per_epoch; /* optimizer steps; the last may be short */
    size_t total;           /* optimizer steps of the run */
    size_t warmup;
} ql_train_length;

/* batches: micro-batches in an epoch. Source: transformers Trainer. */
ql_train_length ql_train_length_of(const ql_train_options *opt, size_t batches);

#endif
