/* From a Hugging Face folder to the bitsandbytes 4-bit form of it, which
 * transformers loads as it is. */
#ifndef QLORA_QUANTIZE_H
#define QLORA_QUANTIZE_H

#include "qlora/status.h"

typedef enum ql_quant_type {
    QL_QUANT_NF4, /* 4-bit NormalFloat */
    QL_QUANT_FP4  /* 4-bit float */
} ql_quant_type;

typedef struct ql_quant_options {
    ql_quant_type type; /* QL_QUANT_NF4 */
    bool double_quant;  /* scales in 8 bits too: true */
    size_t block_size;  /* weights per scale, 64; 32, 64, ... 4096 */
} ql_quant_options;

/* Fills in the defaults named above. */
QL_API void ql_quant_options_init(ql_quant_options *opt);

/* One step of progress; all in bytes of the input. Return false to stop: the
 * call then removes what it wrote and returns QL_ECANCELLED. */
typedef bool ql_quantize_progress_fn(uint64_t done, uint64_t total, void *user);

typedef struct ql_quantize_options {
    ql_quant_options quant;
    const char *const *skip_modules; /* besides the rule of transformers, which
                                        keeps the head; "lm_head", "layers.0" */
    size_t n_skip_modules;
    uint64_t max_shard_bytes; /* 5 * 10^9 */
    bool dry_run;             /* plan and report sizes, write nothing */
    bool verify;              /* read the output back and compare */
    bool force;               /* replace an existing output folder */
    ql_quantize_progress_fn *progress; /* NULL: none */
    void *user;                        /* handed to progress */
} ql_quantize_options;

QL_API void ql_quantize_options_init(ql_quantize_options *opt);

/* What became of one group of tensors ("self_attn.q_proj", "kept"). */
typedef struct ql_quantize_group {
    char name[64]; /* "": a place that the architecture leaves empty */
    size_t tensors;
    uint64_t elements;
    uint64_t bytes_before, bytes_after;
    double rms_error; /* root mean square of (w' - w) / absmax of its block;
                         0 in a dry run and for what is kept */
    double max_error; /* the largest of |w' - w| / absmax */
} ql_quantize_group;

typedef struct ql_quantize_report {
    ql_quantize_group *groups; /* Owned: ql_quantize_report_free */
    size_t n_groups;
    uint64_t bytes_before, bytes_after; /* of all tensors */
    size_t shards;
    uint64_t verified; /* tensors that were read back and compared */
} ql_quantize_report;

QL_API void ql_quantize_report_free(ql_quantize_report *report);

/* Quantizes the linear layers of the folder in_dir into a new folder out_dir
 * and carries every other file over. Works tensor by tensor: memory does not
 * grow with the model. Writes beside out_dir and renames at the end.
 *
 * report may be NULL. Errors: QL_EINVAL (options, or out_dir exists),
 * QL_ENOTFOUND (a file or tensor, named), QL_EFORMAT (a file, or a shape or
 * weight that is not finite, named), QL_EUNSUPPORTED (already quantized, or a
 * dtype), QL_EMISMATCH (verify found a difference), QL_ENOSPACE, QL_EIO,
 * QL_ENOMEM, QL_ECANCELLED. */
QL_API ql_status ql_quantize_model(const char *in_dir, const char *out_dir,
                                   const ql_quantize_options *opt,
                                   ql_quantize_report *report);

#endif
