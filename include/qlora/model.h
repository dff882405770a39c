/* A model: the frozen weights of a Hugging Face folder, in 4 bits.
 *
 * Shapes are named by the letters of the papers: B batch, T tokens, C width
 * (hidden_size), H heads, KV key/value heads, D head width, F feed-forward
 * width, V vocabulary, R rank; M, N, K of a product. The gradient of x is
 * dx. */
#ifndef QLORA_MODEL_H
#define QLORA_MODEL_H

#include "qlora/quantize.h"
#include "qlora/status.h"

typedef struct ql_model ql_model;

typedef struct ql_model_options {
    bool quantize;           /* 16- and 32-bit linear weights become 4-bit while
                               loading (default); else they stay as stored, as
                               do those that a 4-bit folder left so */
    ql_quant_options quant;  /* how; see quantize.h */
    const char *scratch_dir; /* NULL (default): weights that are made while
                                loading are in memory; else they lie in a file
                                without a name in this folder, mapped */
} ql_model_options;

/* Fills in the defaults named above and in quantize.h. */
QL_API void ql_model_options_init(ql_model_options *opt);

/* Sets quantize and quant to those that the adapter in a folder was trained
 * with, where qlora-train has left word of it there (run.yaml; for a
 * checkpoint, that of its run); else leaves them. Errors: QL_EFORMAT, QL_EIO,
 * QL_ENOMEM. */
QL_API ql_status ql_model_options_adapter(ql_model_options *opt,
                                          const char *dir);

/* The chat template in an adapter's folder, in any of the files that
 * transformers reads one from, where it is not the model's; NULL: there is none
 * such. Owned: ql_free(*text). Errors: QL_EUNSUPPORTED for several of which
 * none is the default, QL_EFORMAT, QL_EIO, QL_ENOMEM. */
QL_API ql_status ql_adapter_chat_template(char **text, const char *adapter_dir,
                                          const char *model_dir);

/* Opens a model folder: config.json and *.safetensors, in F32, BF16, F16, or
 * already in bitsandbytes 4-bit form. Weights that need no change stay mapped
 * from the files. opt may be NULL for the defaults.
 *
 * Errors: QL_ENOTFOUND (a file or tensor, named), QL_EFORMAT,
 * QL_EUNSUPPORTED (architecture, dtype or quantization, named), QL_EIO,
 * QL_ENOMEM. */
QL_API ql_status ql_model_open(ql_model **out, const char *dir,
                               const ql_model_options *opt);
QL_API void ql_model_close(ql_model **model);

typedef struct ql_model_info {
    const char *model_type; /* "llama"; constant */
    size_t layers, hidden, heads, kv_heads, head_dim, ffn, vocab;
    size_t max_positions; /* longest sequence the model was made for */
    size_t parameters;    /* all weights, the tied head once */
    size_t linear_layers; /* in the blocks, and a classifier's pooler */
    size_t linear_4bit;   /* of those, in 4 bits */
    size_t weight_bytes;  /* all weights as they lie in memory */
    size_t classes;       /* of a classifier; else 0 */
    /* Of the pairs of the adapter that was loaded, if it has any. */
    size_t pairs;
    size_t rank_low, rank_high;
    double scale_low, scale_high; /* what B A is multiplied by */
} ql_model_info;

QL_API void ql_model_info_read(const ql_model *model, ql_model_info *out);

/* The folder it was opened from. Borrowed. */
QL_API const char *ql_model_dir(const ql_model *model);

/* Puts a folder with a LoRA adapter, PEFT's or MLX's, on the model, in place of
 * any before. Errors: QL_ENOTFOUND, QL_EFORMAT; QL_EUNSUPPORTED for a setting
 * that would change the meaning, named; QL_EMISMATCH when it was made for
 * another model; QL_EIO, QL_ENOMEM. */
QL_API ql_status ql_model_load_adapter(ql_model *model, const char *dir);

#endif
