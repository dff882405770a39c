/* The values of a GGUF file that describe a model, by architecture, in the
 * order in which llama.cpp's own converter writes them. */
#ifndef QL_CONVERT_GGUF_VALUES_H
#define QL_CONVERT_GGUF_VALUES_H

#include "src/convert/gguf_arch.h"

/* What the writers of values are given. */
typedef struct ql_gguf_facts {
    ql_gguf_writer *w;
    const ql_gguf_arch *arch;
    const ql_config *c;
    const json_t *root; /* config.json */
    size_t file_type;
} ql_gguf_facts;

typedef ql_status ql_gguf_values_fn(const ql_gguf_facts *f);

struct ql_gguf_arch {
    const char *model_type; /* as config.json names it */
    const char *name;       /* as llama.cpp names it */
    ql_gguf_values_fn *const *values;
    ql_act act;          /* of the feed-forward layer */
    bool pairs;          /* rows of q and k are interleaved */
    bool own_head;       /* a head that is not the embedding can be said */
    size_t window_every; /* all layers but each n-th see a window */
    bool window_first;   /* counted from the first, not the n-th */
    size_t nope_every;   /* each n-th layer has no positions */
};

/* Lists of what is written, ended by NULL. */
extern ql_gguf_values_fn *const ql_gguf_llama_values[];
extern ql_gguf_values_fn *const ql_gguf_plain_values[];
extern ql_gguf_values_fn *const ql_gguf_gemma_values[];
extern ql_gguf_values_fn *const ql_gguf_gemma3_values[];
extern ql_gguf_values_fn *const ql_gguf_phi3_values[];
extern ql_gguf_values_fn *const ql_gguf_gpt2_values[];
extern ql_gguf_values_fn *const ql_gguf_neox_values[];

#endif
