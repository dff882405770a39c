/* A model folder with random weights, as qlora-quantize writes it. */
#ifndef QL_BENCH_FOLDER_H
#define QL_BENCH_FOLDER_H

#include "tools/bench/bench_shapes.h"

/* Writes config.json and model.safetensors into dir: linear layers in 4 bits,
 * embedding and head in BF16, norms of ones. Errors: QL_EIO, QL_ENOSPACE,
 * QL_ENOMEM, QL_ECANCELLED. */
ql_status bench_folder_write(const char *dir, const bench_shape *shape,
                             uint64_t seed);

#endif
