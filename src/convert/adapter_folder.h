/* A folder with a LoRA adapter, read by the names of its tensors, whatever
 * the architecture of the model: PEFT's (adapter_config.json and
 * adapter_model.safetensors) or MLX's (adapter_config.json and
 * adapters.safetensors). Sources: peft tuners/lora/config.py, layer.py,
 * utils/save_and_load.py; mlx-lm tuner/lora.py, dora.py, utils.py. */
#ifndef QL_CONVERT_ADAPTER_FOLDER_H
#define QL_CONVERT_ADAPTER_FOLDER_H

#include <jansson.h>

#include "src/base/alloc.h"
#include "src/format/safetensors.h"

/* The change of one module: W + scale B A. A module of an embedding has A
 * [r, vocabulary] and B [hidden, r], and its weight is changed by the
 * transpose of the product. */
typedef struct ql_adapter_pair {
    char *path; /* of the module: "model.layers.0.self_attn.q_proj" */
    bool embedding;
    size_t r, in, out;
    double alpha, scale; /* of this module: patterns and rsLoRA resolved */
    ql_tensor a, b;      /* A [r, in], B [out, r] */
    ql_tensor magnitude; /* DoRA: [out]; else data is NULL */
} ql_adapter_pair;

/* A tensor that takes the place of the base's, of modules_to_save or a bias;
 * or one that repeats the base's, as PEFT saves embeddings that it adapts; or
 * an embedding or a head that the settings do not name, as PEFT saves them with
 * save_embedding_layers, or where they were resized: the base tells whether
 * that repeats it. */
typedef struct ql_adapter_whole {
    char *name; /* of the base's tensor: "lm_head.weight" */
    ql_tensor tensor;
    bool repeats;
    bool end, unnamed; /* an embedding or a head; one that is not named */
} ql_adapter_whole;

typedef struct ql_adapter_folder {
    ql_safetensors *file;
    char *path;       /* of the file */
    json_t *settings; /* adapter_config.json of PEFT; NULL for MLX's */
    ql_adapter_pair *pairs;
    size_t n_pairs;
    ql_adapter_whole *wholes;
    size_t n_wholes;
    size_t r; /* the settings for all modules */
    double alpha, dropout;
    bool rslora, dora;
    bool fan_in_fan_out; /* weights of linear modules are stored [in, out] */
    bool tied;           /* what changes a tied embedding changes the head */
    bool mlx;
    void **owned; /* tensors that were turned */
    size_t n_owned;
} ql_adapter_folder;

/* Opens a folder. Every tensor has a place in the result. Errors:
 * QL_ENOTFOUND; QL_EFORMAT (also for numbers that are not finite);
 * QL_EUNSUPPORTED for a setting that changes the meaning and that we do not
 * know, named; QL_EMISMATCH for tensors that do not fit the settings;
 * QL_EIO, QL_ENOMEM. */
ql_status ql_adapter_folder_init(ql_adapter_folder *f, const char *dir);
void ql_adapter_folder_free(ql_adapter_folder *f);

/* For a model whose embedding and head are one matrix: where they shall stay
 * so, one is not trained whole beside a pair of the other. Errors:
 * QL_EUNSUPPORTED. */
ql_status ql_adapter_folder_check_tie(const ql_adapter_folder *f);

/* The pair of a module, NULL if it has none. Borrowed. */
const ql_adapter_pair *ql_adapter_folder_pair(const ql_adapter_folder *f,
                                              const char *path);

#endif
