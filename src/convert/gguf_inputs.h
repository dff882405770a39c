/* What a GGUF file is made of: a model's configuration, an adapter if there is
 * one, and the types of the file's tensors. */
#ifndef QL_CONVERT_GGUF_INPUTS_H
#define QL_CONVERT_GGUF_INPUTS_H

#include "qlora/export.h"
#include "src/convert/adapter_folder.h"
#include "src/convert/gguf_arch.h"

typedef struct ql_gguf_inputs {
    ql_config config;
    const ql_gguf_arch *arch;
    ql_gguf_type type;
    ql_adapter_folder folder; /* all zero without adapter */
} ql_gguf_inputs;

/* Sees, too, that the file may be written. adapter_dir may be NULL. automatic:
 * the type where the options leave it open. Errors: QL_EINVAL; those of
 * ql_config_init, ql_gguf_arch_find, ql_adapter_folder_init and
 * ql_peft_fit. */
ql_status ql_gguf_inputs_init(ql_gguf_inputs *in, const char *model_dir,
                              const char *adapter_dir, const char *out_path,
                              const ql_export_options *opt,
                              ql_gguf_type automatic);
void ql_gguf_inputs_free(ql_gguf_inputs *in);

/* The type of rows of cols elements: one that is no longer than a block of
 * Q8_0, or no multiple of it, stays in 16 bits. */
ql_gguf_type ql_gguf_inputs_type(const ql_gguf_inputs *in, size_t cols);

#endif
