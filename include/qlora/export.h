/* A model and an adapter on their way to other programs: merged into one
 * Hugging Face folder, or as GGUF files for llama.cpp. */
#ifndef QLORA_EXPORT_H
#define QLORA_EXPORT_H

#include "qlora/quantize.h"

/* Which weights an adapter is merged into. One that was trained on weights in
 * 4 bits makes up for what was lost in them: merged into the original ones, it
 * does a little too much; into the dequantized ones, just what it did in
 * training. */
typedef enum ql_export_base {
    QL_EXPORT_BASE_AUTO,       /* what the adapter was trained on, as far as its
                                  folder (run.yaml) and the model tell */
    QL_EXPORT_BASE_ORIGINAL,   /* as they are stored */
    QL_EXPORT_BASE_DEQUANTIZED /* from 4 bits; those of a folder that is not in
                                  4 bits are quantized and dequantized */
} ql_export_base;

/* The type of the weights that are written. */
typedef enum ql_export_type {
    QL_EXPORT_TYPE_AUTO, /* merge: that of each weight in the model, before it
                            was quantized; GGUF: F16, of an adapter F32 */
    QL_EXPORT_TYPE_F32,
    QL_EXPORT_TYPE_F16,
    QL_EXPORT_TYPE_BF16,
    QL_EXPORT_TYPE_Q8_0 /* GGUF only: 8 bits, 32 weights under one scale; rows
                           that are no multiple of 32 become F16 */
} ql_export_type;

/* One step of progress, in bytes of the output. Return false to stop: the call
 * then removes what it wrote and returns QL_ECANCELLED. */
typedef bool ql_export_progress_fn(uint64_t done, uint64_t total, void *user);

typedef struct ql_export_options {
    ql_export_base base;      /* QL_EXPORT_BASE_AUTO */
    ql_export_type type;      /* QL_EXPORT_TYPE_AUTO */
    ql_quant_options quant;   /* how weights are quantized where they are; where
                                 run.yaml tells, it is as told there */
    uint64_t max_shard_bytes; /* 5 * 10^9 */
    bool compare; /* true: run model with adapter and result on a sample */
    bool force;   /* false: an existing output is not replaced */
    ql_export_progress_fn *progress; /* NULL: none */
    void *user;                      /* handed to progress */
} ql_export_options;

/* Fills in the defaults named above and in quantize.h. */
QL_API void ql_export_options_init(ql_export_options *opt);

/* How far the result is from the model with its adapter, over the tokens of a
 * sample. */
typedef struct ql_export_difference {
    size_t tokens;    /* 0: not compared */
    double logit;     /* the largest difference of a logit */
    double range;     /* the largest logit less the smallest */
    double explained; /* so much of logit the rounding of weights explains */
    double kl;        /* nats a token, from the distributions before to those
                      after */
    double agree;     /* share of tokens with the same most likely successor */
} ql_export_difference;

typedef struct ql_export_report {
    size_t tensors;   /* written */
    size_t merged;    /* of those, changed by the adapter */
    size_t files;     /* that hold them */
    uint64_t bytes;   /* of all tensors */
    bool dequantized; /* the base is the dequantized one */
    bool untied;      /* the head of a tied model has become one of its own */
    ql_export_difference difference;
} ql_export_report;

/* Writes model_dir, with the LoRA adapter of adapter_dir (PEFT's or MLX's)
 * worked into its weights, to out_dir as a model of its own, which needs no
 * adapter. Rank and alpha patterns, rsLoRA, DoRA, embeddings, modules_to_save
 * and biases are honoured. Works tensor by tensor: memory does not grow with
 * the model. Writes beside out_dir and renames at the end. Then, if asked,
 * runs both on a sample, layer by layer, and reports how far they are apart; a
 * model that we cannot run is not compared, which a note says.
 *
 * report may be NULL. Errors: QL_EINVAL (options, or out_dir exists),
 * QL_ENOTFOUND, QL_EFORMAT, QL_EUNSUPPORTED (a setting of the adapter that we
 * do not know, named; a weight beyond the type), QL_EMISMATCH (the adapter was
 * made for another model), QL_ENOSPACE (before anything is written), QL_EIO,
 * QL_ENOMEM, QL_ECANCELLED; QL_ENUMERIC when out_dir was written, but logits
 * differ by more than rounding explains: the report is complete then. */
QL_API ql_status ql_export_merge(const char *model_dir, const char *adapter_dir,
                                 const char *out_dir,
                                 const ql_export_options *opt,
                                 ql_export_report *report);

/* Writes the LoRA adapter of adapter_dir as a GGUF file that llama.cpp loads
 * beside model_dir's model. rsLoRA and patterns of ranks and alphas are folded
 * in. What such a file cannot say (DoRA, modules_to_save, biases, a change of
 * an embedding that is also the head) is QL_EUNSUPPORTED, as is a model that
 * llama.cpp does not know. Of the options, type, force and progress count.
 *
 * report may be NULL. Errors: as ql_export_merge. */
QL_API ql_status ql_export_gguf_adapter(const char *model_dir,
                                        const char *adapter_dir,
                                        const char *out_path,
                                        const ql_export_options *opt,
                                        ql_export_report *report);

/* Writes a whole model as a GGUF file for llama.cpp, with its tokenizer and
 * chat template: model_dir, with the adapter of adapter_dir, if not NULL,
 * worked in as ql_export_merge does it. Weights are of the type that is asked
 * for; norms, biases and factors of positions stay F32. A note tells what
 * llama.cpp is known to compute otherwise than the model. Of the options all
 * but max_shard_bytes and compare count.
 *
 * report may be NULL. Errors: as ql_export_merge; QL_EUNSUPPORTED also for an
 * architecture or a tokenizer that llama.cpp has no counterpart of. */
QL_API ql_status ql_export_gguf(const char *model_dir, const char *adapter_dir,
                                const char *out_path,
                                const ql_export_options *opt,
                                ql_export_report *report);

/* Writes a folder for Ollama: the model and its adapter as GGUF files, and a
 * Modelfile with the chat template in Ollama's language, the words that end an
 * answer, and the settings of generation_config.json. An adapter that cannot
 * stand beside a model is worked into it, a template that cannot be translated
 * is left out; notes tell both. The options are those of ql_export_gguf.
 *
 * report may be NULL. Errors: as ql_export_gguf. */
QL_API ql_status ql_export_ollama(const char *model_dir,
                                  const char *adapter_dir, const char *out_dir,
                                  const ql_export_options *opt,
                                  ql_export_report *report);

#endif
