#include "src/convert/gguf_inputs.h"

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/convert/gguf_general.h"
#include "src/convert/model_files.h"
#include "src/convert/peft.h"

static ql_status open_all(ql_gguf_inputs *in, const char *model_dir,
                          const char *adapter_dir, const char *out_path,
                          const ql_export_options *opt, ql_gguf_type automatic)
{
    QL_TRY(ql_dir_need(model_dir, "give a Hugging Face model folder"));
    QL_TRY(ql_model_files_check_file(out_path, opt->force));
    QL_TRY(ql_gguf_type_of(opt->type, automatic, &in->type));
    QL_TRY(ql_config_init(&in->config, model_dir));
    QL_TRY(ql_gguf_arch_find(&in->arch, &in->config));
    if (adapter_dir) {
        QL_TRY(ql_adapter_folder_init(&in->folder, adapter_dir));
        QL_TRY(ql_peft_fit(&in->folder, &in->config));
    }
    return QL_OK;
}

ql_status ql_gguf_inputs_init(ql_gguf_inputs *in, const char *model_dir,
                              const char *adapter_dir, const char *out_path,
                              const ql_export_options *opt,
                              ql_gguf_type automatic)
{
    ql_status st;

    *in = (ql_gguf_inputs){0};
    st = open_all(in, model_dir, adapter_dir, out_path, opt, automatic);
    if (st != QL_OK) {
        ql_gguf_inputs_free(in);
    }
    return st;
}

void ql_gguf_inputs_free(ql_gguf_inputs *in)
{
    ql_adapter_folder_free(&in->folder);
    ql_config_free(&in->config);
}

ql_gguf_type ql_gguf_inputs_type(const ql_gguf_inputs *in, size_t cols)
{
    return in->type == QL_GGUF_Q8_0 && cols % QL_GGUF_Q8_BLOCK != 0
               ? QL_GGUF_F16
               : in->type;
}
