/* qlora-bench train: whole optimizer steps on a model with random weights. */
#ifndef QL_BENCH_TRAIN_H
#define QL_BENCH_TRAIN_H

#include "tools/bench/bench_options.h"
#include "tools/cli/common.h"

/* Errors: QL_EINVAL for the shape, named; QL_ENOTFOUND, QL_EIO, QL_ENOSPACE
 * for the folder it is written to; QL_ENOMEM; QL_ECANCELLED. */
ql_status bench_train(const bench_options *o, const cli_common *common);

#endif
