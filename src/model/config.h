/* config.json of a model folder: the shapes and facts of the model. */
#ifndef QL_MODEL_CONFIG_H
#define QL_MODEL_CONFIG_H

#include "src/model/arch.h"
#include "src/model/labels.h"
#include "src/op/act.h"
#include "src/op/rope.h"

enum {
    QL_ROPES = 2 /* of a model: the main one, and that of windowed layers */
};

/* What differs between the layers of a model. */
typedef struct ql_layer_facts {
    size_t window; /* keys that a query sees at most; 0: no limit */
    int rope;      /* which of the model's; -1: none */
} ql_layer_facts;

typedef struct ql_config {
    const ql_arch *arch;
    size_t layers;
    size_t C;         /* hidden_size */
    size_t F;         /* intermediate_size */
    size_t H, KV;     /* num_attention_heads, num_key_value_heads */
    size_t D;         /* head_dim */
    size_t V;         /* vocab_size */
    size_t types;     /* type_vocab_size; 0: tokens have no types */
    ql_labels labels; /* the classes of a classifier */
    size_t max_position;
    float eps;     /* of the norms */
    bool parallel; /* both halves of a block read its input */
    bool tied;     /* the head is the embedding matrix */
    unsigned bias; /* modules that have a bias: mask of 1 << ql_module */
    ql_act act;
    float embed_scale; /* factor on embeddings */
    float score_scale; /* factor on q . k */
    float score_cap;   /* soft cap on that; 0: none */
    float logit_cap;   /* soft cap on logits; 0: none */
    ql_rope_spec rope[QL_ROPES];
    double *rope_factors;  /* long then short factors, dim / 2 each; or NULL */
    ql_layer_facts *layer; /* [layers] */
    ql_dtype dtype;        /* torch_dtype; F32 when not said */
    bool quantized;        /* a bitsandbytes 4-bit folder */
} ql_config;

/* Reads dir/config.json. Errors: QL_ENOTFOUND; QL_EFORMAT for a missing or
 * absurd number; QL_EUNSUPPORTED for an architecture, activation, rope type or
 * quantization that we do not know, named; QL_ENOMEM. */
ql_status ql_config_init(ql_config *c, const char *dir);
void ql_config_free(ql_config *c);

/* Shape [out, in] of a module; false, and both 0, if there is no such. */
bool ql_config_module(const ql_config *c, ql_module module, size_t *out,
                      size_t *in);

/* Whether the feed-forward layer has a gate, and that in one matrix with the
 * other projection. */
bool ql_config_gated(const ql_config *c);
bool ql_config_fused_gate(const ql_config *c);

/* Rows of the head: classes, or the vocabulary. */
size_t ql_config_head(const ql_config *c);

/* Length of a norm's weight; 0 if there is no such norm. */
size_t ql_config_norm(const ql_config *c, ql_norm_place place);

#endif
