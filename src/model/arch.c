#include "src/model/arch.h"

#include <stdio.h>
#include <string.h>

/* Facts: transformers, src/transformers/models/NAME/modeling_NAME.py. */
static const ql_arch archs[] = {
    {.model_type = "llama", .bias_options = true},
    {.model_type = "mistral", .window_key = "sliding_window"},
    {.model_type = "qwen2",
     .bias = QL_MASK_QKV,
     .window_key = "use_sliding_window"},
};

enum {
    ARCHS = sizeof(archs) / sizeof(archs[0])
};

const char *const ql_module_paths[QL_MODULES] = {
    [QL_MODULE_Q] = "self_attn.q_proj", [QL_MODULE_K] = "self_attn.k_proj",
    [QL_MODULE_V] = "self_attn.v_proj", [QL_MODULE_O] = "self_attn.o_proj",
    [QL_MODULE_GATE] = "mlp.gate_proj", [QL_MODULE_UP] = "mlp.up_proj",
    [QL_MODULE_DOWN] = "mlp.down_proj",
};

const char *ql_module_leaf(ql_module module)
{
    return strrchr(ql_module_paths[module], '.') + 1;
}

const ql_arch *ql_arch_find(const char *model_type)
{
    for (size_t i = 0; i < ARCHS; i++) {
        if (strcmp(archs[i].model_type, model_type) == 0) {
            return &archs[i];
        }
    }
    return NULL;
}

const char *ql_arch_list(void)
{
    static char list[256];
    size_t used = 0;

    for (size_t i = 0; i < ARCHS; i++) {
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
                                 i ? ", " : "", archs[i].model_type);
    }
    return list;
}
