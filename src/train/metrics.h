/* metrics.csv: one line for each logged step and each evaluation. */
#ifndef QL_TRAIN_METRICS_H
#define QL_TRAIN_METRICS_H

#include "src/train/history.h"

/* Columns that a row has no value for stay empty. Errors: QL_EIO, QL_ENOSPACE,
 * QL_ENOMEM. */
ql_status ql_metrics_save(const ql_history *h, const char *path);

#endif
