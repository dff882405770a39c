/* A model with its adapter, and what was made of the two, on a sample. */
#ifndef QL_CONVERT_MERGE_COMPARE_H
#define QL_CONVERT_MERGE_COMPARE_H

#include "qlora/export.h"
#include "src/convert/merged.h"

/* Runs both, one after the other, over the tokens of a sample text (made-up
 * ones where the folder has no tokenizer that we read): a layer of weights at a
 * time is in memory, and what was made of weights while loading lies in a file
 * in merged_dir. base says what the model's weights are to be, rounding the
 * type that merged weights were rounded to. Errors: those of ql_model_open,
 * ql_model_load_adapter and ql_run_open. */
ql_status ql_merge_compare(ql_export_difference *d, const char *model_dir,
                           const char *adapter_dir, const char *merged_dir,
                           const ql_merged_base *base, ql_dtype rounding);

#endif
