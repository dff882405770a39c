/* qlora-bench job: one training, told as a line of JSON. */
#ifndef QL_BENCH_JOB_H
#define QL_BENCH_JOB_H

#include "tools/bench/bench_options.h"
#include "tools/cli/common.h"

/* Trains steps on --model by ql_train, as qlora-train would, and writes what
 * it did and took to stdout. Errors: those of ql_model_open and ql_train. */
ql_status bench_job(const bench_options *o, const cli_common *common);

#endif
