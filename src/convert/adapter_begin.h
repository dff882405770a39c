/* How training options have pairs begin, by PEFT's names. */
#ifndef QL_CONVERT_ADAPTER_BEGIN_H
#define QL_CONVERT_ADAPTER_BEGIN_H

#include "qlora/train.h"
#include "src/model/principal.h"

/* A is normal. */
bool ql_adapter_gaussian(const ql_train_options *o);

/* As parts of the base, or not. Errors: QL_EINVAL (a way that is not known; one
 * that does not go with other options), named. */
ql_status ql_adapter_principal(ql_principal *p, const ql_train_options *o);

#endif
