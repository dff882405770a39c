/* Which weights an adapter was trained on, and so is to be merged into. */
#ifndef QL_CONVERT_EXPORT_BASE_H
#define QL_CONVERT_EXPORT_BASE_H

#include "qlora/export.h"
#include "src/convert/merged.h"
#include "src/model/config.h"

/* Decides by the options; where they leave it open, by run.yaml in the
 * adapter's folder (adapter_record.h), which tells how qlora-train has
 * quantized the weights; else the weights as stored.
 * adapter_dir may be NULL. Errors: QL_EINVAL, QL_EFORMAT, QL_EIO, QL_ENOMEM. */
ql_status ql_export_base_find(ql_merged_base *base, const char *adapter_dir,
                              const ql_export_options *opt);

/* Notes how the model is to be exported that a GGUF file of the adapter alone
 * goes beside, where run.yaml tells that it was trained on weights in 4 bits
 * and the folder, of configuration c, has others. Errors: QL_EIO, QL_EFORMAT,
 * QL_ENOMEM. */
ql_status ql_export_base_tell(const ql_config *c, const char *model_dir,
                              const char *adapter_dir);

/* Fails when the original weights are wanted of a folder that has them in 4
 * bits. Errors: QL_EINVAL. */
ql_status ql_export_base_check(const ql_merged *m, const char *model_dir,
                               const ql_export_options *opt);

#endif
