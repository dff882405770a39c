/* config.json of a model folder: the shapes and facts of the model. */
#ifndef QL_MODEL_CONFIG_H
#define QL_MODEL_CONFIG_H

#include "src/model/arch.h"
#include "src/op/rope.h"

typedef struct ql_config {
    const ql_arch *arch;
    size_t layers;
    size_t C;      /* hidden_size */
    size_t F;      /* intermediate_size */
    size_t H, KV;  /* num_attention_heads, num_key_value_heads */
    size_t D;      /* head_dim */
    size_t V;      /* vocab_size */
    float eps;     /* rms_norm_eps */
    bool tied;     /* the head is the embedding matrix */
    unsigned bias; /* modules that have a bias: mask of 1 << ql_module */
    ql_rope_spec rope;
    double *rope_factors; /* long then short factors, D / 2 each; or NULL */
    ql_dtype dtype;       /* torch_dtype; F32 when not said */
    bool quantized;       /* a bitsandbytes 4-bit folder */
} ql_config;

/* Reads dir/config.json. Errors: QL_ENOTFOUND; QL_EFORMAT for a missing or
 * absurd number; QL_EUNSUPPORTED for an architecture, activation, rope type or
 * quantization that we do not know, named; QL_ENOMEM. */
ql_status ql_config_init(ql_config *c, const char *dir);
void ql_config_free(ql_config *c);

/* Shape [out, in] of a module. */
void ql_config_module(const ql_config *c, ql_module module, size_t *out,
                      size_t *in);

#endif
