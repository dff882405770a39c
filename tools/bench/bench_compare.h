/* qlora-bench train --compare: the same step in another program. */
#ifndef QL_BENCH_COMPARE_H
#define QL_BENCH_COMPARE_H

#include "tools/bench/bench_options.h"
#include "tools/cli/common.h"

/* Trains LoRA and QLoRA by us, and LoRA by PyTorch in fp32 and bf16, each in a
 * process of its own, on the same model and tokens, and shows them side by
 * side. Errors: QL_EUNSUPPORTED where there is no PyTorch; QL_ENUMERIC when
 * the first losses are not the same; those of the processes. */
ql_status bench_compare(const bench_options *o, const cli_common *common);

/* torch_lora.py, embedded when this is built. */
extern const char ql_torch_lora_py[];

#endif
