/* Decides where a training's memory goes. What costs time is taken only where
 * it is needed, the cheapest first: activations that are not kept, then the
 * optimizer's state in a page file, then weights that are read from disk layer
 * by layer. */
#ifndef QL_TRAIN_PLANNER_H
#define QL_TRAIN_PLANNER_H

#include "qlora/plan.h"
#include "src/model/principal.h"
#include "src/model/run.h"
#include "src/train/optimizer.h"

/* What is known before. All is borrowed. */
typedef struct ql_plan_facts {
    const ql_model *model;
    const size_t *sizes; /* [n] elements of the trained tensors */
    size_t n;
    size_t count;                   /* floats that they take */
    ql_run_options run;             /* without keep_.., weight_memory */
    ql_optimizer_options optimizer; /* memory is an upper limit */
    ql_checkpointing checkpointing;
    uint64_t budget; /* 0: what is free, less a margin */
    uint64_t log;    /* bytes that are still to come for log and files */
    ql_principal_need principal; /* of pairs that begin as parts of the base:
                                    the work is done before that of the run */
} ql_plan_facts;

/* Bytes that the process may have: those given (0: none), else what it has now
 * and what is free, less a margin. */
uint64_t ql_plan_budget(uint64_t given, const ql_memory_use *now);

/* Bytes that it takes beyond its budget; 0: it fits. */
uint64_t ql_plan_over(const ql_plan *p);

/* Makes the plan: memory held now counts as it is, what the facts are about
 * comes on top. Errors: QL_ENOMEM when even the leanest plan, which p then is,
 * exceeds the budget, saying by how much. Else p is all zero: QL_EINVAL (the
 * optimizer's memory is less than paging takes), QL_ENOMEM. */
ql_status ql_plan_make(ql_plan *p, const ql_plan_facts *f);

#endif
