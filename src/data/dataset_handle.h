/* Data sets that do not come from files. */
#ifndef QL_DATA_DATASET_HANDLE_H
#define QL_DATA_DATASET_HANDLE_H

#include "qlora/dataset.h"

/* A data set of n samples, which are copied; n > 0. Errors: QL_ENOMEM. */
ql_status ql_dataset_of_samples(ql_dataset **out, const ql_sample *samples,
                                size_t n);

#endif
