/* qlora-bench large: a large model in little memory. */
#ifndef QL_BENCH_LARGE_H
#define QL_BENCH_LARGE_H

#include "tools/bench/bench_options.h"
#include "tools/cli/common.h"

/* Writes a 4-bit folder of --shape, and trains on it under each of --limits,
 * in turns. Errors: QL_EMISMATCH when the model of --model is of another shape,
 * QL_EUNSUPPORTED when it is not in 4 bits; QL_ENUMERIC when a loss is not
 * finite, or is not the same under all limits; QL_ENOSPACE, QL_EIO, QL_ENOMEM,
 * QL_ECANCELLED. */
ql_status bench_large(const bench_options *o, const cli_common *common);

#endif
