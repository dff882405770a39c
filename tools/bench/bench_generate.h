/* How fast a text is read and written. */
#ifndef QL_BENCH_GENERATE_H
#define QL_BENCH_GENERATE_H

#include "tools/bench/bench_options.h"
#include "tools/cli/common.h"

/* Prompts of several lengths, and some tokens behind each, on a model of random
 * weights. Errors: QL_EINVAL, QL_ENOSPACE, QL_EIO, QL_ENOMEM,
 * QL_ECANCELLED. */
ql_status bench_generate(const bench_options *o, const cli_common *common);

#endif
