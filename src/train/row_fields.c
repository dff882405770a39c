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
    {"elapsed", true, ROW(elapsed_s), STEP | EVAL, false},
    {"epoch", true, ROW(epoch), STEP | EVAL | DONE, false},
    {"eval_accuracy", true, ROW(eval_accuracy), EVAL, true},
    {"eval_f1", true, ROW(eval_f1), EVAL, true},
    {"eval_loss", true, ROW(eval_loss), EVAL, false},
    {"eval_mean_token_accuracy", true, ROW(eval_accuracy), EVAL, false},
    {"eval_runtime", true, ROW(eval_runtime_s), EVAL, false},
    {"eval_tokens", false, ROW(eval_tokens), EVAL, false},
    {"grad_norm", true, ROW(grad_norm), STEP, false},
    {"learning_rate", true, ROW(learning_rate), STEP, false},
    {"loss", true, ROW(loss), STEP, false},
    {"mean_token_accuracy", true, ROW(accuracy), STEP, false},
    {"num_tokens", false, ROW(tokens), STEP | EVAL | DONE, false},
    {"peak_rss_bytes", false, ROW(memory.peak), STEP | EVAL | DONE, false},
    {"rss_bytes", false, ROW(memory.resident), STEP | EVAL | DONE, false},
    {"step", false, ROW(step), STEP | EVAL | DONE, false},
    {"tokens_per_second", true, ROW(tokens_per_second), STEP, false},
    {"train_loss", true, ROW(loss), DONE, false},
    {"train_runtime", true, ROW(elapsed_s), DONE, false},
    {"train_tokens_per_second", true, ROW(tokens_per_second), DONE, false},
};

double ql_row_value(const ql_row_field *f, const void *structure)
{
    const void *at = (const char *)structure + f->offset;

    return f->real ? *(const double *)at : (double)*(const size_t *)at;
}
