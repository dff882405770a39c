/* The weights that an adapter was trained on, for commands that go on with
 * it. */
#ifndef QL_TOOLS_TRAINED_BASE_H
#define QL_TOOLS_TRAINED_BASE_H

#include "qlora/qlora.h"
#include "tools/cli/opt.h"

/* Where the user leaves open how a model is opened (--quantize, --method,
 * --quant-type, --double-quant), sets load to how it was when the adapter was
 * trained, and, unless quiet, tells what that changes. Errors: those of
 * ql_model_options_adapter. */
ql_status trained_base_take(ql_model_options *load, const char *adapter,
                            const cli_args *args, bool quiet);

#endif
