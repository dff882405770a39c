/* The architectures that we know, as tables of facts. A family that is made of
 * what others have costs a row here, a row of names where its files have other
 * ones, and a golden test. */
#ifndef QL_MODEL_ARCH_H
#define QL_MODEL_ARCH_H

#include "qlora/status.h"

/* The linear layers of a block, in order of use. A fused projection stands in
 * the first of its places, and the others are empty; so is the gate of a
 * feed-forward layer without one. */
typedef enum ql_module {
    QL_MODULE_Q,
    QL_MODULE_K,
    QL_MODULE_V,
    QL_MODULE_O,
    QL_MODULE_GATE,
    QL_MODULE_UP,
    QL_MODULE_DOWN,
    QL_MODULES
} ql_module;

/* Sets of modules are bit masks. */
enum {
    QL_MASK_QKV = 1 << QL_MODULE_Q | 1 << QL_MODULE_K | 1 << QL_MODULE_V,
    QL_MASK_O = 1 << QL_MODULE_O,
    QL_MASK_MLP = 1 << QL_MODULE_GATE | 1 << QL_MODULE_UP | 1 << QL_MODULE_DOWN,
    QL_MASK_ALL = (1 << QL_MODULES) - 1
};

/* The norms of a block, by place: before and behind each of its two halves,
 * and of the heads of q and k. */
typedef enum ql_norm_place {
    QL_NORM_ATTN_IN,
    QL_NORM_ATTN_OUT,
    QL_NORM_MLP_IN,
    QL_NORM_MLP_OUT,
    QL_NORM_Q,
    QL_NORM_K,
    QL_NORMS
} ql_norm_place;

/* Names of tensors, without ".weight" and ".bias"; NULL: there is none. Those
 * inside a block follow "BASE LAYERS.N.", the others BASE, but the head. */
typedef struct ql_names {
    const char *base; /* "model."; files of a model without its head lack it */
    const char *embed;
    const char *final_norm; /* NULL: there is none */
    const char *position;   /* learned positions; NULL: there are ropes */
    const char *layers;
    const char *const *module; /* [QL_MODULES] */
    const char *head;
    /* Of classifiers: types of tokens, the norm behind the embeddings, and the
     * layer between the first token and the head; else NULL. */
    const char *types, *embed_norm, *pooler;
} ql_names;

/* Which layers see a window of the keys only, unless layer_types says so. */
typedef enum ql_window_rule {
    QL_WINDOW_NONE,
    QL_WINDOW_ALL,     /* every one */
    QL_WINDOW_UPPER,   /* with use_sliding_window, from max_window_layers on */
    QL_WINDOW_PATTERN, /* all but each sliding_window_pattern-th */
    QL_WINDOW_NOPE     /* with use_sliding_window, those without positions */
} ql_window_rule;

/* How the projections of q, k and v are stored. */
typedef enum ql_qkv {
    QL_QKV_APART,
    QL_QKV_ROWS,   /* in one matrix: rows of q, then of k, then of v */
    QL_QKV_BY_HEAD /* in one matrix: for each head its q, k and v */
} ql_qkv;

typedef struct ql_arch {
    const char *model_type; /* as config.json names it */
    const ql_names *names;
    const char *const *norm; /* [QL_NORMS] names; NULL: there is none */
    /* Keys of config.json that are spelled otherwise: ours, theirs, ours, ...
     * NULL. */
    const char *const *keys;
    const char *defaults; /* JSON: what keys mean that are absent; or NULL */
    unsigned bias;        /* modules that always have a bias */
    bool attention_bias;  /* the key is honoured */
    bool mlp_bias;        /* the key is honoured */
    ql_qkv qkv;
    bool transposed;     /* dense weights are stored [in, out] */
    bool fused_gate;     /* gate and up in one matrix: rows of gate, of up */
    bool layer_norm;     /* norms take the mean off, and have a bias */
    bool norm_of_sum;    /* norms behind a half are of its sum with x */
    bool norm_plus_one;  /* norms multiply by 1 + weight */
    bool wide_qk_norm;   /* over all heads together, not each */
    bool scaled_embed;   /* times the root of the width */
    bool scaled_apart;   /* which is done behind the embedding, not in it */
    bool query_scalar;   /* scores / sqrt(query_pre_attn_scalar), not D */
    bool partial_rotary; /* partial_rotary_factor is honoured */
    bool parallel;       /* use_parallel_residual is honoured */
    bool local_rope;     /* windowed layers have a rope of their own */
    bool nope;           /* no_rope_layers is honoured */
    bool old_gelu;       /* "gelu" means the form by tanh */
    bool old_longrope;   /* rope type "yarn" of the old key means longrope */
    bool classifier;     /* tokens see each other both ways, and the head tells
                            the class of the text from the first of them */
    ql_window_rule window;
} ql_arch;

/* Last part of a name: "q_proj". Borrowed. */
const char *ql_name_leaf(const char *name);

/* The modules that a block has. */
unsigned ql_arch_modules(const ql_arch *arch);

/* How the config.json of an architecture spells a key. Borrowed. */
const char *ql_arch_key(const ql_arch *arch, const char *key);

/* Path of a module, "model.layers.0.self_attn.q_proj", into path[bytes]. */
void ql_arch_path(const ql_arch *arch, size_t layer, ql_module module,
                  char *path, size_t bytes);

/* The module whose weight has this name, with or without the model's base; a
 * pooler counts as a last one; QL_MODULES if there is none. */
ql_module ql_arch_module(const ql_arch *arch, const char *name);

/* NULL if the type is not known. Borrowed, constant. */
const ql_arch *ql_arch_find(const char *model_type);

/* Why a type that we know of is not supported: "a mixture of experts"; NULL if
 * we do not know it either. Borrowed, constant. */
const char *ql_arch_reason(const char *model_type);

/* Names of all types, separated by ", ". Borrowed, constant. */
const char *ql_arch_list(void);

/* The same of those that write text: all but classifiers. */
const char *ql_arch_writers(void);

#endif
