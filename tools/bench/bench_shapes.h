/* The shapes of models that are measured. */
#ifndef QL_BENCH_SHAPES_H
#define QL_BENCH_SHAPES_H

#include "qlora/status.h"

typedef struct bench_shape {
    const char *name;
    const char *model_type; /* of config.json */
    size_t layers, C, F, H, KV, V;
    bool tied; /* the head is the embedding matrix */
} bench_shape;

/* The shape of this name. Borrowed, constant. Errors: QL_EINVAL, naming those
 * that there are. */
ql_status bench_shape_find(const bench_shape **out, const char *name);

#endif
