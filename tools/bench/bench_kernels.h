/* qlora-bench kernels: the machine's limits, and the products with frozen
 * matrices beside OpenBLAS on the same matrices. */
#ifndef QL_BENCH_KERNELS_H
#define QL_BENCH_KERNELS_H

#include "tools/bench/bench_options.h"
#include "tools/cli/common.h"

/* Errors: QL_EINVAL for a shape or a number of tokens, named; QL_ENOMEM;
 * QL_ECANCELLED. */
ql_status bench_kernels(const bench_options *o, const cli_common *common);

#endif
