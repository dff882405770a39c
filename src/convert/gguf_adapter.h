/* An adapter as a GGUF file. */
#ifndef QL_CONVERT_GGUF_ADAPTER_H
#define QL_CONVERT_GGUF_ADAPTER_H

#include "qlora/export.h"

/* A file that is all planned and checked, and not written yet. */
typedef struct ql_gguf_adapter ql_gguf_adapter;

/* opt and report are borrowed. Errors: those of ql_export_gguf_adapter. */
ql_status ql_gguf_adapter_open(ql_gguf_adapter **out, const char *model_dir,
                               const char *adapter_dir, const char *out_path,
                               const ql_export_options *opt,
                               ql_export_report *report);

/* Bytes of the file. */
uint64_t ql_gguf_adapter_bytes(const ql_gguf_adapter *a);

/* Writes the file, once. */
ql_status ql_gguf_adapter_finish(ql_gguf_adapter *a);

/* Nothing is left of a file that was not finished. */
void ql_gguf_adapter_close(ql_gguf_adapter **a);

#endif
