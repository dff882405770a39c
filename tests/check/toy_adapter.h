/* Adapter folders as a test wants them. */
#ifndef QL_TESTS_TOY_ADAPTER_H
#define QL_TESTS_TOY_ADAPTER_H

#include "qlora/types.h"
#include "tests/check/toy_folder.h"

/* Modules of the toy model (see toy_folder.h) as PEFT names them. */
#define TOY_Q0 "base_model.model.model.layers.0.self_attn.q_proj"
#define TOY_Q1 "base_model.model.model.layers.1.self_attn.q_proj"
#define TOY_EMBED "base_model.model.model.embed_tokens"
#define TOY_HEAD "base_model.model.lm_head"

/* A tensor of an adapter file, F32. */
typedef struct toy_tensor {
    const char *name;
    size_t shape[2];
    size_t rank;         /* 0: 2 */
    const float *values; /* NULL: random, by check_seed() and its place */
} toy_tensor;

/* The two tensors of a pair of rank 2 on TOY_Q0. */
#define TOY_PAIR                                                               \
    {.name = TOY_Q0 ".lora_A.weight", .shape = {2, TOY_C}},                    \
    {                                                                          \
        .name = TOY_Q0 ".lora_B.weight", .shape = { TOY_QKV, 2 }               \
    }

/* Writes n tensors to a safetensors file. */
void toy_tensors_write(const char *path, const toy_tensor *t, size_t n);

/* Writes dir/name; in the text, ' stands for ". */
void toy_json_write(const char *dir, const char *name, const char *text);

/* An adapter folder of n tensors, made anew; in the config, ' stands for ". */
void toy_adapter_write(const char *dir, const char *config, const toy_tensor *t,
                       size_t n);

/* The adapter of golden/models/NAME/lora VARIANT (".json", ".safetensors"), as
 * it was after three steps, in the form in which PEFT saves it. dir is made
 * anew. */
void toy_golden_adapter(const char *dir, const char *name, const char *variant);

#endif
