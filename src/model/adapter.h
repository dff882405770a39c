/* A LoRA adapter: one pair of matrices for each adapted linear layer. All
 * parameters lie in one array, and all gradients in another of the same
 * layout, so that the optimizer and clipping are plain sweeps. */
#ifndef QL_MODEL_ADAPTER_H
#define QL_MODEL_ADAPTER_H

#include "src/model/weights.h"

typedef struct ql_adapter_options {
    size_t r;
    double alpha;
    double dropout;
    bool rslora;      /* scale alpha / sqrt(r) instead of alpha / r */
    unsigned targets; /* adapted modules: mask of 1 << ql_module */
} ql_adapter_options;

/* One pair; offsets are into the parameter array. */
typedef struct ql_adapter_entry {
    size_t layer;
    ql_module module;
    size_t in, out;
    size_t a, b; /* A [r, in] and B [out, r] */
} ql_adapter_entry;

typedef struct ql_adapter {
    const ql_arch *arch; /* of the model */
    ql_adapter_options opt;
    ql_adapter_entry *entries; /* [n] */
    size_t *sizes;             /* [2 n] elements of each A and B, as they lie
                                  in param */
    size_t n;
    float *param; /* [count] */
    float *grad;  /* [count]; NULL when not trained */
    size_t count;
} ql_adapter;

/* Errors: QL_EINVAL (r 0 or absurd, no target, alpha not positive, dropout
 * not in [0, 1)). */
ql_status ql_adapter_options_check(const ql_adapter_options *o);

/* Lays out the pairs for a model of this config and initialises them as PEFT
 * does: A uniform in +-1/sqrt(in), B zero. trained: with gradients (zero).
 * Errors: those of ql_adapter_options_check, QL_ENOMEM. */
ql_status ql_adapter_init(ql_adapter *a, const ql_config *c,
                          const ql_adapter_options *opt, uint64_t seed,
                          bool trained);
void ql_adapter_free(ql_adapter *a);

/* Gives an adapter without gradients such, all zero. Errors: QL_ENOMEM. */
ql_status ql_adapter_train(ql_adapter *a);

/* Makes the linear layers use the adapter, which must outlive its use; NULL
 * takes any adapter off again. */
void ql_adapter_attach(const ql_adapter *a, ql_weights *w);

/* Path of the module of entry i, "model.layers.0.self_attn.q_proj", into
 * path[bytes]. */
void ql_adapter_path(const ql_adapter *a, size_t i, char *path, size_t bytes);

/* Name of A (or B) of entry i as PEFT saves it,
 * "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", into
 * name[bytes]. */
void ql_adapter_name(const ql_adapter *a, size_t i, bool b, char *name,
                     size_t bytes);

#endif
