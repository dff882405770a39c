/* The architectures that we know, as tables of facts. */
#ifndef QL_MODEL_ARCH_H
#define QL_MODEL_ARCH_H

#include "qlora/status.h"

/* The linear layers of a decoder block, in order of use. */
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
    QL_MASK_MLP = 1 << QL_MODULE_GATE | 1 << QL_MODULE_UP | 1 << QL_MODULE_DOWN
};

typedef struct ql_arch {
    const char *model_type; /* as config.json names it */
    unsigned bias;          /* modules that always have a bias */
    bool bias_options;      /* attention_bias and mlp_bias are honoured */
    const char *window_key; /* refused unless null or false; NULL: none */
} ql_arch;

/* Path of a module inside a block: "self_attn.q_proj". Borrowed, constant. */
extern const char *const ql_module_paths[QL_MODULES];

/* Last part of that path: "q_proj". Borrowed. */
const char *ql_module_leaf(ql_module module);

/* NULL if the type is not known. Borrowed, constant. */
const ql_arch *ql_arch_find(const char *model_type);

/* Names of all types, separated by ", ". Borrowed, constant. */
const char *ql_arch_list(void);

#endif
