/* qlora-bench attention: attention beside the machine's peaks. */
#ifndef QL_BENCH_ATTENTION_H
#define QL_BENCH_ATTENTION_H

#include "tools/bench/bench_options.h"
#include "tools/cli/common.h"

/* Measures both directions and shows what came out. Errors: QL_EINVAL for
 * options that do not fit; QL_ENOMEM; QL_ECANCELLED after Ctrl-C. */
ql_status bench_attention(const bench_options *o, const cli_common *common);

#endif
