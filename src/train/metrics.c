#include "src/train/metrics.h"

#include "qlora/runtime.h"
#include "src/base/fail.h"

ql_status ql_metrics_begin(ql_buf *csv)
{
    return ql_buf_puts(csv, "step,train_loss,train_mean_token_accuracy,"
                            "valid_loss,valid_mean_token_accuracy,"
                            "learning_rate,grad_norm,tokens_per_second,"
                            "peak_rss_bytes\n");
}

ql_status ql_metrics_add(ql_buf *csv, const ql_train_event *e)
{
    ql_memory_use mem;

    ql_memory_read(&mem);
    if (e->kind == QL_TRAIN_EVAL) {
        return ql_buf_printf(csv, "%zu,,,%.9g,%.6g,,,,%llu\n", e->step,
                             e->eval_loss, e->eval_accuracy,
                             (unsigned long long)mem.peak);
    }
    return ql_buf_printf(csv, "%zu,%.9g,%.6g,,,%.9g,%.9g,%.6g,%llu\n", e->step,
                         e->loss, e->accuracy, e->learning_rate, e->grad_norm,
                         e->tokens_per_second, (unsigned long long)mem.peak);
}
