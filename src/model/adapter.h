/* A LoRA adapter: pairs of matrices for some linear layers or the embedding,
 * and matrices that are trained whole; or all weights of a model (full.h). All
 * parameters lie in one array, and all gradients in another of the same layout,
 * so that the optimizer and clipping are plain sweeps. */
#ifndef QL_MODEL_ADAPTER_H
#define QL_MODEL_ADAPTER_H

#include <jansson.h>

#include "src/model/weights.h"

/* Where weights are. Pairs can change the matrices of the first four; whole can
 * be trained all. */
typedef enum ql_place {
    QL_PLACE_BLOCK, /* a linear layer of a block */
    QL_PLACE_POOLER,
    QL_PLACE_EMBED,
    QL_PLACE_HEAD,
    QL_PLACE_POSITION,
    QL_PLACE_TYPES,      /* of tokens */
    QL_PLACE_EMBED_NORM, /* norms from here on: */
    QL_PLACE_NORM,       /* of a block */
    QL_PLACE_LAST_NORM
} ql_place;

typedef struct ql_site {
    ql_place place;
    size_t layer; /* of a block */
    ql_module module;
    ql_norm_place norm;
    bool bias; /* of a linear layer, or a norm; else the weight */
} ql_site;

/* The modules of a model, as sites of their weights: 0 .. ql_site_count - 1,
 * first those that take pairs, blocks before others; norms last. */
size_t ql_site_count(const ql_config *c);
ql_site ql_site_at(const ql_config *c, size_t i);
bool ql_site_takes_pairs(ql_site site);
bool ql_site_is_norm(ql_site site);

/* Whether there is a bias beside the weight. */
bool ql_site_biased(const ql_config *c, ql_site site);

/* The shape of what is there; a vector has no columns. */
void ql_site_shape(const ql_config *c, ql_site site, size_t *rows,
                   size_t *cols);

/* Path of a site's module, "model.layers.0.self_attn.q_proj", into
 * path[bytes]. */
void ql_site_path(const ql_arch *arch, ql_site site, char *path, size_t bytes);

/* The last parts of all paths, "q_proj, k_proj, ...", into text[bytes]. */
void ql_site_leaves(const ql_arch *arch, char *text, size_t bytes);

/* Ends of the paths of what can be trained whole, "embed_tokens, ...", into
 * text[bytes]. */
void ql_site_wholes(const ql_config *c, char *text, size_t bytes);

/* What is done to a site. */
typedef struct ql_adapter_item {
    ql_site site;
    size_t r; /* 0: trained whole */
    double alpha;
} ql_adapter_item;

typedef struct ql_adapter_options {
    size_t r; /* the general ones; those of the items count */
    double alpha;
    double dropout;
    bool rslora;   /* scale alpha / sqrt(r) instead of alpha / r */
    bool dora;     /* pairs have magnitudes */
    bool gaussian; /* A starts as N(0, 1 / r^2) */
    bool full;     /* none of that counts: all items are whole */
    bool half;     /* of full: matrices, which come first, are in bf16 */
    bool measured; /* laid out only, to see what it would take: nothing is
                      behind the pointers that the model gets */
} ql_adapter_options;

/* A site that is changed, as it is. */
typedef struct ql_adapter_entry {
    ql_site site;
    size_t in, out; /* of the matrix; for an embedding V and C */
    size_t r;       /* 0: trained whole */
    float scale;
    size_t first; /* of its tensors */
    float *gain;  /* DoRA: [3, out], as ql_dora has them; of a norm that
                     multiplies by 1 + weight: that, [out] */
} ql_adapter_entry;

typedef enum ql_part {
    QL_PART_A,         /* [r, in] */
    QL_PART_B,         /* [out, r] */
    QL_PART_MAGNITUDE, /* [out] */
    QL_PART_WHOLE,     /* all that is there: ql_site_shape */
    QL_PARTS
} ql_part;

/* One trained tensor. */
typedef struct ql_adapter_tensor {
    size_t entry;
    ql_part part;
    size_t rank, shape[2];
    size_t at; /* of its first element in the arrays, in floats */
} ql_adapter_tensor;

typedef struct ql_adapter {
    const ql_arch *arch; /* of the model */
    ql_adapter_options opt;
    ql_adapter_entry *entries; /* [n] */
    size_t n;
    ql_adapter_tensor *tensors; /* [n_tensors], as they lie in param */
    size_t *sizes;              /* [n_tensors] elements of each */
    size_t n_tensors;
    float *param; /* [count]; tensors in bf16 have two elements in a float */
    float *grad;  /* [count]; NULL when not trained */
    float *taken; /* [count], of pairs only: what was taken off the base, see
                     principal.h; NULL: nothing */
    size_t count;
    size_t elements; /* of all tensors */
    size_t n_half;   /* tensors, the first ones, in bf16 */
    size_t n_plain;  /* tensors, the last ones, without weight decay */
    bool trained;
    const char *fixed; /* why it is not to be trained on; NULL: it may be */
    float *gains;      /* behind the entries' */
    json_t *config;    /* what adapter_config.json says of it; NULL: unknown */
} ql_adapter;

/* Errors: QL_EINVAL (r 0 or absurd, alpha not finite, dropout not in
 * [0, 1)). */
ql_status ql_adapter_options_check(const ql_adapter_options *o);

/* Lays out n items, at least one, in order of their sites, vectors behind all
 * else, for a model of this config, and initialises pairs as PEFT does: A
 * uniform in +-1/sqrt(in), or normal, B zero; of an embedding A zero and B
 * normal. Magnitudes, and what is whole, are for ql_adapter_start. trained:
 * with gradients (zero). An adapter that is measured has none of these arrays.
 * Errors: those of ql_adapter_options_check, QL_ENOMEM. */
ql_status ql_adapter_init(ql_adapter *a, const ql_config *c,
                          const ql_adapter_options *opt,
                          const ql_adapter_item *items, size_t n, uint64_t seed,
                          bool trained);
void ql_adapter_free(ql_adapter *a);

/* Takes from the model what begins as it is there: what is trained whole, and
 * magnitudes, the norms of outputs of W + s B A. w's own adapter is not looked
 * at. Errors: those of ql_full_read, QL_ENOMEM. */
ql_status ql_adapter_start(ql_adapter *a, const ql_weights *w);

/* What the model needs of the adapter, which does not have it: "pooler" or
 * "classifier", where that of the folder is missing, and began at random; or
 * NULL. */
const char *ql_adapter_lacks(const ql_adapter *a, const ql_weights *w);

/* To be called when parameters were changed: what is made of them follows. */
void ql_adapter_settle(const ql_adapter *a);

/* Sum of squares of the gradients of tensors [first, end), in double. */
double ql_adapter_grad_sumsq(const ql_adapter *a, size_t first, size_t end);

/* Gives an adapter that has none its gradients. Errors: QL_ENOMEM. */
ql_status ql_adapter_train(ql_adapter *a);

/* Takes them off again, for an adapter that is to be used. */
void ql_adapter_freeze(ql_adapter *a);

/* Makes the model use the adapter, which must outlive its use; NULL takes any
 * adapter off again. */
void ql_adapter_attach(const ql_adapter *a, ql_weights *w);

/* Path of the module of entry i. */
void ql_adapter_path(const ql_adapter *a, size_t i, char *path, size_t bytes);

/* Name of tensor i as PEFT saves it,
 * "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", or, of all
 * weights, as the model has it, into name[bytes]. */
void ql_adapter_name(const ql_adapter *a, size_t i, char *name, size_t bytes);

#endif
