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

/* The same sizes as a model of another family, and with as many parameters in
 * products: families without a gate have a key and a value for each head, and a
 * feed-forward layer of the width that makes up for both. family: model_type of
 * a config.json; NULL: that of the shape. Errors: QL_EINVAL, naming the
 * families. */
ql_status bench_shape_as(bench_shape *out, const bench_shape *shape,
                         const char *family);

/* Parameters in products with frozen matrices: the linear layers and the head,
 * without the embedding and the adapters. */
size_t bench_product_parameters(const ql_config *c);

#endif
