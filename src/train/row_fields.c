#include "src/train/row_fields.h"

#include <stddef.h>

enum {
    STEP = 1 << QL_TRAIN_STEP,
    EVAL = 1 << QL_TRAIN_EVAL,
    DONE = 1 << QL_TRAIN_DONE
};

#define ROW(name) offsetof(ql_train_event, name)

/* transformers writes epoch, grad_norm, learning_rate,
 * loss, step, eval_loss, eval_runtime, train_loss and train_runtime; TRL
 * mean_token_accuracy and num_tokens; the others are ours. */
const ql_row_field ql_row_fields[QL_ROW_FIELDS] = {
    {"elapsed", true, ROW(elapsed_s), STEP | EVAL},
    {"epoch", true, ROW(epoch), STEP | EVAL | DONE},
    {"eval_loss", true, ROW(eval_loss), EVAL},
    {"eval_mean_token_accuracy", true, ROW(eval_accuracy), EVAL},
    {"eval_runtime", true, ROW(eval_runtime_s), EVAL},
    {"eval_tokens", false, ROW(eval_tokens), EVAL},
    {"grad_norm", true, ROW(grad_norm), STEP},
    {"learning_rate", true, ROW(learning_rate), STEP},
    {"loss", true, ROW(loss), STEP},
    {"mean_token_accuracy", true, ROW(accuracy), STEP},
    {"num_tokens", false, ROW(tokens), STEP | EVAL | DONE},
    {"peak_rss_bytes", false, ROW(memory.peak), STEP | EVAL | DONE},
    {"rss_bytes", false, ROW(memory.resident), STEP | EVAL | DONE},
    {"step", false, ROW(step), STEP | EVAL | DONE},
    {"tokens_per_second", true, ROW(tokens_per_second), STEP},
    {"train_loss", true, ROW(loss), DONE},
    {"train_runtime", true, ROW(elapsed_s), DONE},
    {"train_tokens_per_second", true, ROW(tokens_per_second), DONE},
};

double ql_row_value(const ql_row_field *f, const void *structure)
{
    const void *at = (const char *)structure + f->offset;

    return f->real ? *(const double *)at : (double)*(const size_t *)at;
}
