/* The shapes of models that are measured. */
#ifndef QL_BENCH_SHAPES_H
#define QL_BENCH_SHAPES_H

#include "src/model/config.h"

typedef struct bench_shape {
    const char *name;
    const char *model_type; /* of config.json */
    size_t layers, C, F, H, KV, V;
    bool tied; /* the head is the embedding matrix */
} bench_shape;

/* The shape of this name, or of it behind "llama-". Borrowed, constant. Errors:
 * QL_EINVAL, naming those that there are. */
ql_status bench_shape_find(const bench_shape **out, const char *name);

/* Parameters in products with frozen matrices: the linear layers and the head,
 * without the embedding and the adapters. */
size_t bench_product_parameters(const ql_config *c);

#endif
