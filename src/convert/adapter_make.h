/* A fresh adapter, as training options ask for one, for a model. */
#ifndef QL_CONVERT_ADAPTER_MAKE_H
#define QL_CONVERT_ADAPTER_MAKE_H

#include "qlora/train.h"
#include "src/model/adapter.h"

/* Errors: QL_EINVAL (an option, or a name or pattern that stands for no module
 * of the model, named), QL_EUNSUPPORTED (what cannot be adapted so, named),
 * QL_ENOMEM. */

/* Only sees whether the options fit a model of this config. */
ql_status ql_adapter_fits(const ql_config *c, const ql_train_options *o);

/* Fails unless an adapter that was loaded from dir changes what the options ask
 * for, and so. Errors: QL_EMISMATCH, what differs named; those of
 * ql_adapter_fits. */
ql_status ql_adapter_matches(const ql_adapter *a, const ql_config *c,
                             const ql_train_options *o, const char *dir);

/* Makes the adapter, with what begins as it is in w, its base, or as a part of
 * that, which is taken off it; w NULL: what begins so stays as it is, for an
 * adapter that is to be filled in. */
ql_status ql_adapter_make(ql_adapter *a, const ql_config *c, ql_weights *w,
                          const ql_train_options *o, uint64_t seed,
                          bool trained);

/* One that is trained, laid out only for a model of these weights: it takes
 * next to no memory, and a model that it is on can tell what training will
 * take. */
ql_status ql_adapter_measure(ql_adapter *a, const ql_config *c,
                             const ql_weights *w, const ql_train_options *o);

#endif
