/* What run.yaml tells of the training of an adapter: on which weights. */
#ifndef QL_CONVERT_ADAPTER_RECORD_H
#define QL_CONVERT_ADAPTER_RECORD_H

#include "qlora/quantize.h"

typedef struct ql_adapter_record {
    bool found; /* qlora-train has written one */
    bool dense; /* its method leaves the weights as they are */
    ql_quant_options quant;
} ql_adapter_record;

/* Reads run.yaml in the adapter's folder, or in the one above it, where the
 * folder is one that a run keeps below its own: checkpoint-N, or best. quant
 * is what counts where the file tells nothing. Errors: QL_EFORMAT, QL_EIO,
 * QL_ENOMEM. */
ql_status ql_adapter_record_read(ql_adapter_record *r, const char *adapter_dir,
                                 const ql_quant_options *quant);

#endif
