/* Whether a model can be loaded in the memory that training may have. */
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/model/load_need.h"
#include "src/model/model_handle.h"
#include "src/train/planner.h"

ql_status ql_train_check_loading(const char *model_dir,
                                 const ql_model_options *how,
                                 const ql_train_options *opt)
{
    const double mib = 1 << 20;
    const ql_load load = ql_model_load(how);
    ql_load_need need = {0};
    ql_memory_use now;
    uint64_t budget;
    uint64_t total;
    ql_config c;
    ql_status st;

    QL_TRY(ql_dir_need(model_dir, "give a Hugging Face model folder"));
    QL_TRY(ql_config_init(&c, model_dir));
    st = ql_load_needs(&need, &c, model_dir, &load);
    ql_config_free(&c);
    if (st != QL_OK) {
        return ql_fail_prefix(st, "%s: ", model_dir);
    }
    ql_memory_read(&now);
    budget = ql_plan_budget(opt->memory, &now);
    total = now.resident + need.kept + need.more;
    if (total > budget) {
        QL_FAIL(QL_ENOMEM,
                "%s: loading the model takes %.1f MiB, %.1f MiB more than the "
                "%.1f MiB that it may have (--memory)%s",
                model_dir, (double)total / mib, (double)(total - budget) / mib,
                (double)budget / mib,
                how->quantize ? "; a folder that qlora-quantize has made, "
                                "which takes little memory, is only mapped"
                              : "");
    }
    return QL_OK;
}
