/* What a user can do about a run that does not fit. */
#ifndef QL_TRAIN_ADVICE_H
#define QL_TRAIN_ADVICE_H

#include "src/train/trainer.h"

/* After the plan of t was refused, whose sentence is set: adds to that the
 * flags with which the run would fit, those first that change its result
 * least; or what the least is that it takes with any. Returns QL_ENOMEM, or
 * what else went wrong on the way. */
ql_status ql_advise(ql_trainer *t);

#endif
