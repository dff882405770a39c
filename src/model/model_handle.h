/* What is behind the model handle. */
#ifndef QL_MODEL_MODEL_HANDLE_H
#define QL_MODEL_MODEL_HANDLE_H

#include "qlora/model.h"
#include "src/model/adapter.h"

struct ql_model {
    char *dir;
    ql_config config;
    ql_weights weights;
    ql_adapter adapter; /* loaded by ql_model_load_adapter; or empty */
};

/* Puts an adapter on the model for the passes that follow; NULL: the one that
 * was loaded, if any. The adapter is borrowed until the next call. */
void ql_model_use_adapter(ql_model *m, const ql_adapter *a);

/* What ql_model_open does with linear weights. */
ql_load ql_model_load(const ql_model_options *opt);

#endif
