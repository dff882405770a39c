/* Memory that loading a model takes, from its config.json and the headers of
 * its files. */
#ifndef QL_MODEL_LOAD_NEED_H
#define QL_MODEL_LOAD_NEED_H

#include "src/model/weights.h"

typedef struct ql_load_need {
    uint64_t kept; /* bytes of weights that are not mapped, afterwards */
    uint64_t more; /* at most on top of it: the matrix at work, as it is read,
                      and what it is turned by way of */
} ql_load_need;

/* Of ql_weights_init with the same arguments. Errors: QL_ENOTFOUND (files),
 * QL_EFORMAT, QL_EUNSUPPORTED, QL_EIO, QL_ENOMEM. */
ql_status ql_load_needs(ql_load_need *need, const ql_config *c, const char *dir,
                        const ql_load *load);

#endif
