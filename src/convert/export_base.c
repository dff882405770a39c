#include "src/convert/export_base.h"

#include "src/base/fail.h"
#include "src/base/note.h"
#include "src/convert/adapter_record.h"

ql_status ql_export_base_find(ql_merged_base *base, const char *adapter_dir,
                              const ql_export_options *opt)
{
    ql_adapter_record r = {.quant = opt->quant};

    QL_TRY(ql_quant_options_check(&opt->quant));
    if (adapter_dir) {
        QL_TRY(ql_adapter_record_read(&r, adapter_dir, &opt->quant));
    }
    base->quant = r.quant;
    base->requantize = opt->base == QL_EXPORT_BASE_AUTO
                           ? r.found && !r.dense
                           : opt->base == QL_EXPORT_BASE_DEQUANTIZED;
    return QL_OK;
}

ql_status ql_export_base_tell(const ql_config *c, const char *model_dir,
                              const char *adapter_dir)
{
    ql_quant_options quant;
    ql_adapter_record r;

    ql_quant_options_init(&quant);
    QL_TRY(ql_adapter_record_read(&r, adapter_dir, &quant));
    if (r.found && !r.dense && !c->quantized) {
        ql_note("the adapter was trained on weights in 4 bits; the model "
                "beside it: qlora-export gguf --model %s --base dequantized"
                "%s%s --output FILE",
                model_dir,
                r.quant.type == QL_QUANT_FP4 ? " --quant-type fp4" : "",
                r.quant.double_quant ? "" : " --no-double-quant");
    }
    return QL_OK;
}

ql_status ql_export_base_check(const ql_merged *m, const char *model_dir,
                               const ql_export_options *opt)
{
    if (m->packed && opt->base == QL_EXPORT_BASE_ORIGINAL) {
        QL_FAIL(QL_EINVAL,
                "%s is in 4 bits: its original weights are not there; name the "
                "original model, or merge into the dequantized weights",
                model_dir);
    }
    return QL_OK;
}
