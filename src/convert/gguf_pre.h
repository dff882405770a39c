/* How llama.cpp cuts a text before its merges: by the name of a rule, where
 * tokenizer.json has the rule itself. */
#ifndef QL_CONVERT_GGUF_PRE_H
#define QL_CONVERT_GGUF_PRE_H

#include "src/base/json.h"

typedef struct ql_gguf_pre {
    const char *model; /* tokenizer.ggml.model: "llama" or "gpt2" */
    const char *name;  /* tokenizer.ggml.pre; constant */
    bool space_prefix; /* "llama": a blank is put before the text */
} ql_gguf_pre;

/* Finds the rule of a tree of tokenizer.json. Errors: QL_EUNSUPPORTED for one
 * that llama.cpp has no name for, or that we do not know. */
ql_status ql_gguf_pre_find(ql_gguf_pre *p, const json_t *root,
                           const char *where);

#endif
