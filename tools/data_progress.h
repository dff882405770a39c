/* How far the reading of data has come, on the terminal. */
#ifndef QL_TOOLS_DATA_PROGRESS_H
#define QL_TOOLS_DATA_PROGRESS_H

#include "qlora/dataset.h"
#include "tools/cli/term.h"

/* A ql_dataset_progress_fn whose user is a cli_term; Ctrl-C stops. */
bool data_progress(const ql_dataset_progress *p, void *user);

#endif
