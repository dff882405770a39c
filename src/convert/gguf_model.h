/* A whole model as a GGUF file. */
#ifndef QL_CONVERT_GGUF_MODEL_H
#define QL_CONVERT_GGUF_MODEL_H

#include "qlora/export.h"

typedef struct ql_gguf_model_job {
    const char *model, *adapter; /* folders; adapter: worked in; or NULL */
    const char *trained; /* folder of the adapter that is to stand beside it:
                            tells base and chat template; or NULL */
    const char *out;     /* file */
    bool tokenizer;      /* is written, too; llama.cpp needs it */
} ql_gguf_model_job;

/* A file that is all planned and checked, and not written yet. */
typedef struct ql_gguf_model ql_gguf_model;

/* what, opt and report are borrowed. Errors: those of ql_export_gguf. */
ql_status ql_gguf_model_open(ql_gguf_model **out, const ql_gguf_model_job *what,
                             const ql_export_options *opt,
                             ql_export_report *report);

/* Bytes of the file. */
uint64_t ql_gguf_model_bytes(const ql_gguf_model *m);

/* Writes the file, once. */
ql_status ql_gguf_model_finish(ql_gguf_model *m);

/* Nothing is left of a file that was not finished. */
void ql_gguf_model_close(ql_gguf_model **m);

/* All of that. As ql_export_gguf. */
ql_status ql_gguf_model_write(const ql_gguf_model_job *what,
                              const ql_export_options *opt,
                              ql_export_report *report);

#endif
