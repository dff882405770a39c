#include "src/op/profile.h"

#include "src/base/clock.h"

const char *const ql_work_names[QL_WORK_KINDS] = {
    [QL_WORK_OTHER] = "other",
    [QL_WORK_PRODUCT] = "products",
    [QL_WORK_LORA] = "lora",
    [QL_WORK_ATTENTION] = "attention",
    [QL_WORK_NORM] = "norm",
    [QL_WORK_ROPE] = "rope",
    [QL_WORK_ACTIVATION] = "activation",
    [QL_WORK_LOSS] = "loss",
    [QL_WORK_OPTIMIZER] = "optimizer",
    [QL_WORK_DATA] = "data",
    [QL_WORK_LOG] = "log",
    [QL_WORK_SAVE] = "checkpoints",
    [QL_WORK_PAGING] = "paging",
};

void ql_profile_start(ql_profile *p)
{
    *p = (ql_profile){.now = QL_WORK_OTHER, .since_s = ql_now_s()};
}

void ql_profile_mark(ql_profile *p, ql_work kind)
{
    if (p) {
        const double now_s = ql_now_s();

        p->seconds[p->now] += now_s - p->since_s;
        p->now = kind;
        p->since_s = now_s;
    }
}
