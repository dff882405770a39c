/* Adapter folders as a test wants them. */
#ifndef QL_TESTS_TOY_ADAPTER_H
#define QL_TESTS_TOY_ADAPTER_H

#include "qlora/types.h"

/* A tensor of an adapter file, F32. */
typedef struct toy_tensor {
    const char *name;
    size_t shape[2];
    size_t rank;         /* 0: 2 */
    const float *values; /* NULL: random, by check_seed() and its place */
} toy_tensor;

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
