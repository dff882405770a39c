#include "tools/choices.h"

#include "qlora/qlora.h"

const cli_choice method_choices[] = {{"qlora", QL_METHOD_QLORA},
                                     {"lora", QL_METHOD_LORA},
                                     {"full", QL_METHOD_FULL},
                                     {0}};
const cli_choice dtype_choices[] = {{"float32", QL_WEIGHT_FP32},
                                    {"fp32", QL_WEIGHT_FP32},
                                    {"bfloat16", QL_WEIGHT_BF16},
                                    {"bf16", QL_WEIGHT_BF16},
                                    {0}};
const cli_choice optim_choices[] = {
    {"paged_adamw_32bit", QL_OPTIM_PAGED_ADAMW_32BIT},
    {"paged_adamw", QL_OPTIM_PAGED_ADAMW_32BIT},
    {"adamw_32bit", QL_OPTIM_ADAMW_32BIT},
    {"adamw_torch", QL_OPTIM_ADAMW_TORCH},
    {"adamw_torch_fused", QL_OPTIM_ADAMW_TORCH},
    {"paged_adamw_8bit", QL_OPTIM_PAGED_ADAMW_8BIT},
    {"adamw_8bit", QL_OPTIM_ADAMW_8BIT},
    {"adamw_bnb_8bit", QL_OPTIM_ADAMW_8BIT},
    {0}};
const cli_choice quant_choices[] = {
    {"nf4", QL_QUANT_NF4}, {"fp4", QL_QUANT_FP4}, {0}};
