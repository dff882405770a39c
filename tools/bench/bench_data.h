/* Random tokens to train on. */
#ifndef QL_BENCH_DATA_H
#define QL_BENCH_DATA_H

#include "qlora/dataset.h"

/* n sequences of T tokens below V, all trained but the first. Errors:
 * QL_ENOMEM. */
ql_status bench_data_make(ql_dataset **out, size_t n, size_t T, size_t V,
                          uint64_t seed);

#endif
