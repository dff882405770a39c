/* metrics.csv: one line for each logged step and each evaluation. */
#ifndef QL_TRAIN_METRICS_H
#define QL_TRAIN_METRICS_H

#include "qlora/train.h"
#include "src/base/buf.h"

/* Appends the head line. */
ql_status ql_metrics_begin(ql_buf *csv);

/* Appends the line of a STEP or EVAL event; columns that it has no value for
 * stay empty. */
ql_status ql_metrics_add(ql_buf *csv, const ql_train_event *e);

#endif
