/* Settings of an adapter as options of a training, and the texts behind their
 * lists. */
#ifndef QL_CONVERT_ADAPTER_TEXTS_H
#define QL_CONVERT_ADAPTER_TEXTS_H

#include <jansson.h>

#include "qlora/train.h"

/* Fills in what an adapter_config.json says of the adapter: rank, alpha,
 * dropout, variants and lists. where: what errors name. *out is Owned:
 * ql_adapter_texts_close. Errors: QL_EFORMAT, QL_ENOMEM. */
ql_status ql_adapter_texts_open(ql_adapter_texts **out, const json_t *config,
                                const char *where, ql_train_options *o);

#endif
